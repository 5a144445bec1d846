package queue_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"github.com/aws/smithy-go"
	"github.com/google/go-cmp/cmp"

	"github.com/healthmed/healthmed/pkg/sesinbox/queue"
)

// inMemory hands the real client's requests to the queue without a socket, so that time in a test can be synthetic.
type inMemory struct{ http.Handler }

func (m inMemory) Do(r *http.Request) (*http.Response, error) {
	if r.Body == nil {
		r.Body = http.NoBody
	}
	r.Host = r.URL.Host
	answer := httptest.NewRecorder()
	m.ServeHTTP(answer, r)
	return answer.Result(), r.Context().Err()
}

const queueURL = "http://queue.internal/000000000000/feedback"

func newClient(q *queue.Queue) *sqs.Client {
	return sqs.New(sqs.Options{
		Region: "sa-east-1", BaseEndpoint: aws.String("http://queue.internal"), HTTPClient: inMemory{q}, Retryer: aws.NopRetryer{},
		Credentials: credentials.NewStaticCredentialsProvider("AKID", "secret", ""),
	})
}

// receive asks for up to ten messages.
func receive(t *testing.T, c *sqs.Client, wait, visibility time.Duration) []types.Message {
	t.Helper()
	out, err := c.ReceiveMessage(t.Context(), &sqs.ReceiveMessageInput{
		QueueUrl: aws.String(queueURL), MaxNumberOfMessages: 10, WaitTimeSeconds: int32(wait / time.Second),
		VisibilityTimeout: int32(visibility / time.Second), MessageSystemAttributeNames: []types.MessageSystemAttributeName{"All"},
	})
	if err != nil {
		t.Fatal(err)
	}
	return out.Messages
}

func bodies(messages []types.Message) []string {
	texts := []string{}
	for _, m := range messages {
		texts = append(texts, *m.Body)
	}
	return texts
}

func remove(t *testing.T, c *sqs.Client, m types.Message) {
	t.Helper()
	if _, err := c.DeleteMessage(t.Context(), &sqs.DeleteMessageInput{QueueUrl: aws.String(queueURL), ReceiptHandle: m.ReceiptHandle}); err != nil {
		t.Fatal(err)
	}
}

func TestQueue_WhatIsSentIsReceivedUntilDeleted(t *testing.T) {
	q := queue.New("feedback", 0)
	c := newClient(q)
	found, err := c.GetQueueUrl(t.Context(), &sqs.GetQueueUrlInput{QueueName: aws.String("feedback")})
	if err != nil || *found.QueueUrl != queueURL {
		t.Fatalf("url = %v, %v", found, err)
	}
	for _, body := range []string{"um", "dois", "três"} {
		if _, err := c.SendMessage(t.Context(), &sqs.SendMessageInput{QueueUrl: found.QueueUrl, MessageBody: &body}); err != nil {
			t.Fatal(err)
		}
	}
	got := receive(t, c, 0, time.Minute)
	if diff := cmp.Diff([]string{"um", "dois", "três"}, bodies(got)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	remove(t, c, got[0])
	if waiting, inFlight := q.Depth(); waiting != 0 || inFlight != 2 {
		t.Errorf("depth = %d, %d", waiting, inFlight)
	}
	batch, err := c.DeleteMessageBatch(t.Context(), &sqs.DeleteMessageBatchInput{QueueUrl: found.QueueUrl, Entries: []types.DeleteMessageBatchRequestEntry{
		{Id: aws.String("a"), ReceiptHandle: got[1].ReceiptHandle}, {Id: aws.String("b"), ReceiptHandle: got[2].ReceiptHandle},
		{Id: aws.String("c"), ReceiptHandle: aws.String("nonsense")},
	}})
	if err != nil || len(batch.Successful) != 2 || len(batch.Failed) != 1 || *batch.Failed[0].Id != "c" || *batch.Failed[0].Code != "ReceiptHandleIsInvalid" {
		t.Errorf("batch = %+v, %v", batch, err)
	}
	attributes, err := c.GetQueueAttributes(t.Context(), &sqs.GetQueueAttributesInput{QueueUrl: found.QueueUrl, AttributeNames: []types.QueueAttributeName{"All"}})
	if err != nil || attributes.Attributes["ApproximateNumberOfMessages"] != "0" || attributes.Attributes["ApproximateNumberOfMessagesNotVisible"] != "0" {
		t.Errorf("attributes = %v, %v", attributes, err)
	}
}

func TestQueue_AReceivedMessageComesBackUnlessDeletedInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := queue.New("feedback", 0)
		c := newClient(q)
		q.Send("x")
		began := time.Now()
		first := receive(t, c, 0, 30*time.Second)
		if again := receive(t, c, 0, 30*time.Second); len(first) != 1 || len(again) != 0 {
			t.Fatalf("received %d, then %d", len(first), len(again))
		}
		first20 := receive(t, c, 20*time.Second, 30*time.Second)
		second := receive(t, c, 20*time.Second, 30*time.Second)
		if len(first20) != 0 || len(second) != 1 {
			t.Fatalf("in 20 s %d, in 40 s %d", len(first20), len(second))
		}
		if came := time.Since(began); came != 30*time.Second {
			t.Errorf("came back after %v", came)
		}
		if count := second[0].Attributes["ApproximateReceiveCount"]; count != "2" {
			t.Errorf("receive count %s", count)
		}
		remove(t, c, first[0]) // an outdated handle
		if _, inFlight := q.Depth(); inFlight != 1 {
			t.Error("an outdated handle deleted the message")
		}
		remove(t, c, second[0])
		remove(t, c, second[0]) // again is no error
		if waiting, inFlight := q.Depth(); waiting+inFlight != 0 {
			t.Error("not deleted")
		}
	})
}

func TestQueue_LongPollReturnsWhenSomethingComes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := queue.New("feedback", 0)
		c := newClient(q)
		began := time.Now()
		time.AfterFunc(7*time.Second, func() { q.Send("late") })
		if got := receive(t, c, 20*time.Second, time.Minute); len(got) != 1 || time.Since(began) != 7*time.Second {
			t.Errorf("%d messages after %v", len(got), time.Since(began))
		}
		began = time.Now()
		if got := receive(t, c, 20*time.Second, time.Minute); len(got) != 0 || time.Since(began) != 20*time.Second {
			t.Errorf("%d messages after %v", len(got), time.Since(began))
		}
		began = time.Now()
		time.AfterFunc(time.Second, q.Close)
		if got := receive(t, c, 20*time.Second, time.Minute); len(got) != 0 || time.Since(began) != time.Second {
			t.Errorf("after Close: %d messages after %v", len(got), time.Since(began))
		}
	})
}

func TestQueue_VisibilityCanBeChanged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := queue.New("feedback", 0)
		c := newClient(q)
		q.Send("x")
		change := func(handle *string, to time.Duration) error {
			_, err := c.ChangeMessageVisibility(t.Context(), &sqs.ChangeMessageVisibilityInput{
				QueueUrl: aws.String(queueURL), ReceiptHandle: handle, VisibilityTimeout: int32(to / time.Second)})
			return err
		}
		first := receive(t, c, 0, 10*time.Second)[0]
		if err := change(first.ReceiptHandle, time.Minute); err != nil {
			t.Fatal(err)
		}
		time.Sleep(59 * time.Second)
		if got := receive(t, c, 0, time.Minute); len(got) != 0 {
			t.Fatal("visible too early")
		}
		givenBack := make(chan error, 1)
		time.AfterFunc(500*time.Millisecond, func() { givenBack <- change(first.ReceiptHandle, 0) })
		began := time.Now()
		if got := receive(t, c, 20*time.Second, time.Minute); len(got) != 1 || time.Since(began) != 500*time.Millisecond {
			t.Errorf("given back: %d messages after %v", len(got), time.Since(began))
		}
		if err := <-givenBack; err != nil {
			t.Error(err)
		}
		var notInFlight *types.MessageNotInflight
		if err := change(first.ReceiptHandle, time.Minute); !errors.As(err, &notInFlight) {
			t.Errorf("outdated handle: %v", err)
		}
	})
}

func TestQueue_AReceiverThatGaveUpHidesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := queue.New("feedback", 0)
		c := newClient(q)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := c.ReceiveMessage(ctx, &sqs.ReceiveMessageInput{QueueUrl: aws.String(queueURL), WaitTimeSeconds: 20}); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("error = %v", err)
		}
		q.Send("x")
		if got := receive(t, c, 0, time.Minute); len(got) != 1 {
			t.Errorf("%d messages", len(got))
		}
	})
}

func TestQueue_DelayedMessagesWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newClient(queue.New("feedback", 0))
		began := time.Now()
		if _, err := c.SendMessage(t.Context(), &sqs.SendMessageInput{QueueUrl: aws.String(queueURL), MessageBody: aws.String("x"), DelaySeconds: 5}); err != nil {
			t.Fatal(err)
		}
		if got := receive(t, c, 20*time.Second, time.Minute); len(got) != 1 || time.Since(began) != 5*time.Second {
			t.Errorf("%d messages after %v", len(got), time.Since(began))
		}
	})
}

func TestQueue_ManyReceiversShareWithoutOverlap(t *testing.T) {
	q := queue.New("feedback", 0)
	for i := range 200 {
		q.Send(fmt.Sprint(i))
	}
	var mu sync.Mutex
	seen := make(map[string]int)
	var receivers sync.WaitGroup
	for range 4 {
		receivers.Go(func() {
			c := newClient(q)
			for {
				got := receive(t, c, 0, time.Minute)
				if len(got) == 0 {
					return
				}
				for _, m := range got {
					remove(t, c, m)
					mu.Lock()
					seen[*m.Body]++
					mu.Unlock()
				}
			}
		})
	}
	receivers.Wait()
	if len(seen) != 200 {
		t.Errorf("%d of 200 received", len(seen))
	}
	for body, n := range seen {
		if n != 1 {
			t.Errorf("%s received %d times", body, n)
		}
	}
}

func TestQueue_RefusesAsSQSDoes(t *testing.T) {
	c := newClient(queue.New("feedback", 0))
	url := aws.String(queueURL)
	var (
		noQueue   *types.QueueDoesNotExist
		badHandle *types.ReceiptHandleIsInvalid
		empty     *types.EmptyBatchRequest
		tooMany   *types.TooManyEntriesInBatchRequest
		notUnique *types.BatchEntryIdsNotDistinct
		unknown   *types.UnsupportedOperation
		anyAPI    smithy.APIError
		entries   []types.DeleteMessageBatchRequestEntry
		sameEntry = types.DeleteMessageBatchRequestEntry{Id: aws.String("a"), ReceiptHandle: aws.String("x")}
		ctx       = t.Context()
	)
	for i := range 11 {
		entries = append(entries, types.DeleteMessageBatchRequestEntry{Id: aws.String(fmt.Sprint(i)), ReceiptHandle: aws.String("x")})
	}
	tests := []struct {
		name string
		do   func() error
		want any
	}{
		{"unknown queue", func() error {
			_, err := c.GetQueueUrl(ctx, &sqs.GetQueueUrlInput{QueueName: aws.String("other")})
			return err
		}, &noQueue},
		{"other queue's URL", func() error {
			_, err := c.ReceiveMessage(ctx, &sqs.ReceiveMessageInput{QueueUrl: aws.String("http://queue.internal/000000000000/other")})
			return err
		}, &noQueue},
		{"malformed handle", func() error {
			_, err := c.DeleteMessage(ctx, &sqs.DeleteMessageInput{QueueUrl: url, ReceiptHandle: aws.String("x")})
			return err
		}, &badHandle},
		{"empty batch", func() error {
			_, err := c.DeleteMessageBatch(ctx, &sqs.DeleteMessageBatchInput{QueueUrl: url, Entries: []types.DeleteMessageBatchRequestEntry{}})
			return err
		}, &empty},
		{"11 entries", func() error {
			_, err := c.DeleteMessageBatch(ctx, &sqs.DeleteMessageBatchInput{QueueUrl: url, Entries: entries})
			return err
		}, &tooMany},
		{"same id twice", func() error {
			_, err := c.DeleteMessageBatch(ctx, &sqs.DeleteMessageBatchInput{QueueUrl: url, Entries: []types.DeleteMessageBatchRequestEntry{sameEntry, sameEntry}})
			return err
		}, &notUnique},
		{"11 messages", func() error {
			_, err := c.ReceiveMessage(ctx, &sqs.ReceiveMessageInput{QueueUrl: url, MaxNumberOfMessages: 11})
			return err
		}, &anyAPI},
		{"wait of 21 s", func() error {
			_, err := c.ReceiveMessage(ctx, &sqs.ReceiveMessageInput{QueueUrl: url, WaitTimeSeconds: 21})
			return err
		}, &anyAPI},
		{"empty body", func() error {
			_, err := c.SendMessage(ctx, &sqs.SendMessageInput{QueueUrl: url, MessageBody: aws.String("")})
			return err
		}, &anyAPI},
		{"body over 1 MiB", func() error {
			_, err := c.SendMessage(ctx, &sqs.SendMessageInput{QueueUrl: url, MessageBody: aws.String(strings.Repeat("x", 1<<20+1))})
			return err
		}, &anyAPI},
		{"unknown operation", func() error {
			_, err := c.PurgeQueue(ctx, &sqs.PurgeQueueInput{QueueUrl: url})
			return err
		}, &unknown},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if err := tt.do(); !errors.As(err, tt.want) {
				t.Errorf("error = %v, want %T", err, tt.want)
			}
		})
	}
}

func TestQueue_UnsignedIsRefused(t *testing.T) {
	q := queue.New("feedback", 0)
	req := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(`{"QueueUrl": "/feedback", "MessageBody": "x"}`))
	req.Header.Set("X-Amz-Target", "AmazonSQS.SendMessage")
	answer := httptest.NewRecorder()
	q.ServeHTTP(answer, req)
	if waiting, _ := q.Depth(); answer.Code != http.StatusBadRequest || waiting != 0 || !strings.Contains(answer.Body.String(), "MissingAuthenticationToken") {
		t.Errorf("%d %s, %d waiting", answer.Code, answer.Body, waiting)
	}
}

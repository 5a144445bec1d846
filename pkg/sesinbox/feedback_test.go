package sesinbox_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/sesv2/types"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/google/go-cmp/cmp"

	"github.com/healthmed/healthmed/pkg/sesinbox"
	"github.com/healthmed/healthmed/pkg/sesinbox/queue"
)

// event is what a consumer of SES feedback reads.
type event struct {
	EventType string
	Mail      struct {
		MessageID   string
		Timestamp   time.Time
		Destination []string
		Tags        map[string][]string
	}
	Bounce struct {
		BounceType, BounceSubType string
		BouncedRecipients         []struct{ EmailAddress, Status string }
		Timestamp                 time.Time
	}
	Complaint struct {
		ComplainedRecipients  []struct{ EmailAddress string }
		ComplaintFeedbackType string
	}
	Delivery struct {
		Recipients []string
		Timestamp  time.Time
	}
	Reject struct{ Reason string }
}

func unwrap(t *testing.T, body string) event {
	t.Helper()
	var envelope struct{ Type, Message, MessageID, TopicArn string }
	if err := json.Unmarshal([]byte(body), &envelope); err != nil {
		t.Fatal(err)
	}
	if envelope.Type != "Notification" || envelope.MessageID == "" || envelope.TopicArn == "" {
		t.Errorf("envelope = %+v", envelope)
	}
	var inner event
	if err := json.Unmarshal([]byte(envelope.Message), &inner); err != nil {
		t.Fatal(err)
	}
	return inner
}

func TestFeedback_ArrivesOnTheQueueAsFromSES(t *testing.T) {
	tests := map[string][]string{
		"ana@example.com":                       {"Send", "Delivery"},
		"bounce@simulator.amazonses.com":        {"Send", "Bounce"},
		"Bounce+x@simulator.amazonses.com":      {"Send", "Bounce"},
		"complaint@simulator.amazonses.com":     {"Send", "Delivery", "Complaint"},
		"bounce@simulator.amazonses.com.x.test": {"Send", "Delivery"},
	}
	for to, want := range tests {
		t.Run(to, func(t *testing.T) {
			q := queue.New("ses-feedback", 0)
			e := start(t, sesinbox.Config{Feedback: q})
			in := rawInput(plainMail, to)
			in.EmailTags = []types.MessageTag{{Name: aws.String("delivery_id"), Value: aws.String("d-1")}}
			id := e.send(t, in)
			client := sqs.New(sqs.Options{
				Region: "sa-east-1", BaseEndpoint: &e.url, Credentials: credentials.NewStaticCredentialsProvider("AKID", "secret", ""),
			})
			out, err := client.ReceiveMessage(t.Context(), &sqs.ReceiveMessageInput{QueueUrl: aws.String(q.URL(e.url)), MaxNumberOfMessages: 10})
			if err != nil {
				t.Fatal(err)
			}
			got := []string{}
			for _, m := range out.Messages {
				ev := unwrap(t, *m.Body)
				got = append(got, ev.EventType)
				if ev.Mail.MessageID != id || ev.Mail.Tags["delivery_id"][0] != "d-1" || !ev.Mail.Timestamp.Equal(noon) || ev.Mail.Destination[0] != to {
					t.Errorf("%s tells of %+v", ev.EventType, ev.Mail)
				}
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// After an end without warning the messages are there and the queue is empty: what became of the recent ones is told
// again, or their sender would never know and send them twice.
func TestFeedback_IsToldAgainAfterARestart(t *testing.T) {
	cfg := sesinbox.Config{Dir: t.TempDir(), Feedback: queue.New("ses-feedback", 0)}
	id := start(t, cfg).send(t, rawInput(plainMail, "ana@example.com"))
	received := func(now time.Time) []string {
		cfg.Feedback, cfg.Now = queue.New("ses-feedback", 0), func() time.Time { return now }
		e := start(t, cfg)
		client := sqs.New(sqs.Options{
			Region: "sa-east-1", BaseEndpoint: &e.url, Credentials: credentials.NewStaticCredentialsProvider("AKID", "secret", ""),
		})
		out, err := client.ReceiveMessage(t.Context(), &sqs.ReceiveMessageInput{QueueUrl: aws.String(cfg.Feedback.URL(e.url)), MaxNumberOfMessages: 10})
		if err != nil {
			t.Fatal(err)
		}
		var events []string
		for _, m := range out.Messages {
			ev := unwrap(t, *m.Body)
			if ev.Mail.MessageID != id {
				t.Errorf("%s is about %s, want %s", ev.EventType, ev.Mail.MessageID, id)
			}
			events = append(events, ev.EventType)
		}
		return events
	}
	if got := received(noon.Add(23 * time.Hour)); !cmp.Equal(got, []string{"Send", "Delivery"}) {
		t.Errorf("a day later: %v", got)
	}
	if got := received(noon.Add(25 * time.Hour)); got != nil {
		t.Errorf("what is older is settled long since: %v", got)
	}
}

func TestEvents_TellWhatHappened(t *testing.T) {
	m := sesinbox.Message{ID: "m-1", To: []string{"ana@example.com"}, From: "agenda@healthmed.example", SentAt: noon, Tags: map[string]string{"delivery_id": "d-1"}}
	later := noon.Add(time.Minute)
	permanent, transient := unwrap(t, sesinbox.BounceEvent(m, later, true)), unwrap(t, sesinbox.BounceEvent(m, later, false))
	complaint, reject := unwrap(t, sesinbox.ComplaintEvent(m, later)), unwrap(t, sesinbox.RejectEvent(m, later))
	delivery := unwrap(t, sesinbox.DeliveryEvent(m, later))
	got := []any{
		permanent.EventType, permanent.Bounce.BounceType, permanent.Bounce.BouncedRecipients[0].EmailAddress, permanent.Bounce.Timestamp,
		transient.Bounce.BounceType, transient.Bounce.BouncedRecipients[0].Status,
		complaint.EventType, complaint.Complaint.ComplainedRecipients[0].EmailAddress, complaint.Complaint.ComplaintFeedbackType,
		reject.EventType, reject.Reject.Reason,
		delivery.EventType, delivery.Delivery.Recipients[0], delivery.Delivery.Timestamp,
	}
	want := []any{
		"Bounce", "Permanent", "ana@example.com", later, "Transient", "4.2.2",
		"Complaint", "ana@example.com", "abuse", "Reject", "Bad content", "Delivery", "ana@example.com", later,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

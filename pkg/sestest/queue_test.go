package sestest_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/smithy-go"

	"github.com/healthmed/healthmed/pkg/sesinbox"
	"github.com/healthmed/healthmed/pkg/sestest"
)

func TestQueue_CarriesFeedbackToTheRealClient(t *testing.T) {
	e, q := sestest.New(t), sestest.NewQueue(t)
	c := sqs.New(sqs.Options{
		Region: "sa-east-1", BaseEndpoint: &q.URL, Retryer: aws.NopRetryer{},
		Credentials: credentials.NewStaticCredentialsProvider("AKID", "secret", ""),
	})
	e.SetFault(func(*http.Request) sestest.Fault { return sestest.Fault{Accept: true, Cut: true} })
	if _, err := send(t.Context(), client(e.URL), "d1"); err == nil {
		t.Fatal("the answer wasn't lost")
	}
	q.Send(sesinbox.SendEvent(e.Messages()[0], time.Now()))

	q.SetFault(func(r *http.Request) sestest.Fault {
		return sestest.Fault{Status: 503, Code: "ServiceUnavailable"}
	})
	receive := func() (*sqs.ReceiveMessageOutput, error) {
		return c.ReceiveMessage(t.Context(), &sqs.ReceiveMessageInput{QueueUrl: &q.QueueURL, WaitTimeSeconds: 5})
	}
	var api smithy.APIError
	if _, err := receive(); !errors.As(err, &api) || api.ErrorCode() != "ServiceUnavailable" {
		t.Errorf("error = %v, want ServiceUnavailable", err)
	}
	q.SetFault(nil)
	out, err := receive()
	if err != nil {
		t.Fatal(err)
	}
	if len(out.Messages) != 1 || !strings.Contains(*out.Messages[0].Body, `\"delivery_id\":[\"d1\"]`) {
		t.Fatalf("messages = %+v", out.Messages)
	}
	if _, err := c.DeleteMessage(t.Context(), &sqs.DeleteMessageInput{QueueUrl: &q.QueueURL, ReceiptHandle: out.Messages[0].ReceiptHandle}); err != nil {
		t.Fatal(err)
	}
	if waiting, inFlight := q.Depth(); waiting != 0 || inFlight != 0 {
		t.Errorf("depth = %d, %d", waiting, inFlight)
	}
}

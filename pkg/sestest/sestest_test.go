package sestest_test

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/sesv2"
	"github.com/aws/aws-sdk-go-v2/service/sesv2/types"
	"github.com/aws/smithy-go"

	"github.com/healthmed/healthmed/pkg/sestest"
)

const source = "From: Health&Med <agenda@healthmed.example>\r\nTo: ana@example.com\r\nSubject: Oi\r\n\r\nTexto\r\n"

func client(url string) *sesv2.Client {
	return sesv2.New(sesv2.Options{
		Region: "sa-east-1", BaseEndpoint: &url, Retryer: aws.NopRetryer{},
		Credentials: credentials.NewStaticCredentialsProvider("AKID", "secret", ""),
	})
}

func send(ctx context.Context, c *sesv2.Client, delivery string) (*sesv2.SendEmailOutput, error) {
	return c.SendEmail(ctx, &sesv2.SendEmailInput{
		Content:     &types.EmailContent{Raw: &types.RawMessage{Data: []byte(source)}},
		Destination: &types.Destination{ToAddresses: []string{"ana@example.com"}},
		EmailTags:   []types.MessageTag{{Name: aws.String("delivery_id"), Value: &delivery}},
	})
}

func TestEndpoint_AcceptsByDefault(t *testing.T) {
	e := sestest.New(t)
	out, err := send(t.Context(), client(e.URL), "d1")
	if err != nil {
		t.Fatal(err)
	}
	messages := e.Messages()
	if len(messages) != 1 || messages[0].ID != *out.MessageId || messages[0].Tags["delivery_id"] != "d1" {
		t.Errorf("messages = %+v, want the one with id %s", messages, *out.MessageId)
	}
	if got := e.Count("d1"); got != (sestest.Count{Calls: 1, Accepted: 1}) {
		t.Errorf("count = %+v", got)
	}
}

func TestEndpoint_FaultsReachTheClientAsTheyWouldFromAWS(t *testing.T) {
	var throttled *types.TooManyRequestsException
	var rejected *types.MessageRejected
	isCode := func(code string) func(error) bool {
		return func(err error) bool {
			var api smithy.APIError
			return errors.As(err, &api) && api.ErrorCode() == code
		}
	}
	notAnAnswer := func(err error) bool {
		var api smithy.APIError
		return err != nil && !errors.As(err, &api)
	}
	tests := []struct {
		name     string
		fault    sestest.Fault
		want     func(error) bool
		accepted int
	}{
		{"throttled", sestest.Fault{Status: 429, Code: "TooManyRequestsException"}, func(err error) bool { return errors.As(err, &throttled) }, 0},
		{"rejected", sestest.Fault{Status: 400, Code: "MessageRejected"}, func(err error) bool { return errors.As(err, &rejected) }, 0},
		{"server error", sestest.Fault{Status: 503, Code: "ServiceUnavailable"}, isCode("ServiceUnavailable"), 0},
		{"accepted, then server error", sestest.Fault{Status: 500, Code: "InternalServiceErrorException", Accept: true}, isCode("InternalServiceErrorException"), 1},
		{"cut", sestest.Fault{Cut: true}, notAnAnswer, 0},
		{"accepted, then cut", sestest.Fault{Cut: true, Accept: true}, notAnAnswer, 1},
		{"accepted, no fault", sestest.Fault{Accept: true}, func(err error) bool { return err == nil }, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			e := sestest.New(t)
			e.SetFault(func(*http.Request) sestest.Fault { return tt.fault })
			_, err := send(t.Context(), client(e.URL), "d1")
			if !tt.want(err) {
				t.Errorf("error = %v", err)
			}
			if got := e.Count("d1"); got != (sestest.Count{Calls: 1, Accepted: tt.accepted}) {
				t.Errorf("count = %+v, want 1 call and %d accepted", got, tt.accepted)
			}
			if got := len(e.Messages()); got != tt.accepted {
				t.Errorf("%d messages, want %d", got, tt.accepted)
			}
			e.SetFault(nil)
			if _, err := send(t.Context(), client(e.URL), "d2"); err != nil {
				t.Errorf("after the fault is lifted: %v", err)
			}
		})
	}
}

func TestEndpoint_HangsUntilTheClientGivesUp(t *testing.T) {
	e := sestest.New(t)
	arrived := make(chan struct{})
	e.SetFault(func(*http.Request) sestest.Fault {
		close(arrived)
		return sestest.Fault{Hang: true}
	})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	go func() {
		<-arrived
		cancel()
	}()
	if _, err := send(ctx, client(e.URL), "d1"); !errors.Is(err, context.Canceled) {
		t.Errorf("error = %v, want canceled", err)
	}
	if got := len(e.Messages()); got != 0 {
		t.Errorf("%d messages, want none", got)
	}
}

func TestEndpoint_TellsTheQuotaThatTheTestSets(t *testing.T) {
	e := sestest.New(t)
	e.SetMaxSendRate(14)
	account, err := client(e.URL).GetAccount(t.Context(), &sesv2.GetAccountInput{})
	if err != nil {
		t.Fatal(err)
	}
	if account.SendQuota.MaxSendRate != 14 || !account.SendingEnabled || !account.ProductionAccessEnabled {
		t.Errorf("account = %+v, quota = %+v", account, account.SendQuota)
	}
	e.SetAccountFault(func(*http.Request) sestest.Fault { return sestest.Fault{Status: 403, Code: "AccessDeniedException"} })
	var api smithy.APIError
	if _, err := client(e.URL).GetAccount(t.Context(), &sesv2.GetAccountInput{}); !errors.As(err, &api) || api.ErrorCode() != "AccessDeniedException" {
		t.Errorf("error = %v, want AccessDeniedException", err)
	}
}

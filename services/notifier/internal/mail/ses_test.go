package mail_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/credentials/endpointcreds"
	"github.com/google/uuid"

	"github.com/healthmed/healthmed/pkg/sestest"
	"github.com/healthmed/healthmed/services/notifier/internal/mail"
	"github.com/healthmed/healthmed/services/notifier/internal/notice"
)

// Each answer of SES, through the real client, and what follows from it.
func TestSES_EveryAnswerHasItsClass(t *testing.T) {
	ses := sestest.New(t)
	timeout := 200 * time.Millisecond
	for _, tt := range []struct {
		name      string
		fault     sestest.Fault
		class     notice.Class
		reason    string
		throttled bool
	}{
		{"accepted", sestest.Fault{}, notice.Accepted, "", false},
		{"too many requests", sestest.Fault{Status: 429, Code: "TooManyRequestsException"}, notice.Retryable, "TooManyRequestsException", true},
		{"throttled by the API", sestest.Fault{Status: 400, Code: "ThrottlingException"}, notice.Retryable, "ThrottlingException", true},
		{"the day's quota", sestest.Fault{Status: 400, Code: "LimitExceededException"}, notice.Retryable, "LimitExceededException", false},
		{"429 of something between", sestest.Fault{Status: 429, Code: "Slow down, <you>"}, notice.Retryable, "http_Too Many Requests", true},
		{"rejected", sestest.Fault{Status: 400, Code: "MessageRejected"}, notice.Rejected, "MessageRejected", false},
		{"bad request", sestest.Fault{Status: 400, Code: "BadRequestException"}, notice.Rejected, "BadRequestException", false},
		{"domain not verified", sestest.Fault{Status: 400, Code: "MailFromDomainNotVerifiedException"}, notice.Rejected, "MailFromDomainNotVerifiedException", false},
		{"message too large", sestest.Fault{Status: 413, Code: "RequestEntityTooLargeException"}, notice.Rejected, "RequestEntityTooLargeException", false},
		{"not valid", sestest.Fault{Status: 400, Code: "ValidationError"}, notice.Rejected, "ValidationError", false},
		{"AWS waited in vain for the request", sestest.Fault{Status: 408, Code: "RequestTimeoutException"}, notice.Retryable, "RequestTimeoutException", false},
		{"so it did, of the older spelling", sestest.Fault{Status: 400, Code: "RequestTimeout"}, notice.Retryable, "RequestTimeout", false},
		{"a proxy's 408", sestest.Fault{Status: 408}, notice.Retryable, "http_Request Timeout", false},
		{"a code that isn't one, with 408", sestest.Fault{Status: 408, Code: "too slow, <you>"}, notice.Retryable, "http_Request Timeout", false},
		{"throttled by an older code", sestest.Fault{Status: 503, Code: "SlowDown"}, notice.Retryable, "SlowDown", true},
		{"aborted before the reply", sestest.Fault{Status: 400, Code: "RequestAbortedException"}, notice.InDoubt, "RequestAbortedException", false},
		{"our clock is off", sestest.Fault{Status: 400, Code: "RequestExpired"}, notice.CircuitOpen, "RequestExpired", false},
		{"our clock is off, said otherwise", sestest.Fault{Status: 403, Code: "InvalidSignatureException"}, notice.CircuitOpen, "InvalidSignatureException", false},
		{"no credentials sent", sestest.Fault{Status: 400, Code: "MissingAuthenticationToken"}, notice.CircuitOpen, "MissingAuthenticationToken", false},
		{"no credentials sent, a gateway's code", sestest.Fault{Status: 400, Code: "MissingAuthenticationTokenException"}, notice.CircuitOpen, "MissingAuthenticationTokenException", false},
		{"not authorized, 400", sestest.Fault{Status: 400, Code: "NotAuthorized"}, notice.CircuitOpen, "NotAuthorized", false},
		{"not authorized, 401", sestest.Fault{Status: 401, Code: "NotAuthorized"}, notice.CircuitOpen, "NotAuthorized", false},
		{"access denied, 400", sestest.Fault{Status: 400, Code: "AccessDenied"}, notice.CircuitOpen, "AccessDenied", false},
		{"half a signature", sestest.Fault{Status: 400, Code: "IncompleteSignature"}, notice.CircuitOpen, "IncompleteSignature", false},
		{"key unknown", sestest.Fault{Status: 400, Code: "InvalidClientTokenId"}, notice.CircuitOpen, "InvalidClientTokenId", false},
		{"no subscription", sestest.Fault{Status: 400, Code: "OptInRequired"}, notice.CircuitOpen, "OptInRequired", false},
		{"no such operation here", sestest.Fault{Status: 404, Code: "UnknownOperationException"}, notice.CircuitOpen, "UnknownOperationException", false},
		{"a proxy asks for a password", sestest.Fault{Status: 407}, notice.CircuitOpen, "http_Proxy Authentication Required", false},
		{"an unknown 5xx", sestest.Fault{Status: 500, Code: "NewException"}, notice.InDoubt, "NewException", false},
		{"an unknown 4xx", sestest.Fault{Status: 400, Code: "NewException"}, notice.Rejected, "NewException", false},
		{"sending paused", sestest.Fault{Status: 400, Code: "SendingPausedException"}, notice.CircuitOpen, "SendingPausedException", false},
		{"account suspended", sestest.Fault{Status: 400, Code: "AccountSuspendedException"}, notice.CircuitOpen, "AccountSuspendedException", false},
		{"no right to send", sestest.Fault{Status: 403, Code: "AccessDeniedException"}, notice.CircuitOpen, "AccessDeniedException", false},
		{"credentials ran out", sestest.Fault{Status: 403, Code: "ExpiredTokenException"}, notice.CircuitOpen, "ExpiredTokenException", false},
		{"an unknown 403", sestest.Fault{Status: 403, Code: "NewException"}, notice.CircuitOpen, "NewException", false},
		{"configuration set or identity gone", sestest.Fault{Status: 404, Code: "NotFoundException"}, notice.CircuitOpen, "NotFoundException", false},
		{"internal error", sestest.Fault{Status: 500, Code: "InternalServiceErrorException"}, notice.InDoubt, "InternalServiceErrorException", false},
		{"unavailable", sestest.Fault{Status: 503, Code: "ServiceUnavailable"}, notice.InDoubt, "ServiceUnavailable", false},
		{"a gateway's 502", sestest.Fault{Status: 502, Code: ""}, notice.InDoubt, "http_Bad Gateway", false},
		{"accepted, then cut", sestest.Fault{Accept: true, Cut: true}, notice.InDoubt, "connection_lost", false},
		{"cut", sestest.Fault{Cut: true}, notice.InDoubt, "connection_lost", false},
		{"hangs", sestest.Fault{Hang: true}, notice.InDoubt, "timeout", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			calls := ses.Calls()
			ses.SetFault(func(*http.Request) sestest.Fault { return tt.fault })
			limit := 20 * time.Second
			if tt.fault.Hang {
				limit = timeout
			}
			wantOutcome(t, send(t.Context(), ses.URL, limit), tt.class, tt.reason, tt.throttled)
			if n := ses.Calls() - calls; n != 1 {
				t.Errorf("%d calls for one attempt", n)
			}
		})
	}
	t.Run("nobody listens", func(t *testing.T) {
		wantOutcome(t, send(t.Context(), "http://127.0.0.1:1", 20*time.Second), notice.Retryable, "not_connected", false)
	})
}

// What is answered to the search for credentials is no answer about the message.
func TestSES_CredentialsThatCannotBeHadPauseSending(t *testing.T) {
	ses := sestest.New(t)
	for _, status := range []int{400, 404, 500} {
		keeper := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(status)
			_, _ = w.Write([]byte(`{"code":"NewException","message":"no"}`)) // the client sees it fail
		}))
		defer keeper.Close()
		cfg := aws.Config{Region: "sa-east-1", Credentials: aws.NewCredentialsCache(endpointcreds.New(keeper.URL, func(o *endpointcreds.Options) {
			o.Retryer = aws.NopRetryer{}
		}))}
		wantOutcome(t, attempt(t.Context(), cfg, ses.URL, 20*time.Second), notice.CircuitOpen, "not_signed", false)
	}
	keeper := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
	defer keeper.Close()
	cfg := aws.Config{Region: "sa-east-1", Credentials: endpointcreds.New(keeper.URL)}
	wantOutcome(t, attempt(t.Context(), cfg, ses.URL, 200*time.Millisecond), notice.Retryable, "not_signed", false)
	if n := ses.Calls(); n != 0 {
		t.Errorf("%d calls without credentials", n)
	}
}

func wantOutcome(t *testing.T, got notice.Outcome, class notice.Class, reason string, throttled bool) {
	t.Helper()
	if got.Class != class || got.Reason != reason || got.Throttled != throttled {
		t.Errorf("%s, reason %q, throttled %t; want %s, %q, %t", got.Class, got.Reason, got.Throttled, class, reason, throttled)
	}
	if (got.MessageID != "") != (class == notice.Accepted) {
		t.Errorf("message id %q", got.MessageID)
	}
}

// send makes one attempt with a client of its own.
func send(ctx context.Context, endpoint string, timeout time.Duration) notice.Outcome {
	cfg := aws.Config{Region: "sa-east-1", Credentials: credentials.NewStaticCredentialsProvider("local", "local", "")}
	return attempt(ctx, cfg, endpoint, timeout)
}

func attempt(ctx context.Context, cfg aws.Config, endpoint string, timeout time.Duration) notice.Outcome {
	raw := "From: agenda@healthmed.example\r\nTo: maria@example.com\r\nSubject: Test\r\n\r\nTest\r\n"
	return mail.NewSES(cfg, endpoint, "", timeout, 1).Send(ctx, mail.Envelope{
		DeliveryID: uuid.New(), EventID: uuid.New(), Template: notice.DoctorBooked,
		From: "agenda@healthmed.example", To: "maria@example.com", Raw: []byte(raw),
	})
}

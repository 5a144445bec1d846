package mail

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptrace"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/service/sesv2"
	"github.com/aws/aws-sdk-go-v2/service/sesv2/types"
	"github.com/aws/smithy-go/middleware"

	"github.com/healthmed/healthmed/services/notifier/internal/notice"
)

// SES sends through Amazon SES v2. The SDK never retries: SendEmail has no idempotency token, so a retry after a
// time-out could send twice. What happens after each outcome is decided by the caller.
type SES struct {
	client           *sesv2.Client
	configurationSet string
	timeout          time.Duration
}

// NewSES makes a client. endpoint overrides the one that the SDK finds (AWS_ENDPOINT_URL_SESV2, or the region's);
// configurationSet may be empty; timeout bounds one call; conns is how many calls are made at once.
func NewSES(cfg aws.Config, endpoint, configurationSet string, timeout time.Duration, conns int) *SES {
	client := sesv2.NewFromConfig(cfg, func(o *sesv2.Options) {
		o.Retryer = aws.NopRetryer{}
		if endpoint != "" {
			o.BaseEndpoint = aws.String(endpoint)
		}
		o.HTTPClient = awshttp.NewBuildableClient().WithTransportOptions(func(t *http.Transport) {
			t.MaxIdleConns, t.MaxIdleConnsPerHost, t.MaxConnsPerHost = conns, conns, 0
		})
	})
	return &SES{client: client, configurationSet: configurationSet, timeout: timeout}
}

// Quota is the account's maximum rate of messages a second, as GetAccount tells it.
func (s *SES) Quota(ctx context.Context) (float64, error) {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	out, err := s.client.GetAccount(ctx, &sesv2.GetAccountInput{})
	if err != nil {
		return 0, err
	}
	if out.SendQuota == nil || out.SendQuota.MaxSendRate <= 0 {
		return 0, errors.New("the account tells no maximum send rate")
	}
	return out.SendQuota.MaxSendRate, nil
}

// Send makes one attempt.
func (s *SES) Send(ctx context.Context, e Envelope) notice.Outcome {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	var r reach
	input := &sesv2.SendEmailInput{
		FromEmailAddress: aws.String(e.From),
		Destination:      &types.Destination{ToAddresses: []string{e.To}},
		Content:          &types.EmailContent{Raw: &types.RawMessage{Data: e.Raw}},
		EmailTags: []types.MessageTag{
			{Name: aws.String(TagDelivery), Value: aws.String(e.DeliveryID.String())},
			{Name: aws.String("event_id"), Value: aws.String(e.EventID.String())},
			{Name: aws.String("template"), Value: aws.String(string(e.Template))},
		},
	}
	if s.configurationSet != "" {
		input.ConfigurationSetName = aws.String(s.configurationSet)
	}
	out, err := s.client.SendEmail(ctx, input, r.watch)
	if err != nil {
		return classify(err, &r)
	}
	return notice.Outcome{Class: notice.Accepted, MessageID: aws.ToString(out.MessageId)}
}

// reach is how far a call got.
type reach struct {
	signed atomic.Bool // there were credentials, and the request is made
	wrote  atomic.Bool // some of it left this machine
}

// watch looks at the signed request alone: the SDK uses the call's context to fetch credentials as well.
func (r *reach) watch(o *sesv2.Options) {
	o.APIOptions = append(o.APIOptions, func(stack *middleware.Stack) error {
		return stack.Finalize.Insert(middleware.FinalizeMiddlewareFunc("Reach",
			func(ctx context.Context, in middleware.FinalizeInput, next middleware.FinalizeHandler) (middleware.FinalizeOutput, middleware.Metadata, error) {
				r.signed.Store(true)
				return next.HandleFinalize(httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{WroteHeaders: func() { r.wrote.Store(true) }}), in)
			}), "Signing", middleware.After)
	})
}

// TagDelivery is the message tag by which feedback finds its delivery.
const TagDelivery = "delivery_id"

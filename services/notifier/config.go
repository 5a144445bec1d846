package notifier

import (
	"errors"
	"fmt"
	"net"
	"net/mail"
	"net/url"
	"time"

	"github.com/healthmed/healthmed/pkg/auth"
	"github.com/healthmed/healthmed/pkg/bus"
	"github.com/healthmed/healthmed/pkg/clock"
	"github.com/healthmed/healthmed/pkg/config"
	"github.com/healthmed/healthmed/pkg/postgres"
	"github.com/healthmed/healthmed/pkg/telemetry"
	"github.com/healthmed/healthmed/services/notifier/internal/notice"
)

// Config of the service.
type Config struct {
	Postgres postgres.Config
	Bus      bus.Config
	Auth     auth.Config
	Logs     telemetry.Config
	Clock    clock.Config

	HTTPAddr string `env:"HTTP_ADDR" envDefault:":8080"` // the API
	OpsAddr  string `env:"OPS_ADDR" envDefault:":9090"`  // /livez, /startupz, /readyz, /metrics
	// TrustedProxies may set X-Forwarded-For (CIDRs or addresses).
	TrustedProxies []string `env:"TRUSTED_PROXIES"`

	// MailFrom is the mailbox that messages come from. SES must have verified its domain; the default's is reserved.
	MailFrom    string `env:"MAIL_FROM" envDefault:"Health&Med <agenda@healthmed.example>"`
	MailReplyTo string `env:"MAIL_REPLY_TO"` // address that answers go to; empty is MAIL_FROM
	// AppURL is where readers sign in: links in messages begin with it. Empty is PublicURL, the public origin, whose
	// gateway has a page for each link. Without both, messages about appointments carry no links.
	AppURL    string `env:"APP_URL"`
	PublicURL string `env:"PUBLIC_URL"`

	// SESEndpoint replaces the region's endpoint (the SDK reads the same variable).
	SESEndpoint string `env:"AWS_ENDPOINT_URL_SESV2"`
	// SESConfigurationSet publishes feedback; FeedbackQueueURL is the SQS queue where it arrives. Both or neither.
	SESConfigurationSet string `env:"SES_CONFIGURATION_SET"`
	FeedbackQueueURL    string `env:"FEEDBACK_QUEUE_URL"`
	SQSEndpoint         string `env:"AWS_ENDPOINT_URL_SQS"` // instead of the region's
	// AWSRegion and static credentials (AWSAccessKeyID, AWSSecretAccessKey, AWSSessionToken), where given by these names;
	// else all of it comes from the SDK's default chain (the task's role in production).
	AWSRegion          string        `env:"AWS_REGION"`
	AWSAccessKeyID     string        `env:"AWS_ACCESS_KEY_ID"`
	AWSSecretAccessKey config.Secret `env:"AWS_SECRET_ACCESS_KEY"`
	AWSSessionToken    config.Secret `env:"AWS_SESSION_TOKEN"`

	SendConcurrency int           `env:"SEND_CONCURRENCY" envDefault:"64"` // calls to SES at once
	SendTimeout     time.Duration `env:"SEND_TIMEOUT" envDefault:"8s"`     // of one call
	// SendRate, messages a second, where GetAccount is denied or doesn't tell the account's own; 1 is the sandbox's.
	SendRate float64 `env:"SEND_RATE" envDefault:"1"`
	// SettleAfter is how long an in-doubt attempt waits for feedback before it is sent once more;
	// a reminder or an agenda is given up then, because it is sent at most once.
	SettleAfter time.Duration `env:"SETTLE_AFTER" envDefault:"15m"`

	// RetryBase is the first pause after a failed attempt; it doubles with each, up to five minutes (half a minute where
	// the account was throttled), for a day.
	RetryBase time.Duration `env:"RETRY_BASE" envDefault:"2s"`
	// LeaseMargin is how much longer than a call a replica holds a delivery: clocks differ, and results take time to be
	// recorded. A delivery whose lease ends without a result is in doubt.
	LeaseMargin time.Duration `env:"LEASE_MARGIN" envDefault:"30s"`

	// ReminderLead is how long before an appointment the patient is reminded. An hour or less: not at all, so 0 turns reminders off.
	ReminderLead time.Duration `env:"REMINDER_LEAD" envDefault:"24h"`
	AgendaHour   int           `env:"AGENDA_HOUR" envDefault:"18"` // local hour of the eve, to the doctor

	HTTPListener net.Listener         `env:"-"` // instead of HTTPAddr
	OpsListener  net.Listener         `env:"-"` // instead of OpsAddr
	Telemetry    *telemetry.Telemetry `env:"-"` // instead of Logs
	Now          func() time.Time     `env:"-"`
}

// Validate reports every fault at once.
func (c Config) Validate() error {
	var faults []error
	need := func(ok bool, format string, args ...any) {
		if !ok {
			faults = append(faults, fmt.Errorf(format, args...))
		}
	}
	_, err := mail.ParseAddress(c.MailFrom)
	need(err == nil, "MAIL_FROM is not a mailbox such as: Health&Med <agenda@example.com>")
	if c.MailReplyTo != "" {
		_, err := mail.ParseAddress(c.MailReplyTo)
		need(err == nil, "MAIL_REPLY_TO is not an address")
	}
	if c.AppURL != "" {
		u, err := url.Parse(c.AppURL)
		need(err == nil && u.Host != "" && (u.Scheme == "https" || u.Scheme == "http"), "APP_URL is not an absolute http(s) URL")
	}
	need(c.FeedbackQueueURL == "" || c.SESConfigurationSet != "", "FEEDBACK_QUEUE_URL needs SES_CONFIGURATION_SET: without it no feedback is published")
	need(c.SendConcurrency >= 0 && c.SendConcurrency <= 1000, "SEND_CONCURRENCY is not 1 to 1000")
	need(c.SendTimeout >= 0 && c.SendTimeout <= time.Minute, "SEND_TIMEOUT is not between 0 and 1m")
	need(c.SendRate >= 0, "SEND_RATE is negative")
	need(c.SettleAfter >= 0, "SETTLE_AFTER is negative")
	need(c.RetryBase >= 0, "RETRY_BASE is negative")
	need(c.LeaseMargin >= 0, "LEASE_MARGIN is negative")
	need(c.ReminderLead >= 0, "REMINDER_LEAD is negative")
	need(c.AgendaHour >= 0 && c.AgendaHour <= 23, "AGENDA_HOUR is not an hour of the day")
	faults = append(faults, c.Bus.Validate(), c.Clock.Validate(),
		config.RefuseKnown(c.Clock.Environment, map[string]config.Secret{"DATABASE_URL": c.Postgres.URL}))
	return errors.Join(faults...)
}

// now is the clock.
func (c Config) now() func() time.Time {
	return c.Clock.Or(c.Now)
}

func (c Config) policy() notice.Policy {
	return notice.Policy{ReminderLead: c.ReminderLead, AgendaHour: c.AgendaHour}
}

// linkBase is what links in messages begin with.
func (c Config) linkBase() string {
	if c.AppURL != "" {
		return c.AppURL
	}
	return c.PublicURL
}

// timing of attempts. An in-doubt attempt is sent once more; where feedback is read, its absence says that nothing was
// sent, and further attempts are safe.
func (c Config) timing() notice.Timing {
	t := notice.Timing{Settle: c.SettleAfter, Base: c.RetryBase}
	if c.FeedbackQueueURL != "" {
		t.Resends = 10
	}
	return t.WithDefaults()
}

// retention outlasts the streams, so that no replay meets a notifier that has forgotten.
func (c Config) retention() time.Duration {
	age := c.Bus.MaxAge
	if age == 0 {
		age = 365 * 24 * time.Hour
	}
	return age + 30*24*time.Hour
}

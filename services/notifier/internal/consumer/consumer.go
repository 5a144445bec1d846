// Package consumer takes events in: people from USERS, appointments from SCHEDULING, account messages from
// ACCOUNT_MAIL, and dead letters. Each handler is one transaction of the store; nothing is sent from here.
package consumer

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/url"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"

	"github.com/healthmed/healthmed/pkg/bus"
	"github.com/healthmed/healthmed/pkg/bus/accountmail"
	"github.com/healthmed/healthmed/pkg/events"
	pkgpostgres "github.com/healthmed/healthmed/pkg/postgres"
	"github.com/healthmed/healthmed/pkg/telemetry"
	"github.com/healthmed/healthmed/services/notifier/internal/notice"
	"github.com/healthmed/healthmed/services/notifier/internal/postgres"
)

// takenTogether bounds how many events of appointments are written at once.
const takenTogether = 64

// Config of a Consumer.
type Config struct {
	Conn   *bus.Conn
	Store  *postgres.Store
	Policy notice.Policy
	Log    *slog.Logger
	Now    func() time.Time
	// AppURL is where a token of an account message is turned into a link.
	AppURL string
	// Nudge wakes the worker after new deliveries were committed.
	Nudge func()
}

// Consumer takes events in.
type Consumer struct{ cfg Config }

// New makes a consumer; Run starts it.
func New(cfg Config) *Consumer { return &Consumer{cfg} }

// Run takes in until ctx ends. NATS being down is waited out.
func (c *Consumer) Run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	subscribe := func(s bus.Subscription) {
		s.Unavailable = pkgpostgres.IsUnavailable
		group.Go(func() error { return c.cfg.Conn.Subscribe(ctx, s) })
	}
	// Order doesn't matter to either: projections only move forward by version, and deliveries are decided when due.
	subscribe(bus.Subscription{Stream: bus.Users, Durable: "notifier-users", InFlight: 8, Handle: c.User})
	group.Go(func() error {
		return c.cfg.Conn.SubscribeBatch(ctx, bus.Subscription{
			Stream: bus.Scheduling, Durable: "notifier-scheduling", InFlight: 2, Unavailable: pkgpostgres.IsUnavailable,
		}, takenTogether, c.Appointments)
	})
	group.Go(func() error {
		return c.cfg.Conn.SubscribeRaw(ctx, bus.Subscription{
			Stream: bus.AccountMail, Durable: "notifier-account-mail", InFlight: 8, Unavailable: pkgpostgres.IsUnavailable,
		}, accountmail.Handler(c.cfg.Now, c.Account))
	})
	group.Go(func() error {
		return c.cfg.Conn.SubscribeDeadLetters(ctx, "notifier-dead-letters", c.DeadLetter)
	})
	return group.Wait()
}

// User keeps what USERS says of a person.
func (c *Consumer) User(ctx context.Context, m bus.Message) error {
	woken, err := keepContact(ctx, c.cfg.Store, m, c.cfg.Now())
	if err == nil && woken > 0 {
		c.cfg.Nudge()
	}
	return err
}

// contacts is the projection of people: the one in use, or one in the making.
type contacts interface {
	SaveContact(ctx context.Context, c notice.Contact, now time.Time) (woken int, err error)
	EraseContact(ctx context.Context, id uuid.UUID, role string, version int64, now time.Time) (woken int, err error)
}

func keepContact(ctx context.Context, into contacts, m bus.Message, now time.Time) (woken int, err error) {
	switch ev := m.Data.(type) {
	case *events.UserRegistered:
		return into.SaveContact(ctx, contactOf(ev, m.Sequence), now)
	case *events.UserUpdated:
		registered := events.UserRegistered(*ev)
		return into.SaveContact(ctx, contactOf(&registered, m.Sequence), now)
	case *events.UserErased:
		return into.EraseContact(ctx, ev.UserID, ev.Role, m.Sequence, now)
	}
	return 0, nil
}

func contactOf(ev *events.UserRegistered, version int64) notice.Contact {
	return notice.Contact{
		ID: ev.UserID, Role: ev.Role, Name: ev.Name, Email: ev.Email, Locale: notice.LocaleOf(ev.Locale), Version: version,
	}
}

// Appointments keeps appointments' states and plans deliveries.
func (c *Consumer) Appointments(ctx context.Context, ms []bus.Message) error {
	var taken []postgres.Taken
	for _, m := range ms {
		plan := c.cfg.Policy.PlanFor(m.Envelope)
		if plan.Appointment == nil && len(plan.Drafts) == 0 {
			continue // concerns nobody's inbox
		}
		origin := telemetry.Origin{RequestID: m.CorrelationID, TraceParent: m.TraceParent}
		if len(ms) == 1 {
			origin = telemetry.OriginOf(ctx)
		}
		taken = append(taken, postgres.Taken{EventID: m.ID, Plan: plan, Origin: origin})
	}
	if len(taken) == 0 {
		return nil
	}
	added, err := c.cfg.Store.TakeIn(ctx, taken, c.cfg.Now())
	if err == nil && added > 0 {
		c.cfg.Nudge()
	}
	return err
}

// Account plans a message of an account.
func (c *Consumer) Account(ctx context.Context, m accountmail.Message) error {
	template, path := templateOf(m)
	link := m.Link
	if link == "" && m.Token != "" {
		app, err := url.Parse(c.cfg.AppURL)
		if err != nil || app.Host == "" {
			return bus.Permanent(errors.New("no application URL is configured to make the link from"))
		}
		app = app.JoinPath(path)
		app.RawQuery = url.Values{"token": {m.Token}}.Encode()
		link = app.String()
	}
	now := c.cfg.Now()
	added, err := c.cfg.Store.AccountMail(ctx, notice.Draft{
		EventID: m.ID, Template: template, RecipientID: m.UserID, PlannedAt: now, ExpiresAt: m.ExpiresAt,
	}, notice.Account{Name: m.Name, Email: m.Email, Locale: m.Locale, Link: link}, now)
	if err == nil && added {
		c.cfg.Nudge()
	}
	return err
}

// templateOf also tells the page that the link leads to.
func templateOf(m accountmail.Message) (notice.Template, string) {
	switch {
	case m.Kind == accountmail.ResetPassword:
		return notice.AccountPasswordReset, "reset-password"
	case m.Kind == accountmail.PasswordChanged:
		return notice.AccountPasswordChanged, ""
	case m.Changed:
		return notice.AccountNewEmail, "verify-email"
	}
	return notice.AccountVerification, "verify-email"
}

// DeadLetter keeps a dead letter where operators find it.
func (c *Consumer) DeadLetter(ctx context.Context, d bus.DeadLetter) error {
	letter, err := json.Marshal(d)
	if err != nil {
		return bus.Permanent(err)
	}
	return c.cfg.Store.SaveDeadLetter(ctx, postgres.DeadLetter{
		ID: d.ID, Stream: d.Stream, StreamSeq: int64(d.StreamSeq), Durable: d.Durable, Subject: d.Subject, //nolint:gosec // sequences stay far below 2^63
		Reason: d.Reason, Attempts: int64(d.Attempts), FailedAt: d.FailedAt, Letter: letter, //nolint:gosec // so do attempts
	})
}

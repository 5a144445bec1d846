// Package accountmail is the message by which the users service asks the notifier for an e-mail that carries a secret
// (e-mail verification, password reset). It travels on the work queue ACCOUNT_MAIL for at most an hour, and is not part of
// the public event contract: no other system can read it.
//
// The users service stores Message.Row in its outbox, in the transaction that made the token. The notifier
// subscribes with Handler.
package accountmail

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/healthmed/healthmed/pkg/bus"
	"github.com/healthmed/healthmed/pkg/outbox"
	"github.com/healthmed/healthmed/pkg/telemetry"
)

const subjectPrefix = "healthmed.users.mail."

// Kind of message.
type Kind string

// The kinds. The first two need a Link or a Token.
const (
	VerifyEmail     Kind = "verify_email"
	ResetPassword   Kind = "reset_password"
	PasswordChanged Kind = "password_changed"
)

// Message asks for one e-mail to one person.
type Message struct {
	ID     uuid.UUID `json:"id"` // UUIDv7; the same in every delivery, so that one e-mail is sent
	Kind   Kind      `json:"kind"`
	UserID uuid.UUID `json:"user_id"`
	Name   string    `json:"name"`
	Email  string    `json:"email"`
	Locale string    `json:"locale"` // BCP 47: pt-BR or en
	// Link is the whole address to click, or empty where the notifier makes it from Token.
	Link  string `json:"link,omitempty"`
	Token string `json:"token,omitempty"`
	// Changed, of VerifyEmail, says that the address is a new one of somebody who has an account, rather than of
	// somebody who has just registered.
	Changed   bool      `json:"changed,omitempty"`
	ExpiresAt time.Time `json:"expires_at"` // of link or token; an e-mail after it makes no sense
}

// LogValue keeps name, address and secret out of logs.
func (m Message) LogValue() slog.Value {
	return slog.GroupValue(slog.String("id", m.ID.String()), slog.String("kind", string(m.Kind)), slog.String("user_id", m.UserID.String()))
}

// String is for the same reason not the whole message.
func (m Message) String() string { return fmt.Sprintf("%s %s for user %s", m.Kind, m.ID, m.UserID) }

// GoString is String.
func (m Message) GoString() string { return m.String() }

// Subject is where the message is published: healthmed.users.mail.<kind>.v1.<user_id>.
func (m Message) Subject() string {
	return subjectPrefix + string(m.Kind) + ".v1." + m.UserID.String()
}

// Expired tells that the e-mail would come too late.
func (m Message) Expired(now time.Time) bool { return !now.Before(m.ExpiresAt) }

// Validate reports every fault at once, and never a value.
func (m Message) Validate() error {
	var faults []error
	need := func(ok bool, fault string) {
		if !ok {
			faults = append(faults, errors.New(fault))
		}
	}
	need(m.ID != uuid.Nil, "id is missing")
	need(m.UserID != uuid.Nil, "user_id is missing")
	year := m.ExpiresAt.UTC().Year()
	need(!m.ExpiresAt.IsZero() && year > 0 && year < 10000, "expires_at is missing or out of range")
	need(strings.Contains(m.Email, "@") && !strings.ContainsAny(m.Email, "\r\n\x00"), "email is missing or not an address")
	switch m.Kind {
	case VerifyEmail, ResetPassword:
		need(m.Link != "" || m.Token != "", "link and token are missing")
	case PasswordChanged:
	default:
		faults = append(faults, errors.New("kind is unknown"))
	}
	if len(faults) == 0 {
		return nil
	}
	return fmt.Errorf("account mail: %w", errors.Join(faults...))
}

// Encode gives the message body.
func (m Message) Encode() ([]byte, error) {
	if err := m.Validate(); err != nil {
		return nil, err
	}
	m.ExpiresAt = m.ExpiresAt.UTC()
	return json.Marshal(m)
}

// Decode reads a message body. Fields that it doesn't know are ignored.
func Decode(body []byte) (Message, error) {
	var m Message
	if err := json.Unmarshal(body, &m); err != nil {
		// The error's own text may quote the body.
		return Message{}, errors.New("account mail: not the expected JSON")
	}
	if err := m.Validate(); err != nil {
		return Message{}, err
	}
	m.ExpiresAt = m.ExpiresAt.UTC()
	return m, nil
}

// Row is the message as the outbox stores it. Its aggregate is the message itself, so that it waits for nothing else.
// Request id and trace are taken from the context.
func (m Message) Row(ctx context.Context) (outbox.Row, error) {
	body, err := m.Encode()
	if err != nil {
		return outbox.Row{}, err
	}
	headers := map[string]string{"Content-Type": "application/json; charset=utf-8"}
	if parent := telemetry.TraceParent(ctx); parent != "" {
		headers["traceparent"] = parent
	}
	if id := telemetry.RequestID(ctx); id != "" {
		headers[bus.HeaderCorrelationID] = id
	}
	encoded, err := json.Marshal(headers)
	if err != nil {
		return outbox.Row{}, fmt.Errorf("account mail: headers: %w", err)
	}
	return outbox.Row{ID: m.ID, Subject: m.Subject(), AggregateID: m.ID, AggregateVersion: 1, Headers: encoded, Data: body}, nil
}

// Handler makes a bus.RawHandler for a subscription to bus.AccountMail. A message that can't be decoded is refused for
// good; one that has expired is dropped. now is the clock.
func Handler(now func() time.Time, handle func(context.Context, Message) error) bus.RawHandler {
	return func(ctx context.Context, raw bus.RawMessage) error {
		m, err := Decode(raw.Data)
		if err != nil {
			return bus.Permanent(err)
		}
		if m.Expired(now()) {
			return nil
		}
		return handle(ctx, m)
	}
}

package notice

import (
	"errors"
	"time"

	"github.com/google/uuid"
)

// Status of a delivery.
type Status string

// Statuses. Pending, waiting, sending and unknown need attention at DueAt; the others are final unless feedback or
// an operator changes them.
const (
	Pending    Status = "pending"    // to be sent at DueAt
	Waiting    Status = "waiting"    // a person it needs isn't known yet; looked at again at DueAt, or when they arrive
	Sending    Status = "sending"    // leased by a worker until DueAt
	Unknown    Status = "unknown"    // perhaps accepted; settled by feedback, or at DueAt
	Sent       Status = "sent"       // accepted by the mail service
	Bounced    Status = "bounced"    // refused by the recipient's server for good
	Complained Status = "complained" // the recipient called it spam
	Failed     Status = "failed"     // will not be sent, by a fault
	Skipped    Status = "skipped"    // not sent on purpose: superseded, cancelled, too late, opted out
)

// Promptly is how soon after it was planned a message should be accepted by the mail service: the objective of doctors'
// e-mails, which deploy/prometheus/rules.yml holds against it.
const Promptly = 30 * time.Second

// Delivery is one message to one person, caused by one event.
type Delivery struct {
	ID            uuid.UUID
	EventID       uuid.UUID
	Template      Template
	RecipientID   uuid.UUID
	AppointmentID uuid.UUID // the nil UUID when it is about none
	Status        Status
	Attempts      int // calls to the mail service
	Resends       int // attempts made after an in-doubt one
	LastError     string
	SESMessageID  string
	CreatedAt     time.Time
	DueAt         time.Time
	SentAt        time.Time // zero until sent
}

// Errors of operators' requests.
var (
	// ErrNotFound: no such delivery.
	ErrNotFound = errors.New("notice: not found")
	// ErrNotRetryable: the delivery is sent or under way, or its secret is gone.
	ErrNotRetryable = errors.New("notice: not retryable")
)

// Retry puts a delivery back in the queue at an operator's request. An unknown one may have arrived: the operator
// decides. Messages of the account can't be retried once finished, because their secret link is wiped.
func (d Delivery) Retry(now time.Time) (Delivery, error) {
	switch d.Status {
	case Failed, Bounced, Skipped, Unknown, Waiting:
	case Pending: // in backoff, or planned for later: pull it forward only if it was tried
		if d.Attempts == 0 {
			return d, ErrNotRetryable
		}
	default:
		return d, ErrNotRetryable
	}
	if d.Template.Account() && d.Status != Unknown && d.Status != Pending && d.Status != Waiting {
		return d, ErrNotRetryable
	}
	d.Status, d.DueAt = Pending, now
	return d, nil
}

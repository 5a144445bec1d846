package events

import (
	"time"

	"github.com/google/uuid"
)

const (
	deliverySent    = "notifier.delivery.sent.v1"
	deliveryFailed  = "notifier.delivery.failed.v1"
	deliveryBounced = "notifier.delivery.bounced.v1"
)

// Delivery is what delivery events carry.
type Delivery struct {
	DeliveryID  uuid.UUID `json:"delivery_id"`
	EventID     uuid.UUID `json:"event_id"` // the event that the message tells of
	Template    string    `json:"template"` // code of the message, e.g. doctor_booked
	RecipientID uuid.UUID `json:"recipient_id"`
	Reason      string    `json:"reason,omitempty"` // a code or a short text, never an address
	OccurredAt  time.Time `json:"occurred_at"`
}

// Source is the notifier service.
func (e *Delivery) Source() string { return sourceNotifier }

// AggregateID is the delivery's id.
func (e *Delivery) AggregateID() uuid.UUID { return e.DeliveryID }

// At is when it occurred, UTC.
func (e *Delivery) At() time.Time { return e.OccurredAt.UTC() }

func (e *Delivery) check(f *faults) {
	f.id("delivery_id", e.DeliveryID)
	f.id("event_id", e.EventID)
	f.match("template", e.Template, codePattern)
	f.id("recipient_id", e.RecipientID)
	f.length("reason", e.Reason, 0, 500)
	f.when("occurred_at", e.OccurredAt)
}

// DeliverySent says that the mail provider accepted the message.
type DeliverySent struct{ Delivery }

func (e *DeliverySent) Type() string    { return typePrefix + deliverySent }
func (e *DeliverySent) Subject() string { return subject(deliverySent, e.DeliveryID) }

// DeliveryFailed says that the message will not be sent; Reason tells why.
type DeliveryFailed struct{ Delivery }

func (e *DeliveryFailed) Type() string    { return typePrefix + deliveryFailed }
func (e *DeliveryFailed) Subject() string { return subject(deliveryFailed, e.DeliveryID) }

// DeliveryBounced says that the recipient's server refused the message after the provider had accepted it.
type DeliveryBounced struct{ Delivery }

func (e *DeliveryBounced) Type() string    { return typePrefix + deliveryBounced }
func (e *DeliveryBounced) Subject() string { return subject(deliveryBounced, e.DeliveryID) }

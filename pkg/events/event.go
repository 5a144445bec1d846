package events

import (
	"time"

	"github.com/google/uuid"
)

// Event is the data of one domain event: one of the structs of this package, or Unknown.
type Event interface {
	// Type is the CloudEvents type, e.g. "br.com.healthmed.scheduling.appointment.booked.v1".
	Type() string
	// Source is the CloudEvents source, e.g. "/healthmed/scheduling".
	Source() string
	// AggregateID is the CloudEvents subject: what the event is about (user, appointment, doctor, waitlist entry, delivery).
	AggregateID() uuid.UUID
	// Subject is the NATS subject the event is published to.
	Subject() string
	// At is when it occurred (occurred_at), UTC.
	At() time.Time
}

// checked is an event of this package: it can say what its schema would refuse.
type checked interface {
	Event
	check(f *faults)
}

// versioned is an event whose data repeats its aggregate's version, which the envelope's sequence must equal.
type versioned interface{ version() int64 }

// Unknown is an event of a type that this version of the package doesn't know, as received. It cannot be published.
type Unknown struct {
	EventType, EventSource, EventSubject string

	Raw       []byte    // the data member, JSON; nil when there was none
	EventTime time.Time // the envelope's time, UTC
}

// Type is the CloudEvents type as received.
func (e *Unknown) Type() string { return e.EventType }

// Source is the CloudEvents source as received.
func (e *Unknown) Source() string { return e.EventSource }

// AggregateID is the CloudEvents subject, or the nil UUID where that is not a UUID.
func (e *Unknown) AggregateID() uuid.UUID {
	id, ok := parseID(e.EventSubject)
	if !ok {
		return uuid.Nil
	}
	return id
}

// Subject is empty: the ids in the NATS subject of an unknown type are not known.
func (e *Unknown) Subject() string { return "" }

// At is the envelope's time.
func (e *Unknown) At() time.Time { return e.EventTime }

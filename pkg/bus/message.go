package bus

import (
	"context"
	"errors"
	"fmt"
	"mime"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/healthmed/healthmed/pkg/events"
)

// Headers that give a handler's context its trace and its request id.
const (
	headerTraceParent = "traceparent"
	// HeaderCorrelationID is for messages that are not events; those have it in their envelope.
	HeaderCorrelationID = "Correlation-Id"
)

// Message is a decoded event as a handler sees it.
type Message struct {
	events.Envelope
	Stream    string
	StreamSeq uint64
	Subject   string
	Delivered uint64 // 1 on first delivery
	Stored    time.Time
	Redriven  bool // handed back from the dead letters; the stream may have moved on since
}

// Handler acts on a message. It must be idempotent. nil acks (after its own commit); a Permanent error dead-letters
// at once; any other error is delivered again after a growing delay, and dead-lettered after MaxDeliver tries.
type Handler func(ctx context.Context, m Message) error

// RawMessage is a message that isn't an event, or is not decoded.
type RawMessage struct {
	Stream    string
	StreamSeq uint64
	Subject   string
	Header    nats.Header
	Data      []byte
	Delivered uint64 // 1 on first delivery
	Stored    time.Time
	Redriven  bool
}

// RawHandler is a Handler for messages that are not events.
type RawHandler func(ctx context.Context, m RawMessage) error

type permanentError struct{ error }

func (e permanentError) Unwrap() error { return e.error }

// Permanent marks an error that no retry can mend. Permanent(nil) is nil.
func Permanent(err error) error {
	if err == nil {
		return nil
	}
	return permanentError{err}
}

// IsPermanent tells whether an error is marked Permanent.
func IsPermanent(err error) bool {
	var p permanentError
	return errors.As(err, &p)
}

// decode reads an event. A content type is not demanded (a publisher by hand has none), but another one is refused.
func decode(raw RawMessage) (Message, error) {
	if ct := raw.Header.Get("Content-Type"); ct != "" {
		if media, _, err := mime.ParseMediaType(ct); err != nil || media != "application/cloudevents+json" {
			return Message{}, fmt.Errorf("content type %q is not application/cloudevents+json", ct)
		}
	}
	env, err := events.Decode(raw.Data)
	if err != nil {
		return Message{}, err
	}
	return Message{
		Envelope: env, Stream: raw.Stream, StreamSeq: raw.StreamSeq, Subject: raw.Subject,
		Delivered: raw.Delivered, Stored: raw.Stored, Redriven: raw.Redriven,
	}, nil
}

// rawMessage is a message as its stream delivered it.
func rawMessage(msg jetstream.Msg, meta *jetstream.MsgMetadata) RawMessage {
	return RawMessage{
		Stream: meta.Stream, StreamSeq: meta.Sequence.Stream, Subject: msg.Subject(), Header: msg.Headers(),
		Data: msg.Data(), Delivered: meta.NumDelivered, Stored: meta.Timestamp,
	}
}

package bus

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const maxReason = 1 << 10 // bytes

// RedriveOnce is how long Redrive hands a dead letter over once at most.
const RedriveOnce = duplicateWindow

var (
	// ErrNotRedrivable is returned by Redrive for a dead letter whose message is kept nowhere, because it carried a secret.
	ErrNotRedrivable = errors.New("bus: the message carried a secret and was not kept")
	// ErrRedriven is returned by Redrive for a dead letter that was handed over within RedriveOnce: nothing happened now.
	ErrRedriven = errors.New("bus: handed over already")
	// errGone says that a message is no longer in its stream: expired, or its person was erased.
	errGone = errors.New("bus: the message is no longer in its stream")
)

// DeadLetter is a message that a durable could not handle, as DEAD_LETTERS carries it in JSON.
type DeadLetter struct {
	// ID is a UUIDv7 made from durable, stream, sequence and time of storage: the same failure has the same id,
	// however often it is reported.
	ID        uuid.UUID   `json:"id"`
	Durable   string      `json:"durable"`
	Stream    string      `json:"stream"`
	StreamSeq uint64      `json:"stream_seq"`
	Subject   string      `json:"subject"`
	Headers   nats.Header `json:"headers"`
	// Payload is empty where PayloadOmitted: the message names a person (USERS) and stays erasable in its own
	// stream, or carried a secret (ACCOUNT_MAIL), or is too large to be carried twice.
	Payload        []byte    `json:"payload"`
	PayloadOmitted bool      `json:"payload_omitted,omitempty"`
	Reason         string    `json:"reason"`
	Attempts       uint64    `json:"attempts"`
	StoredAt       time.Time `json:"stored_at"` // when the stream took the message
	FailedAt       time.Time `json:"failed_at"`
}

// bury stores the dead letter of a delivery, once.
func (c *Conn) bury(ctx context.Context, durable string, d *delivery, cause error) (uuid.UUID, error) {
	dl := DeadLetter{
		ID:      deadLetterID(durable, d.meta.Stream, d.meta.Sequence.Stream, d.meta.Timestamp),
		Durable: durable, Stream: d.raw.Stream, StreamSeq: d.raw.StreamSeq, Subject: d.raw.Subject,
		Headers: d.raw.Header, Payload: d.raw.Data, Reason: reason(cause), Attempts: d.meta.NumDelivered,
		StoredAt: d.raw.Stored.UTC(), FailedAt: time.Now().UTC(),
	}
	if dl.Stream == Users || dl.Stream == AccountMail {
		dl.Payload, dl.PayloadOmitted = nil, true
	}
	ctx, cancel := settling(ctx, ackTimeout)
	defer cancel()
	_, err := c.publishLetter(ctx, subjectDeadLetters+durable, DeadLetters, dl.ID.String(), dl)
	if errors.Is(err, nats.ErrMaxPayload) || errors.Is(err, jetstream.ErrStreamMessageExceedsMaximum) {
		dl.Payload, dl.PayloadOmitted = nil, true
		_, err = c.publishLetter(ctx, subjectDeadLetters+durable, DeadLetters, dl.ID.String(), dl)
	}
	return dl.ID, err
}

// publishLetter stores a dead letter in a stream; msgID makes it be stored once, and repeated says that it was before.
func (c *Conn) publishLetter(ctx context.Context, subject, stream, msgID string, dl DeadLetter) (repeated bool, err error) {
	body, err := json.Marshal(dl)
	if err != nil {
		return false, fmt.Errorf("dead letter: %w", err)
	}
	msg := nats.NewMsg(subject)
	msg.Data = body
	msg.Header.Set("Content-Type", "application/json; charset=utf-8")
	if parent := dl.Headers.Get(headerTraceParent); parent != "" {
		msg.Header.Set(headerTraceParent, parent)
	}
	err = c.denied.during(ctx, subject, func(ctx context.Context) error {
		ack, err := c.JS.PublishMsg(ctx, msg, jetstream.WithMsgID(msgID), jetstream.WithExpectStream(stream))
		repeated = err == nil && ack.Duplicate
		return err
	})
	if err != nil {
		return false, fmt.Errorf("publish to %s: %w", stream, err)
	}
	return repeated, nil
}

// deadLetterID is a UUIDv7 (RFC 9562) of the message's time of storage, with a hash for its random bits.
func deadLetterID(durable, stream string, seq uint64, stored time.Time) uuid.UUID {
	key := fmt.Appendf(nil, "%s\x00%s\x00%d\x00%d", durable, stream, seq, stored.UnixNano())
	sum := sha256.Sum256(key)
	id := uuid.UUID(sum[:16])
	var ms [8]byte
	binary.BigEndian.PutUint64(ms[:], uint64(stored.UnixMilli()))
	copy(id[:6], ms[2:])
	id[6] = id[6]&0x0f | 0x70
	id[8] = id[8]&0x3f | 0x80
	return id
}

// reason is the error's text as any store can keep it: bounded, valid UTF-8, no NUL.
func reason(err error) string {
	text := strings.ReplaceAll(err.Error(), "\x00", "")
	return strings.ToValidUTF8(text[:min(len(text), maxReason)], "")
}

// SubscribeDeadLetters hands every dead letter to handle, until ctx ends; it waits out what Subscribe waits out. A
// failing handler is tried again for ever, with a growing delay, while the others pass. A Permanent error gives that dead
// letter up; it stays in the stream for its 30 days. A message in DEAD_LETTERS that is not a dead letter arrives as
// one, with the reason, so that nobody overlooks it.
func (c *Conn) SubscribeDeadLetters(ctx context.Context, durable string, handle func(context.Context, DeadLetter) error) error {
	sub := Subscription{Stream: DeadLetters, Durable: durable}
	if err := sub.validate(); err != nil {
		return err
	}
	return c.run(ctx, &consumer{
		conn: c, sub: sub.withDefaults(), retryLimit: maxSupervise, final: true,
		handle: func(ctx context.Context, raw RawMessage) error {
			dl, err := parseDeadLetter(raw.Data)
			if err != nil {
				dl = DeadLetter{
					ID:     deadLetterID(durable, raw.Stream, raw.StreamSeq, raw.Stored),
					Stream: raw.Stream, StreamSeq: raw.StreamSeq, Subject: raw.Subject, Headers: raw.Header, Payload: raw.Data,
					Reason: reason(fmt.Errorf("not a dead letter: %w", err)), Attempts: raw.Delivered,
					StoredAt: raw.Stored.UTC(), FailedAt: raw.Stored.UTC(),
				}
			}
			return handle(ctx, dl)
		},
	})
}

func parseDeadLetter(body []byte) (DeadLetter, error) {
	var dl DeadLetter
	if err := json.Unmarshal(body, &dl); err != nil {
		return dl, err
	}
	if dl.ID == uuid.Nil || dl.Durable == "" || dl.Stream == "" || dl.Subject == "" {
		return dl, errors.New("id, durable, stream or subject is missing")
	}
	return dl, nil
}

// Redrive hands the original message to the one durable that failed, and to nobody else, also when that
// durable's service is down at the moment (for 30 days). Asking twice within RedriveOnce for one dead letter hands it
// over once, and is ErrRedriven the second time. If it fails again it becomes a new dead letter, with a new id.
//
// A message whose payload was omitted is read from its stream when it is handled; if it has expired there, or its person
// was erased, nothing is handed over.
func (c *Conn) Redrive(ctx context.Context, dl DeadLetter) error {
	if err := (Subscription{Stream: dl.Stream, Durable: dl.Durable}).validate(); err != nil {
		return err
	}
	if dl.Stream == AccountMail {
		return ErrNotRedrivable
	}
	repeated, err := c.publishLetter(ctx, subjectRedrives+dl.Durable, Redrives, "redrive-"+dl.ID.String(), dl)
	if err == nil && repeated {
		return ErrRedriven
	}
	return err
}

// unpack gives the message inside a redriven dead letter, as if its stream had delivered it.
func (c *Conn) unpack(ctx context.Context, outer RawMessage) (RawMessage, error) {
	dl, err := parseDeadLetter(outer.Data)
	if err != nil {
		return outer, Permanent(fmt.Errorf("not a dead letter: %w", err))
	}
	raw := RawMessage{
		Stream: dl.Stream, StreamSeq: dl.StreamSeq, Subject: dl.Subject, Header: dl.Headers, Data: dl.Payload,
		Delivered: outer.Delivered, Stored: dl.StoredAt, Redriven: true,
	}
	if !dl.PayloadOmitted {
		return raw, nil
	}
	stream, err := c.JS.Stream(ctx, dl.Stream)
	if err != nil {
		return raw, fmt.Errorf("read the message again: %w", err)
	}
	stored, err := stream.GetMsg(ctx, dl.StreamSeq)
	switch {
	case errors.Is(err, jetstream.ErrMsgNotFound):
		return raw, errGone
	case err != nil:
		return raw, fmt.Errorf("read the message again: %w", err)
	case stored.Subject != dl.Subject || !stored.Time.Equal(dl.StoredAt):
		return raw, errGone // the stream was made anew, and another message has the number
	}
	raw.Header, raw.Data = stored.Header, bytes.Clone(stored.Data)
	return raw, nil
}

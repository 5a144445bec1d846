package events

import (
	"encoding/json"
	"fmt"
	"reflect"
	"regexp"
	"time"

	"github.com/google/uuid"
)

// ContentType of a message body: CloudEvents in structured JSON mode.
const ContentType = "application/cloudevents+json; charset=utf-8"

// MaxSize is the longest message body, in bytes, that is read: NATS's own default limit.
const MaxSize = 1 << 20

// maxWritten is the longest that is written: what the streams take. Events are far below it.
const maxWritten = 256 << 10

// Envelope is a CloudEvents 1.0 envelope in structured JSON mode around one event.
type Envelope struct {
	ID            uuid.UUID // UUIDv7; also the Nats-Msg-Id
	Sequence      int64     // the aggregate's version, from 1, without gaps
	CorrelationID string    // the request id that caused it; may be empty
	TraceParent   string    // W3C trace context; may be empty
	Data          Event
}

// wire is the message body, member by member in the order of the documentation.
type wire struct {
	SpecVersion     string    `json:"specversion"`
	ID              string    `json:"id"`
	Source          string    `json:"source"`
	Type            string    `json:"type"`
	Subject         string    `json:"subject"`
	Time            time.Time `json:"time"`
	DataContentType string    `json:"datacontenttype"`
	DataSchema      string    `json:"dataschema"`
	Sequence        string    `json:"sequence"`
	CorrelationID   string    `json:"correlationid,omitempty"`
	TraceParent     string    `json:"traceparent,omitempty"`
	Data            checked   `json:"data"`
}

// New wraps an event in an envelope with a fresh id. sequence is the aggregate's version after the event.
// It fails with ErrInvalid on what Encode would refuse.
func New(ev Event, sequence int64) (Envelope, error) {
	c, _, err := known(ev)
	if err != nil {
		return Envelope{}, err
	}
	if err := validate(inUTC(c), sequence); err != nil {
		return Envelope{}, err
	}
	id, err := uuid.NewV7()
	if err != nil {
		return Envelope{}, fmt.Errorf("event id: %w", err)
	}
	return Envelope{ID: id, Sequence: sequence, Data: ev}, nil
}

// Encode gives the message body. It fails, with ErrInvalid, on an event that its own schema would refuse.
// Times are written in UTC, to the microsecond (what PostgreSQL keeps). A correlation id or trace context that
// is malformed is left out: it must not cost the event.
func (e Envelope) Encode() ([]byte, error) {
	c, d, err := known(e.Data)
	if err != nil {
		return nil, err
	}
	if e.ID == uuid.Nil {
		return nil, invalid("id is missing")
	}
	c = inUTC(c)
	if err := validate(c, e.Sequence); err != nil {
		return nil, err
	}
	w := wire{
		SpecVersion: "1.0", ID: e.ID.String(), Source: c.Source(), Type: d.Type(), Subject: c.AggregateID().String(),
		Time: c.At(), DataContentType: "application/json", DataSchema: d.DataSchema(),
		Sequence: fmt.Sprintf("%020d", e.Sequence), Data: c,
		CorrelationID: wellFormed(e.CorrelationID, correlationPattern),
		TraceParent:   wellFormed(e.TraceParent, traceParentPattern),
	}
	body, err := json.Marshal(w)
	if err != nil {
		return nil, invalid("%s: %v", d.Name, err)
	}
	if len(body) > maxWritten {
		return nil, invalid("%s: longer than %d bytes", d.Name, maxWritten)
	}
	return body, nil
}

// Headers are the NATS headers that go with the body: Nats-Msg-Id, Content-Type and, where known, traceparent.
func (e Envelope) Headers() map[string]string {
	h := map[string]string{"Nats-Msg-Id": e.ID.String(), "Content-Type": ContentType}
	if tp := wellFormed(e.TraceParent, traceParentPattern); tp != "" {
		h["traceparent"] = tp
	}
	return h
}

var (
	correlationPattern = regexp.MustCompile(`^[!-~]{1,255}$`)
	traceParentPattern = regexp.MustCompile(`^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$`)
)

func wellFormed(s string, pattern *regexp.Regexp) string {
	if !pattern.MatchString(s) {
		return ""
	}
	return s
}

func micro(t time.Time) time.Time { return t.UTC().Truncate(time.Microsecond) }

// inUTC is a copy of an event with every time as micro gives it. The caller's event stays as it is.
// Events hold times by value and in nested structs, never behind pointers.
func inUTC(ev checked) checked {
	c := reflect.New(reflect.TypeOf(ev).Elem())
	c.Elem().Set(reflect.ValueOf(ev).Elem())
	convertTimes(c.Elem())
	return c.Interface().(checked)
}

func convertTimes(v reflect.Value) {
	if v.Kind() != reflect.Struct {
		return
	}
	if t, ok := v.Interface().(time.Time); ok {
		v.Set(reflect.ValueOf(micro(t)))
		return
	}
	for i := range v.NumField() {
		convertTimes(v.Field(i))
	}
}

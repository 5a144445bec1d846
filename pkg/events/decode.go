package events

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"reflect"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Decode reads a message body: one call, then a type switch over Data. An event type that this version of
// the package doesn't know gives Data of type *Unknown, not an error; fields that it doesn't know are ignored.
// Everything that breaks the contract fails with ErrInvalid: acknowledge or set aside such a message, since it
// will not get better.
func Decode(body []byte) (Envelope, error) {
	if len(body) > MaxSize {
		return Envelope{}, invalid("longer than %d bytes", MaxSize)
	}
	if !utf8.Valid(body) {
		return Envelope{}, invalid("not UTF-8")
	}
	m, err := members(body)
	if err != nil {
		return Envelope{}, invalid("envelope: %v", err)
	}
	a, err := readAttributes(m)
	if err != nil {
		return Envelope{}, err
	}
	e := Envelope{Sequence: a.sequence, CorrelationID: a.correlationID, TraceParent: a.traceParent}
	e.ID, _ = parseID(a.id)
	d, ok := Lookup(a.eventType)
	if !ok {
		e.Data = &Unknown{EventType: a.eventType, EventSource: a.source, EventSubject: a.subject, EventTime: a.time, Raw: m["data"]}
		return e, nil
	}
	ev := d.make()
	if err := decodeData(m["data"], ev); err != nil {
		return Envelope{}, invalid("%s: data: %v", d.Name, err)
	}
	convertTimes(reflect.ValueOf(ev).Elem())
	if err := validate(ev, a.sequence); err != nil {
		return Envelope{}, err
	}
	if a.source != ev.Source() {
		return Envelope{}, invalid("%s: source is not %s", d.Name, ev.Source())
	}
	if a.subject != ev.AggregateID().String() {
		return Envelope{}, invalid("%s: subject differs from the id in the data", d.Name)
	}
	e.Data = ev
	return e, nil
}

// attributes are the CloudEvents context attributes of a well-formed envelope.
type attributes struct {
	id, source, eventType, subject string
	time                           time.Time
	sequence                       int64
	correlationID, traceParent     string
}

func readAttributes(m map[string]json.RawMessage) (attributes, error) {
	var a attributes
	var f faults
	text := func(name string) string {
		var s *string
		raw, present := m[name]
		if present && json.Unmarshal(raw, &s) == nil && s != nil && *s != "" {
			return *s
		}
		f.unless(present, name+" is not a non-empty string")
		f.unless(!present, name+" is missing")
		return ""
	}
	// Each attribute is reported once: a missing one is not malformed as well.
	expect := func(name, value string, ok bool, want string) {
		f.unless(value != "" && !ok, name+" is not "+want)
	}
	version := text("specversion")
	expect("specversion", version, version == "1.0", "1.0")
	a.id = text("id")
	_, ok := parseID(a.id)
	expect("id", a.id, ok, "a UUID in canonical form")
	a.source, a.eventType, a.subject = text("source"), text("type"), text("subject")
	when := text("time")
	t, err := time.Parse(time.RFC3339Nano, when)
	expect("time", when, err == nil, "an RFC 3339 time")
	a.time = t.UTC()
	contentType := text("datacontenttype")
	expect("datacontenttype", contentType, contentType == "application/json", "application/json")
	sequence := text("sequence")
	a.sequence, ok = parseSequence(sequence)
	expect("sequence", sequence, ok, "20 digits from 1")
	a.correlationID = wellFormed(optional(m["correlationid"]), correlationPattern)
	a.traceParent = wellFormed(optional(m["traceparent"]), traceParentPattern)
	if len(f) > 0 {
		return attributes{}, invalid("envelope: %s", strings.Join(f, "; "))
	}
	return a, nil
}

func optional(raw json.RawMessage) string {
	var s string
	if json.Unmarshal(raw, &s) != nil {
		return ""
	}
	return s
}

func parseSequence(s string) (int64, bool) {
	if len(s) != 20 || strings.Trim(s, "0123456789") != "" {
		return 0, false
	}
	n, err := strconv.ParseInt(s, 10, 64)
	return n, err == nil && n >= 1
}

func decodeData(raw json.RawMessage, into Event) error {
	if raw == nil {
		return errors.New("missing")
	}
	if _, err := members(raw); err != nil {
		return err
	}
	err := json.Unmarshal(raw, into)
	var wrong *json.UnmarshalTypeError
	if errors.As(err, &wrong) {
		return errors.New(wrong.Field + " has the wrong type")
	}
	if err != nil { // a time or an id; the error's own text would quote the value
		return errors.New("a time or id is malformed")
	}
	return nil
}

// members splits a JSON object into its members. Names that occur twice, also in another case, are refused: readers
// in different languages would disagree about which one counts.
func members(object []byte) (map[string]json.RawMessage, error) {
	dec := json.NewDecoder(bytes.NewReader(object))
	open, err := dec.Token()
	if err != nil || open != json.Delim('{') {
		return nil, errors.New("not a JSON object")
	}
	m, seen := map[string]json.RawMessage{}, map[string]bool{}
	for dec.More() {
		var value json.RawMessage
		name, err := dec.Token()
		if err != nil || dec.Decode(&value) != nil {
			return nil, errors.New("malformed JSON")
		}
		key := name.(string)
		folded := strings.ToLower(key)
		if seen[folded] {
			return nil, errors.New("a member occurs twice")
		}
		seen[folded], m[key] = true, value
	}
	if _, err := dec.Token(); err != nil {
		return nil, errors.New("malformed JSON")
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("something follows the object")
	}
	return m, nil
}

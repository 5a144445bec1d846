package events_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/healthmed/healthmed/pkg/events"
)

// body is the example of a booking, with each pair of texts replaced.
func body(t testing.TB, replacements ...string) []byte {
	t.Helper()
	d, ok := events.Lookup("br.com.healthmed.scheduling.appointment.booked.v1")
	if !ok {
		t.Fatal("bookings are not in the contract")
	}
	s := string(d.Example())
	for i := 0; i < len(replacements); i += 2 {
		if !strings.Contains(s, replacements[i]) {
			t.Fatalf("%s is not in the example", replacements[i])
		}
		s = strings.Replace(s, replacements[i], replacements[i+1], 1)
	}
	return []byte(s)
}

func TestDecode_GivesATypedEvent(t *testing.T) {
	env, err := events.Decode(body(t))
	if err != nil {
		t.Fatal(err)
	}
	ev, ok := env.Data.(*events.AppointmentBooked)
	if !ok {
		t.Fatalf("data is %T", env.Data)
	}
	if ev.Status != "booked" || env.Sequence != 1 || env.ID.String() != "0193b5a0-7a00-7000-8000-0000000000e5" {
		t.Errorf("%+v", env)
	}
}

func TestDecode_IgnoresFieldsItDoesNotKnow(t *testing.T) {
	b := body(t, `"data": {`, `"partitionkey": 7, "data": {"room": {"floor": [2]}, `, `"actor": {`, `"actor": {"device": null, `)
	env, err := events.Decode(b)
	if err != nil {
		t.Fatal(err)
	}
	if env.Data.(*events.AppointmentBooked).Actor.Role != "patient" {
		t.Errorf("%+v", env.Data)
	}
}

func TestDecode_GivesTimesInUTC(t *testing.T) {
	env, err := events.Decode(body(t, `"starts_at": "2026-12-10T12:00:00Z"`, `"starts_at": "2026-12-10T09:00:00-03:00"`))
	if err != nil {
		t.Fatal(err)
	}
	starts := env.Data.(*events.AppointmentBooked).StartsAt
	if want := time.Date(2026, 12, 10, 12, 0, 0, 0, time.UTC); starts != want {
		t.Errorf("got %v, want %v", starts, want)
	}
}

// A type of the future is not a failure: a subscriber acknowledges it and goes on.
func TestDecode_GivesUnknownForTypesItDoesNotKnow(t *testing.T) {
	for name, c := range map[string]struct {
		typ, subject string
		aggregate    uuid.UUID
	}{
		"next version":    {"br.com.healthmed.scheduling.appointment.booked.v2", "0193b5a0-7a00-7000-8000-0000000000b1", id("0000000000b1")},
		"new event":       {"br.com.healthmed.billing.invoice.issued.v1", "invoice-7", uuid.Nil},
		"somebody else's": {"com.example.thing", "x", uuid.Nil},
	} {
		t.Run(name, func(t *testing.T) {
			env, err := events.Decode(body(t, "br.com.healthmed.scheduling.appointment.booked.v1", c.typ,
				`"subject": "0193b5a0-7a00-7000-8000-0000000000b1"`, `"subject": "`+c.subject+`"`, `"data": {`, `"data": {"new": true, `))
			if err != nil {
				t.Fatal(err)
			}
			u, ok := env.Data.(*events.Unknown)
			if !ok {
				t.Fatalf("data is %T", env.Data)
			}
			if u.Type() != c.typ || u.Source() != "/healthmed/scheduling" || u.EventSubject != c.subject || u.AggregateID() != c.aggregate {
				t.Errorf("%+v", u)
			}
			if u.Subject() != "" || !u.At().Equal(clock(2, 15, 10)) || env.Sequence != 1 {
				t.Errorf("%+v %+v", env, u)
			}
			var raw struct{ New bool }
			if err := json.Unmarshal(u.Raw, &raw); err != nil || !raw.New {
				t.Errorf("raw data %s, %v", u.Raw, err)
			}
		})
	}
	t.Run("without data", func(t *testing.T) {
		b := []byte(`{"specversion":"1.0","id":"0193b5a0-7a00-7000-8000-0000000000e5","source":"/x","type":"y.v1","subject":"z",
			"time":"2026-12-01T00:00:00Z","datacontenttype":"application/json","sequence":"00000000000000000001"}`)
		env, err := events.Decode(b)
		if err != nil || env.Data.(*events.Unknown).Raw != nil {
			t.Errorf("%+v, %v", env, err)
		}
	})
}

func TestDecode_RefusesWhatBreaksTheContract(t *testing.T) {
	const booked = "br.com.healthmed.scheduling.appointment.booked.v1"
	for name, c := range map[string]struct {
		body []byte
		want string // in the error
	}{
		"nothing":                 {nil, "not a JSON object"},
		"binary":                  {[]byte{0xff, 0xfe, 0}, "not UTF-8"},
		"text":                    {[]byte("hello"), "not a JSON object"},
		"a list":                  {[]byte("[]"), "not a JSON object"},
		"null":                    {[]byte("null"), "not a JSON object"},
		"cut off":                 {body(t)[:300], "malformed JSON"},
		"cut off before the end":  {bytes.TrimRight(body(t), "}\n"), "malformed JSON"},
		"two objects":             {append(body(t), body(t)...), "something follows"},
		"1 MiB and more":          {append(body(t), bytes.Repeat([]byte(" "), events.MaxSize)...), "longer than"},
		"deep nesting":            {body(t, `"data": {`, `"data": {"x": `+strings.Repeat("[", 100_000)), "malformed JSON"},
		"empty object":            {[]byte("{}"), "specversion is missing; id is missing; source is missing; type is missing; subject is missing; time is missing; datacontenttype is missing; sequence is missing"},
		"specversion 0.3":         {body(t, `"specversion": "1.0"`, `"specversion": "0.3"`), "specversion is not 1.0"},
		"specversion a number":    {body(t, `"specversion": "1.0"`, `"specversion": 1.0`), "specversion is not a non-empty string"},
		"no specversion":          {body(t, `"specversion": "1.0",`, ``), "specversion is missing"},
		"id no UUID":              {body(t, `"id": "0193b5a0`, `"id": "x193b5a0`), "id is not a UUID"},
		"id in capitals":          {body(t, `"id": "0193b5a0-7a00-7000-8000-0000000000e5"`, `"id": "0193B5A0-7A00-7000-8000-0000000000E5"`), "id is not a UUID"},
		"id null":                 {body(t, `"id": "0193b5a0-7a00-7000-8000-0000000000e5"`, `"id": null`), "id is not a non-empty string"},
		"empty source":            {body(t, `"source": "/healthmed/scheduling"`, `"source": ""`), "source is not a non-empty string"},
		"another's source":        {body(t, `"source": "/healthmed/scheduling"`, `"source": "/healthmed/users"`), "source is not /healthmed/scheduling"},
		"no type":                 {body(t, `"type": "`+booked+`",`, ``), "type is missing"},
		"no subject":              {body(t, `"subject": "0193b5a0-7a00-7000-8000-0000000000b1",`, ``), "subject is missing"},
		"another's subject":       {body(t, `"subject": "0193b5a0-7a00-7000-8000-0000000000b1"`, `"subject": "0193b5a0-7a00-7000-8000-0000000000b2"`), "subject differs"},
		"time in words":           {body(t, `"time": "2026-12-02T15:10:00Z"`, `"time": "yesterday"`), "time is not an RFC 3339 time"},
		"time without zone":       {body(t, `"time": "2026-12-02T15:10:00Z"`, `"time": "2026-12-02T15:10:00"`), "time is not an RFC 3339 time"},
		"wrong content type":      {body(t, `"datacontenttype": "application/json"`, `"datacontenttype": "text/xml"`), "datacontenttype is not application/json"},
		"no content type":         {body(t, `"datacontenttype": "application/json",`, ``), "datacontenttype is missing"},
		"sequence a number":       {body(t, `"sequence": "00000000000000000001"`, `"sequence": 1`), "sequence is not a non-empty string"},
		"sequence unpadded":       {body(t, `"sequence": "00000000000000000001"`, `"sequence": "1"`), "sequence is not 20 digits"},
		"sequence zero":           {body(t, `"sequence": "00000000000000000001"`, `"sequence": "00000000000000000000"`), "sequence is not 20 digits"},
		"sequence negative":       {body(t, `"sequence": "00000000000000000001"`, `"sequence": "-0000000000000000001"`), "sequence is not 20 digits"},
		"sequence too large":      {body(t, `"sequence": "00000000000000000001"`, `"sequence": "99999999999999999999"`), "sequence is not 20 digits"},
		"sequence of other":       {body(t, `"sequence": "00000000000000000001"`, `"sequence": "00000000000000000002"`), "version differs"},
		"attribute twice":         {body(t, `"specversion": "1.0",`, `"specversion": "1.0", "specversion": "1.0",`), "occurs twice"},
		"attribute in two cases":  {body(t, `"specversion": "1.0",`, `"specversion": "1.0", "SubJect": "x",`), "occurs twice"},
		"data missing":            {body(t, `"data": {`, `"date": {`), "data: missing"},
		"data null":               {body(t, `"data": {`, `"data": null, "date": {`), "not a JSON object"},
		"data a text":             {body(t, `"data": {`, `"data": "{}", "date": {`), "not a JSON object"},
		"field missing":           {body(t, `"patient_id"`, `"patient"`), "patient_id is missing"},
		"field null":              {body(t, `"doctor_id": "0193b5a0-7a00-7000-8000-00000000d0c1"`, `"doctor_id": null`), "doctor_id is missing"},
		"field twice":             {body(t, `"data": {`, `"data": {"status": "booked", `), "occurs twice"},
		"field of the wrong type": {body(t, `"status": "booked"`, `"status": 7`), "status has the wrong type"},
		"field with a bad time":   {body(t, `"ends_at": "2026`, `"ends_at": "x026`), "malformed"},
		"field of another event":  {body(t, `"status": "booked"`, `"status": "requested"`), "status is not one of booked"},
	} {
		t.Run(name, func(t *testing.T) {
			env, err := events.Decode(c.body)
			if !errors.Is(err, events.ErrInvalid) {
				t.Fatalf("%+v, %v", env, err)
			}
			if !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %q, want %q", err, c.want)
			}
			if env != (events.Envelope{}) {
				t.Errorf("half an envelope: %+v", env)
			}
		})
	}
}

// A publisher's clock may be wrong; the event is still an event.
func TestDecode_AcceptsAWrongClock(t *testing.T) {
	for _, year := range []string{"1970", "2126"} {
		env, err := events.Decode(body(t, `"time": "2026`, `"time": "`+year, `"occurred_at": "2026`, `"occurred_at": "`+year))
		if err != nil {
			t.Fatal(err)
		}
		if got := env.Data.At().Format("2006"); got != year {
			t.Errorf("at %s, want %s", got, year)
		}
	}
}

func TestDecode_AcceptsUpTo1MiB(t *testing.T) {
	b := body(t)
	filler := strings.Repeat("x", events.MaxSize-len(b)-len(`"filler": "", `))
	b = body(t, `"data": {`, `"data": {"filler": "`+filler+`", `)
	if len(b) != events.MaxSize {
		t.Fatalf("%d bytes", len(b))
	}
	if _, err := events.Decode(b); err != nil {
		t.Error(err)
	}
}

// Errors end in logs and dead letters: what they say names fields, not people.
func TestDecode_NeverQuotesThePayload(t *testing.T) {
	d, _ := events.Lookup("br.com.healthmed.users.user.registered.v1")
	for _, old := range []string{`"name": "`, `"email": "`, `"role": "`, `"occurred_at": "`, `"user_id": "`, `"number": "`, `"subject": "`, `"id": "`, `"time": "`} {
		b := strings.Replace(string(d.Example()), old, old+"Maria@@ Silva", 1)
		_, err := events.Decode([]byte(b))
		if err != nil && strings.Contains(err.Error(), "Maria") {
			t.Error(err)
		}
	}
}

// Whatever arrives, Decode either explains itself or gives an event that is written back the same.
func FuzzDecode(f *testing.F) {
	for _, d := range events.All() {
		f.Add(d.Example())
	}
	f.Add(body(f, `"sequence": "00000000000000000001"`, `"sequence": 1`))
	f.Add(body(f, `"type": "br.com.healthmed.scheduling`, `"type": "br.com.healthmed.billing`))
	f.Add([]byte(`{"specversion":"1.0"}`))
	f.Add([]byte("null"))
	f.Fuzz(func(t *testing.T, b []byte) {
		env, err := events.Decode(b)
		if err != nil {
			if !errors.Is(err, events.ErrInvalid) {
				t.Fatalf("%v is not ErrInvalid", err)
			}
			return
		}
		if _, unknown := env.Data.(*events.Unknown); unknown {
			return
		}
		first, err := env.Encode()
		if err != nil {
			t.Fatalf("read but not writable: %v", err)
		}
		again, err := events.Decode(first)
		if err != nil {
			t.Fatalf("written but not readable: %v", err)
		}
		second, err := again.Encode()
		if err != nil || !bytes.Equal(first, second) {
			t.Fatalf("%v: %s became %s", err, first, second)
		}
	})
}

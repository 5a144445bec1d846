package events_test

import (
	"encoding/json"
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/healthmed/healthmed/pkg/events"
)

var (
	doctorID      = uuid.MustParse("0193b5a0-0000-7000-8000-00000000d0c0")
	patientID     = uuid.MustParse("0193b5a0-0000-7000-8000-0000000000a7")
	appointmentID = uuid.MustParse("0193b5a0-0000-7000-8000-000000000a99")
)

func booked() *events.AppointmentBooked {
	start := time.Date(2026, 12, 1, 13, 0, 0, 0, time.UTC)
	return &events.AppointmentBooked{Appointment: events.Appointment{
		AppointmentID: appointmentID, DoctorID: doctorID, PatientID: patientID,
		StartsAt: start, EndsAt: start.Add(30 * time.Minute), TimeZone: "America/Sao_Paulo",
		Status: "booked", Version: 1, Actor: events.Actor{Role: "patient", ID: patientID},
		OccurredAt: time.Date(2026, 11, 24, 10, 0, 0, 123456000, time.UTC),
	}}
}

func mustNew(t *testing.T, ev events.Event, sequence int64) events.Envelope {
	t.Helper()
	env, err := events.New(ev, sequence)
	if err != nil {
		t.Fatal(err)
	}
	return env
}

func mustEncode(t *testing.T, env events.Envelope) []byte {
	t.Helper()
	body, err := env.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return body
}

// The body is what the contract's page shows, member by member.
func TestEncode_WritesTheEnvelopeOfTheContract(t *testing.T) {
	env := mustNew(t, booked(), 1)
	env.ID = uuid.MustParse("0193b5a1-7c2e-7bb3-9d6a-0123456789ab")
	env.CorrelationID = "req-1"
	env.TraceParent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	const want = `{"specversion":"1.0","id":"0193b5a1-7c2e-7bb3-9d6a-0123456789ab","source":"/healthmed/scheduling",` +
		`"type":"br.com.healthmed.scheduling.appointment.booked.v1","subject":"0193b5a0-0000-7000-8000-000000000a99",` +
		`"time":"2026-11-24T10:00:00.123456Z","datacontenttype":"application/json",` +
		`"dataschema":"/schemas/scheduling.appointment.booked.v1.json","sequence":"00000000000000000001",` +
		`"correlationid":"req-1","traceparent":"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",` +
		`"data":{"appointment_id":"0193b5a0-0000-7000-8000-000000000a99","doctor_id":"0193b5a0-0000-7000-8000-00000000d0c0",` +
		`"patient_id":"0193b5a0-0000-7000-8000-0000000000a7","starts_at":"2026-12-01T13:00:00Z","ends_at":"2026-12-01T13:30:00Z",` +
		`"time_zone":"America/Sao_Paulo","status":"booked","version":1,` +
		`"actor":{"role":"patient","id":"0193b5a0-0000-7000-8000-0000000000a7"},"occurred_at":"2026-11-24T10:00:00.123456Z"}}`
	if got := string(mustEncode(t, env)); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestEncodeThenDecode_GivesTheSameEvent(t *testing.T) {
	env := mustNew(t, booked(), 1)
	env.CorrelationID, env.TraceParent = "req-1", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	got, err := events.Decode(mustEncode(t, env))
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, env) {
		t.Errorf("got %+v, want %+v", got, env)
	}
}

// A publisher's local clock zone and nanoseconds don't leak into the contract, nor does encoding change the caller's value.
func TestEncode_WritesTimesInUTCToTheMicrosecond(t *testing.T) {
	ev := &events.AppointmentRescheduled{Appointment: booked().Appointment}
	brasilia := time.FixedZone("", -3*3600)
	ev.StartsAt = time.Date(2026, 12, 1, 10, 0, 0, 0, brasilia)
	ev.Previous = events.Interval{StartsAt: ev.StartsAt.Add(-time.Hour), EndsAt: ev.StartsAt}
	ev.OccurredAt = time.Date(2026, 11, 24, 7, 0, 0, 123456789, brasilia)
	body := string(mustEncode(t, mustNew(t, ev, 1)))
	for _, want := range []string{
		`"time":"2026-11-24T10:00:00.123456Z"`, `"occurred_at":"2026-11-24T10:00:00.123456Z"`,
		`"starts_at":"2026-12-01T13:00:00Z"`, `"previous":{"starts_at":"2026-12-01T12:00:00Z","ends_at":"2026-12-01T13:00:00Z"}`,
	} {
		if !strings.Contains(body, want) {
			t.Errorf("%s is missing in %s", want, body)
		}
	}
	if ev.OccurredAt.Location() != brasilia || ev.OccurredAt.Nanosecond() != 123456789 {
		t.Error("the caller's event was changed")
	}
}

func TestEncode_LeavesOutAMalformedTraceOrCorrelationID(t *testing.T) {
	env := mustNew(t, booked(), 1)
	env.CorrelationID, env.TraceParent = "a\r\nb", "not-a-trace"
	body := string(mustEncode(t, env))
	if strings.Contains(body, "correlationid") || strings.Contains(body, "traceparent") {
		t.Error(body)
	}
	if _, there := env.Headers()["traceparent"]; there {
		t.Error("malformed traceparent in the headers")
	}
}

func TestHeaders_CarryTheIDForDeduplication(t *testing.T) {
	env := mustNew(t, booked(), 1)
	env.TraceParent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	want := map[string]string{
		"Nats-Msg-Id":  env.ID.String(),
		"Content-Type": "application/cloudevents+json; charset=utf-8",
		"traceparent":  env.TraceParent,
	}
	if got := env.Headers(); !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestNew_GivesEachEventAnIDOfVersion7(t *testing.T) {
	a, b := mustNew(t, booked(), 1), mustNew(t, booked(), 1)
	if a.ID == b.ID || a.ID.Version() != 7 {
		t.Errorf("ids %s and %s", a.ID, b.ID)
	}
}

// foreign is an event that is not of the contract, though it claims a type that is.
type foreign struct{ *events.AppointmentBooked }

func TestNewAndEncode_LetNothingOutThatTheSchemaRefuses(t *testing.T) {
	change := func(f func(*events.AppointmentBooked)) events.Event {
		ev := booked()
		f(ev)
		return ev
	}
	doctor := events.UserRegistered{
		UserID: doctorID, Role: "doctor", Status: "active", Name: "Ana Souza", Email: "ana@example.com", Locale: "pt-BR",
		Doctor: &events.DoctorProfile{CRM: events.CRM{Number: "123456", State: "SP"}}, OccurredAt: booked().OccurredAt,
	}
	user := func(f func(*events.UserRegistered)) events.Event {
		u := doctor
		f(&u)
		return &u
	}
	for name, c := range map[string]struct {
		ev       events.Event
		sequence int64
		want     string // in the error
	}{
		"nil":                {nil, 1, "not an event"},
		"nil pointer":        {(*events.AppointmentBooked)(nil), 1, "not an event"},
		"unknown":            {&events.Unknown{EventType: "br.com.healthmed.scheduling.appointment.booked.v1"}, 1, "not an event"},
		"foreign":            {foreign{booked()}, 1, "not an event"},
		"sequence 0":         {booked(), 0, "sequence"},
		"version differs":    {booked(), 2, "version differs"},
		"no appointment":     {change(func(e *events.AppointmentBooked) { e.AppointmentID = uuid.Nil }), 1, "appointment_id"},
		"no patient":         {change(func(e *events.AppointmentBooked) { e.PatientID = uuid.Nil }), 1, "patient_id"},
		"wrong status":       {change(func(e *events.AppointmentBooked) { e.Status = "cancelled" }), 1, "status"},
		"ends before start":  {change(func(e *events.AppointmentBooked) { e.EndsAt = e.StartsAt }), 1, "ends_at"},
		"no zone":            {change(func(e *events.AppointmentBooked) { e.TimeZone = "" }), 1, "time_zone"},
		"unknown actor":      {change(func(e *events.AppointmentBooked) { e.Actor.Role = "nurse" }), 1, "actor.role"},
		"anonymous patient":  {change(func(e *events.AppointmentBooked) { e.Actor.ID = uuid.Nil }), 1, "actor.id"},
		"no time":            {change(func(e *events.AppointmentBooked) { e.OccurredAt = time.Time{} }), 1, "occurred_at"},
		"doctor without CRM": {user(func(u *events.UserRegistered) { u.Doctor = nil }), 1, "doctor is missing"},
		"bad CRM":            {user(func(u *events.UserRegistered) { u.Doctor = &events.DoctorProfile{} }), 1, "doctor.crm.number"},
		"no name":            {user(func(u *events.UserRegistered) { u.Name = "" }), 1, "name"},
		"long name":          {user(func(u *events.UserRegistered) { u.Name = strings.Repeat("ã", 201) }), 1, "name"},
		"no e-mail":          {user(func(u *events.UserRegistered) { u.Email = "ana" }), 1, "email"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := events.New(c.ev, c.sequence)
			if !errors.Is(err, events.ErrInvalid) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("New: %v, want one about %q", err, c.want)
			}
			env := events.Envelope{ID: doctorID, Sequence: c.sequence, Data: c.ev}
			if body, err := env.Encode(); !errors.Is(err, events.ErrInvalid) || body != nil {
				t.Errorf("Encode: %s, %v", body, err)
			}
		})
	}
	t.Run("sound", func(t *testing.T) { mustNew(t, &doctor, 1) })
	t.Run("no id", func(t *testing.T) {
		if _, err := (events.Envelope{Sequence: 1, Data: booked()}).Encode(); !errors.Is(err, events.ErrInvalid) {
			t.Error(err)
		}
	})
}

// Errors go to logs and dead letters: they name fields, never a person.
func TestErrors_NeverQuoteValues(t *testing.T) {
	_, err := events.New(&events.UserRegistered{Name: strings.Repeat("Maria", 99), Email: "maria at example", Role: "Maria"}, 1)
	if err == nil || strings.Contains(strings.ToLower(err.Error()), "maria") {
		t.Error(err)
	}
}

func TestEncode_WritesAnEmptyListOfSpecialtiesAsAList(t *testing.T) {
	b, err := json.Marshal(events.DoctorProfile{CRM: events.CRM{Number: "1", State: "SP"}})
	if want := `{"crm":{"number":"1","state":"SP"},"specialties":[]}`; err != nil || string(b) != want {
		t.Errorf("got %s, %v", b, err)
	}
}

// An event that no stream takes would stop its aggregate in the outbox; it is refused before the commit.
func TestEncode_RefusesWhatTheStreamsWouldNotTake(t *testing.T) {
	env := examples()["users.user.updated.v1"]
	env.Data.(*events.UserUpdated).Doctor.Specialties = slices.Repeat([]string{"cardiology"}, 30_000)
	if body, err := env.Encode(); !errors.Is(err, events.ErrInvalid) {
		t.Errorf("%d bytes, %v", len(body), err)
	}
}

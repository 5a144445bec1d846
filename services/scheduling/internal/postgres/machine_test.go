package postgres_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"pgregory.net/rapid"

	"github.com/healthmed/healthmed/services/scheduling/internal/booking"
	"github.com/healthmed/healthmed/services/scheduling/internal/postgres"
)

// machine drives the store and the model with the same operations, and compares what they say.
type machine struct {
	*world
	*model
}

// TestStore_DoesWhatAModelDoes runs random operations one after another against two replicas and a model. Runs and
// steps are set by -rapid.checks and -rapid.steps.
func TestStore_DoesWhatAModelDoes(t *testing.T) {
	t.Parallel()
	db := open(t)
	rapid.Check(t, func(t *rapid.T) { runMachine(t, db) })
}

func runMachine(t *rapid.T, db *pgxpool.Pool) {
	m := &machine{world: newWorld(t, db, 2, 4), model: &model{availability: map[uuid.UUID]hours{}}}
	defer m.leave(t)
	for _, doctor := range m.doctors {
		m.changeAvailability(t, doctor)
	}
	t.Repeat(map[string]func(*rapid.T){
		"book":         m.book,
		"book again":   m.book, // likelier than the rest, which needs something booked
		"snatch":       m.snatch,
		"hold":         m.hold,
		"book hold":    m.bookHold,
		"release":      m.release,
		"change":       m.changeOne,
		"change again": m.changeOne,
		"availability": func(t *rapid.T) { m.changeAvailability(t, rapid.SampledFrom(m.doctors).Draw(t, "doctor")) },
		"wait":         m.wait,
		"wait again":   m.wait,
		"wait more":    m.wait,
		"leave line":   m.leaveLine,
		"time passes": func(t *rapid.T) {
			m.advance(time.Minute * time.Duration(rapid.SampledFrom([]int{1, 5, 15, 45, 120, 600, 1440}).Draw(t, "minutes")))
		},
		"a hold runs out": m.runOut,
		"work":            m.workAndCompare,
		"":                m.compare,
	})
	m.check(t)
}

func (m *machine) store(t *rapid.T) *postgres.Store {
	return m.replica(rapid.IntRange(0, 1).Draw(t, "replica"))
}

// start is a time on the grid of some availability or other, mostly.
func (m *machine) start(t *rapid.T) time.Time {
	date, _ := local(m.now())
	date += booking.Date(rapid.IntRange(0, 2).Draw(t, "day"))
	return date.Time().Add(-offset).Add(minutes(8*60 + 15*rapid.IntRange(0, 9).Draw(t, "quarter")))
}

// key is sometimes none.
func key(t *rapid.T) string {
	if rapid.Bool().Draw(t, "keyed") {
		return uuid.NewString()
	}
	return ""
}

// agree compares an outcome with the model's, and asks again under the same key, if there is one.
func agree(t *rapid.T, what string, want error, key string, do func() (postgres.Answer, error)) (postgres.Answer, bool) {
	a, err := do()
	if !errors.Is(err, want) {
		t.Fatalf("%s: %v, want %v", what, err, want)
	}
	if key != "" {
		again, failed := do()
		body := string(a.Body)
		if err != nil {
			body = err.Error()
		}
		if failed != nil || !again.Replayed || string(again.Body) != body {
			t.Fatalf("%s again: %+v %v, want %s", what, again, failed, body)
		}
	}
	return a, err == nil
}

func (m *machine) book(t *rapid.T) {
	m.bookAt(t, rapid.SampledFrom(m.doctors).Draw(t, "doctor"), m.start(t))
}

// snatch books time that has just come free, or is about to.
func (m *machine) snatch(t *rapid.T) {
	var freed []*entry
	for _, e := range m.entries {
		if e.status == booking.Held && !e.occupies(m.now()) {
			freed = append(freed, e)
		}
	}
	if len(freed) == 0 {
		t.Skip("nothing has come free")
	}
	e := rapid.SampledFrom(freed).Draw(t, "freed")
	m.bookAt(t, e.doctor, e.start)
}

func (m *machine) bookAt(t *rapid.T, doctor uuid.UUID, start time.Time) {
	patient, key, s := rapid.SampledFrom(m.patients).Draw(t, "patient"), key(t), m.store(t)
	e, want := m.take(doctor, patient, start, m.now(), false)
	a, ok := agree(t, "book", want, key, func() (postgres.Answer, error) {
		return s.Book(context.Background(), postgres.Booking{DoctorID: doctor, PatientID: patient, StartsAt: start,
			By: booking.Actor{Role: booking.Patient, ID: patient}}, request(patient, key), render)
	})
	if ok {
		e.id = idOf(t, a)
		m.entries = append(m.entries, e)
	}
}

func (m *machine) hold(t *rapid.T) {
	doctor, patient := rapid.SampledFrom(m.doctors).Draw(t, "doctor"), rapid.SampledFrom(m.patients).Draw(t, "patient")
	start, key, s := m.start(t), key(t), m.store(t)
	e, want := m.take(doctor, patient, start, m.now(), true)
	a, ok := agree(t, "hold", want, key, func() (postgres.Answer, error) {
		return s.Hold(context.Background(), doctor, patient, start, request(patient, key), renderHold)
	})
	if ok {
		e.id = idOf(t, a)
		m.entries = append(m.entries, e)
	}
}

// one draws an entry, a hold or an appointment; nil when there is none.
func (m *machine) one(t *rapid.T, held bool) *entry {
	var some []*entry
	for _, e := range m.entries {
		if (e.status == booking.Held) == held && e.patient != e.doctor {
			some = append(some, e)
		}
	}
	if len(some) == 0 {
		t.Skip("nothing there yet")
	}
	return rapid.SampledFrom(some).Draw(t, "entry")
}

func (m *machine) bookHold(t *rapid.T) {
	e, key, s := m.one(t, true), key(t), m.store(t)
	start := e.start
	if rapid.IntRange(0, 9).Draw(t, "wrong") == 0 {
		start = start.Add(time.Minute)
	}
	want := m.bookHeld(e, start, m.now())
	agree(t, "book hold", want, key, func() (postgres.Answer, error) {
		return s.Book(context.Background(), postgres.Booking{DoctorID: e.doctor, PatientID: e.patient, StartsAt: start,
			HoldID: e.id, By: booking.Actor{Role: booking.Patient, ID: e.patient}}, request(e.patient, key), render)
	})
}

func (m *machine) release(t *rapid.T) {
	e, s := m.one(t, true), m.store(t)
	err := s.ReleaseHold(context.Background(), e.id, e.patient)
	if err != nil {
		t.Fatalf("release: %v", err)
	}
	if e.wait != nil {
		e.wait.status = booking.Missed
	}
	m.entries = slices.DeleteFunc(m.entries, func(other *entry) bool { return other == e })
	m.keep(e.doctor, e.start, e.blocked, m.now())
}

func (m *machine) changeOne(t *rapid.T) {
	e, key, s := m.one(t, false), key(t), m.store(t)
	v := rapid.SampledFrom([]verb{cancel, cancel, reschedule, reschedule, reschedule, confirm, confirm, decline, complete, noShow}).Draw(t, "verb")
	by := booking.Actor{Role: booking.Doctor, ID: e.doctor}
	if (v == cancel || v == reschedule) && rapid.Bool().Draw(t, "by patient") {
		by = booking.Actor{Role: booking.Patient, ID: e.patient}
	}
	start := m.start(t)
	want := m.change(e, v, by.Role, start, m.now())
	agree(t, string(v), want, key, func() (postgres.Answer, error) {
		return change(context.Background(), s, v, e.id, by, start, key)
	})
}

// runOut goes to the seconds after a hold has run out.
func (m *machine) runOut(t *rapid.T) {
	e, now := m.one(t, true), m.now()
	if !e.occupies(now) {
		t.Skip("it has already")
	}
	m.advance(e.expires.Sub(now) + time.Second*time.Duration(rapid.IntRange(0, 4).Draw(t, "seconds")))
}

func (m *machine) changeAvailability(t *rapid.T, doctor uuid.UUID) {
	h := drawHours(t)
	if _, err := m.store(t).SetAvailability(context.Background(), doctor, h.availability(), 0); err != nil {
		t.Fatal(err)
	}
	m.availability[doctor] = h
}

func drawHours(t *rapid.T) hours {
	h := hours{
		open: 8 * 60, close: 60 * rapid.IntRange(9, 10).Draw(t, "close"), slot: 15 * rapid.IntRange(1, 3).Draw(t, "slot"),
		buffer: 15 * rapid.IntRange(0, 1).Draw(t, "buffer"), notice: rapid.SampledFrom([]int{0, 0, 60}).Draw(t, "notice"),
		cancelNotice: rapid.SampledFrom([]int{0, 0, 120}).Draw(t, "cancel notice"), horizon: rapid.SampledFrom([]int{1, 2, 30}).Draw(t, "horizon"),
		mode: rapid.SampledFrom([]booking.Mode{booking.Instant, booking.Approval}).Draw(t, "mode"),
	}
	return h
}

func (h hours) availability() booking.Availability {
	a := booking.Availability{TimeZone: zone, SlotMinutes: h.slot, BufferMinutes: h.buffer, MinNoticeMinutes: h.notice,
		CancelNoticeMinutes: h.cancelNotice, HorizonDays: h.horizon, Mode: h.mode}
	for d := time.Sunday; d <= time.Saturday; d++ {
		a.Weekly = append(a.Weekly, booking.WeeklyHours{Weekday: d, Hours: booking.Hours{Start: booking.Clock(h.open), End: booking.Clock(h.close)}})
	}
	return a
}

// compare holds the table against the model. A hold that has run out may or may not be there still.
func (m *machine) compare(t *rapid.T) {
	now := m.now()
	rows, err := m.db.Query(context.Background(), `SELECT id, status, starts_at, ends_at, blocked_until, version, expires_at
FROM appointments WHERE doctor_id = ANY ($1) AND (status <> 'held' OR expires_at > $2)`, m.doctors, now)
	if err != nil {
		t.Fatal(err)
	}
	found := map[uuid.UUID]entry{}
	var e entry
	var expires *time.Time
	if _, err := pgx.ForEachRow(rows, []any{&e.id, &e.status, &e.start, &e.end, &e.blocked, &e.version, &expires}, func() error {
		if e.expires = (time.Time{}); expires != nil {
			e.expires = *expires
		}
		found[e.id] = e
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	known := 0
	for _, want := range m.entries {
		if want.status == booking.Held && !want.occupies(now) {
			continue
		}
		known++
		got, ok := found[want.id]
		if !ok || got.status != want.status || !got.start.Equal(want.start) || !got.end.Equal(want.end) ||
			!got.blocked.Equal(want.blocked) || got.version != want.version || !got.expires.Equal(want.expires) {
			t.Fatalf("the database has %+v, the model %+v", got, *want)
		}
	}
	if known != len(found) {
		t.Fatalf("%d in the database, %d in the model", len(found), known)
	}
}

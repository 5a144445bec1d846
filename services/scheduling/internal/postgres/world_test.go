package postgres_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/healthmed/healthmed/pkg/outbox"
	"github.com/healthmed/healthmed/pkg/pgtest"
	pg "github.com/healthmed/healthmed/pkg/postgres"
	"github.com/healthmed/healthmed/services/scheduling/internal/booking"
	"github.com/healthmed/healthmed/services/scheduling/internal/postgres"
)

// failer is a testing.T, B or rapid.T.
type failer interface {
	Helper()
	Fatalf(format string, args ...any)
	Fatal(args ...any)
}

// open makes a migrated database.
func open(t testing.TB) *pgxpool.Pool {
	t.Helper()
	db, err := pg.Open(t.Context(), pgtest.New(t, outbox.Migrations(), postgres.Migrations()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	return db
}

// world is a few doctors and patients who share a database with other worlds, and two replicas that serve them.
type world struct {
	db                *pgxpool.Pool
	replicas          [2]*postgres.Store
	doctors, patients []uuid.UUID
	specialty         string // of all its doctors, and of nobody else's
	moment            atomic.Int64
}

// zone of the worlds' doctors: three hours behind UTC all year round in the years that matter here.
const (
	zone   = "America/Sao_Paulo"
	offset = -3 * time.Hour
)

func newWorld(t failer, db *pgxpool.Pool, doctors, patients int) *world {
	t.Helper()
	w := &world{db: db, specialty: "s" + uuid.NewString()}
	w.moment.Store(time.Date(2030, 3, 4, 10, 0, 0, 0, time.UTC).Unix())
	for i := range w.replicas {
		w.replicas[i] = postgres.New(postgres.Config{Pool: db, Now: w.now})
	}
	for range doctors {
		w.doctors = append(w.doctors, newID(t))
		p := postgres.Person{ID: w.doctors[len(w.doctors)-1], Role: booking.Doctor, Status: "active", Name: "Ana",
			Specialties: []string{w.specialty}, Version: 1}
		if err := w.replicas[0].SavePerson(context.Background(), p); err != nil {
			t.Fatal(err)
		}
	}
	for range patients {
		w.patients = append(w.patients, newID(t))
	}
	return w
}

// leave takes what is still to be done out of the way of the worlds that follow.
func (w *world) leave(t failer) {
	t.Helper()
	for _, sql := range []string{`DELETE FROM freed_times`, `UPDATE waitlist SET status = 'withdrawn' WHERE status = 'waiting'`} {
		if _, err := w.db.Exec(context.Background(), sql); err != nil {
			t.Fatal(err)
		}
	}
}

func (w *world) now() time.Time                { return time.Unix(w.moment.Load(), 0).UTC() }
func (w *world) advance(d time.Duration)       { w.moment.Add(int64(d / time.Second)) }
func (w *world) replica(n int) *postgres.Store { return w.replicas[n%len(w.replicas)] }

func newID(t failer) uuid.UUID {
	t.Helper()
	id, err := uuid.NewV7()
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// work does what is due, as the background worker does, until nothing is left.
func (w *world) work(ctx context.Context, s *postgres.Store) error {
	for _, task := range []func(context.Context) (int, error){
		s.LapseRequests, s.ExpireHolds, s.SettleDepartures, s.LookForWaiting, s.OfferFreed,
	} {
		for {
			n, err := task(ctx)
			if err != nil {
				return err
			}
			if n == 0 {
				break
			}
		}
	}
	return nil
}

// render answers with the appointment itself.
func render(a booking.Appointment) (postgres.Answer, error) {
	body, err := json.Marshal(a)
	return postgres.Answer{Status: 200, Body: body}, err
}

func renderHold(h booking.Hold) (postgres.Answer, error) {
	body, err := json.Marshal(h)
	return postgres.Answer{Status: 201, Body: body}, err
}

// request by the caller under a key; every refusal is remembered.
func request(caller uuid.UUID, key string) postgres.Request {
	return postgres.Request{Caller: caller, Key: key, Refusal: func(err error) (postgres.Answer, bool) {
		return postgres.Answer{Status: 409, Body: []byte(err.Error())}, true
	}}
}

// idOf reads what render and renderHold wrote.
func idOf(t failer, a postgres.Answer) uuid.UUID {
	t.Helper()
	var v struct{ ID uuid.UUID }
	if err := json.Unmarshal(a.Body, &v); err != nil {
		t.Fatal(err)
	}
	return v.ID
}

// verb is a change of an appointment that somebody asks for.
type verb string

const (
	cancel     verb = "cancel"
	reschedule verb = "reschedule"
	confirm    verb = "confirm"
	decline    verb = "decline"
	complete   verb = "complete"
	noShow     verb = "no-show"
)

// change asks the store for it, as the API does.
func change(ctx context.Context, s *postgres.Store, v verb, id uuid.UUID, by booking.Actor, start time.Time, key string) (postgres.Answer, error) {
	t := postgres.Transition{ID: id, By: by}
	t.Decide = func(a booking.Appointment, sc *booking.Schedule, now time.Time) (booking.Change, error) {
		switch v {
		case cancel:
			return a.Cancel(by, "x", sc.CancelNotice(), now)
		case reschedule:
			return a.Reschedule(sc, start, by, now)
		case confirm:
			return a.Confirm(by, now)
		case decline:
			return a.Decline(by, "x", now)
		case complete:
			return a.Complete(by, now)
		case noShow:
			return a.NoShow(by, now)
		}
		return booking.Change{}, fmt.Errorf("no such verb: %s", v)
	}
	if v == reschedule {
		return s.Reschedule(ctx, t, request(by.ID, key), render)
	}
	return s.Change(ctx, t, request(by.ID, key), render)
}

// refusals are what a caller may be told; anything else is a fault.
func isRefusal(err error) bool {
	for _, refusal := range []error{
		booking.ErrSlotTaken, booking.ErrPatientBusy, booking.ErrTooManyHolds, booking.ErrHoldExpired, booking.ErrTooSoon,
		booking.ErrOutsideAvailability, booking.ErrBeyondHorizon, booking.ErrInvalidTransition, booking.ErrTooEarly,
		booking.ErrTooLate, booking.ErrNotFound, booking.ErrTooManyWaiting,
	} {
		if errors.Is(err, refusal) {
			return true
		}
	}
	return false
}

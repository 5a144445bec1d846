package postgres_test

import (
	"context"
	"math/rand/v2"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/healthmed/healthmed/pkg/config"
	"github.com/healthmed/healthmed/pkg/outbox"
	"github.com/healthmed/healthmed/pkg/pgtest"
	pg "github.com/healthmed/healthmed/pkg/postgres"
	"github.com/healthmed/healthmed/services/scheduling/internal/booking"
	"github.com/healthmed/healthmed/services/scheduling/internal/postgres"
)

// TestStore_OffersSurviveReplicasThatDie frees slots under three workers whose connections are killed at any step of
// their work, again and again. In the end each freed slot was offered to one person at a time, in the order of the
// line, and nobody waits while there is time for them.
func TestStore_OffersSurviveReplicasThatDie(t *testing.T) {
	t.Parallel()
	cfg := pgtest.New(t, outbox.Migrations(), postgres.Migrations())
	db, err := pg.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	const slots, line = 8, 24
	w := newWorld(t, db, 1, line+slots)
	doctor := w.doctors[0]
	h := hours{open: 8 * 60, close: 8*60 + 15*slots, slot: 15, horizon: 30, mode: booking.Instant}
	if _, err := w.replica(0).SetAvailability(t.Context(), doctor, h.availability(), 0); err != nil {
		t.Fatal(err)
	}
	date, _ := local(w.now())
	date++
	booked := w.bookAll(t, doctor, date, w.patients[line:])
	places := map[uuid.UUID]int{}
	for i, patient := range w.patients[:line] {
		joined := booking.Wait{PatientID: patient, From: date, To: date, DoctorID: doctor}
		if i%2 == 1 {
			joined.DoctorID, joined.Specialty = uuid.Nil, w.specialty
		}
		if _, err := w.replica(0).Join(t.Context(), joined); err != nil {
			t.Fatal(err)
		}
		places[patient] = i
	}
	stop := w.workAndDie(t, cfg)
	for i, id := range booked {
		by := booking.Actor{Role: booking.Doctor, ID: doctor}
		if _, err := change(t.Context(), w.replica(0), cancel, id, by, time.Time{}, ""); err != nil {
			t.Fatal(err)
		}
		if i%3 == 0 {
			time.Sleep(time.Millisecond) // no wait for anything: cancellations come at their own pace
		}
	}
	waitFor(t, "every slot is offered", func() bool { return w.offers(t) == slots || w.putOff(t) })
	w.advance(31 * time.Minute) // all lapse, and the next in line get theirs
	waitFor(t, "the next are offered", func() bool { return w.missed(t) == slots && w.offers(t) == slots || w.putOff(t) })
	stop()
	w.check(t)
	rows, err := db.Query(t.Context(), `SELECT patient_id FROM waitlist WHERE status IN ('offered', 'missed')`)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var patient uuid.UUID
		if err := rows.Scan(&patient); err != nil {
			t.Fatal(err)
		}
		if places[patient] >= 2*slots {
			t.Errorf("number %d in line was offered something before those ahead", places[patient]+1)
		}
	}
}

// bookAll books each slot of the date for another patient.
func (w *world) bookAll(t *testing.T, doctor uuid.UUID, date booking.Date, patients []uuid.UUID) (ids []uuid.UUID) {
	t.Helper()
	_, free, err := w.replica(0).Slots(t.Context(), doctor, date, date)
	if err != nil {
		t.Fatal(err)
	}
	for i, slot := range free {
		a, err := w.replica(0).Book(t.Context(), postgres.Booking{DoctorID: doctor, PatientID: patients[i], StartsAt: slot.StartsAt,
			By: booking.Actor{Role: booking.Patient, ID: patients[i]}}, request(patients[i], ""), render)
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, idOf(t, a))
	}
	return ids
}

func (w *world) tally(t *testing.T, sql string) (n int) {
	t.Helper()
	if err := w.db.QueryRow(t.Context(), sql, w.patients).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

func (w *world) offers(t *testing.T) int {
	return w.tally(t, `SELECT count(*) FROM waitlist w JOIN appointments a ON a.id = w.hold_id AND a.status = 'held'
WHERE w.status = 'offered' AND w.patient_id = ANY ($1)`)
}

func (w *world) missed(t *testing.T) int {
	return w.tally(t, `SELECT count(*) FROM waitlist WHERE status = 'missed' AND patient_id = ANY ($1)`)
}

// putOff lets a second pass if work that failed was put off until then. It says false.
func (w *world) putOff(t *testing.T) bool {
	t.Helper()
	var later bool
	if err := w.db.QueryRow(t.Context(), `SELECT EXISTS (SELECT FROM freed_times WHERE due_at > $1)`, w.now()).Scan(&later); err != nil {
		t.Fatal(err)
	}
	if later {
		w.advance(time.Second)
	}
	return false
}

// workAndDie runs three workers, each on connections of its own that are killed every few milliseconds.
func (w *world) workAndDie(t *testing.T, cfg pg.Config) (stop func()) {
	t.Helper()
	address, err := url.Parse(cfg.URL.Reveal())
	if err != nil {
		t.Fatal(err)
	}
	query := address.Query()
	query.Set("application_name", "mortal")
	address.RawQuery = query.Encode()
	cfg.URL = config.Secret(address.String())
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	for range 3 {
		pool, err := pg.Open(ctx, cfg)
		if err != nil {
			t.Fatal(err)
		}
		s := postgres.New(postgres.Config{Pool: pool, Now: w.now})
		wg.Go(func() {
			defer pool.Close()
			for ctx.Err() == nil {
				_ = w.work(ctx, s) // it dies of what is done to it; whoever comes next finds the work as it was
				time.Sleep(time.Millisecond)
			}
		})
	}
	killed := 0
	wg.Go(func() {
		// The pauses grow, or on a slow machine no transaction would ever live long enough to end.
		for pause := 4 * time.Millisecond; ctx.Err() == nil; pause = min(pause+pause/16, time.Second/2) {
			time.Sleep(pause/4 + rand.N(pause))
			// Only whoever is in the middle of a transaction.
			tag, err := w.db.Exec(ctx, `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE datname = current_database() AND application_name = 'mortal' AND xact_start IS NOT NULL`)
			if err == nil {
				killed += int(tag.RowsAffected())
			}
		}
	})
	return func() {
		cancel()
		wg.Wait()
		t.Logf("%d connections killed in the middle of their work", killed)
		if killed == 0 {
			t.Error("nobody died")
		}
	}
}

// waitFor waits for what the workers do.
func waitFor(t *testing.T, what string, f func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !f(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("never: %s", what)
		}
	}
}

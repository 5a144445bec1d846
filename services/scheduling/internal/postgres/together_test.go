package postgres

import (
	"context"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/healthmed/healthmed/pkg/outbox"
	"github.com/healthmed/healthmed/pkg/pgtest"
	pg "github.com/healthmed/healthmed/pkg/postgres"
	"github.com/healthmed/healthmed/services/scheduling/internal/booking"
)

// aBooking is half an hour of a doctor whose schedule has version 1.
func aBooking(doctor, patient uuid.UUID, start time.Time, key string) *booked {
	id := uuid.Must(uuid.NewV7())
	return &booked{
		change: booking.Change{Appointment: booking.Appointment{
			ID: id, DoctorID: doctor, PatientID: patient, Status: booking.Booked, TimeZone: "UTC", Version: 1, CreatedAt: start,
			Slot: booking.Slot{StartsAt: start, EndsAt: start.Add(30 * time.Minute)}, BlockedUntil: start.Add(30 * time.Minute),
		}, By: booking.Actor{Role: booking.Patient, ID: patient}},
		schedule: 1,
		req:      Request{Caller: patient, Key: key},
		answer:   Answer{Body: []byte("{}")},
		event:    outbox.Row{ID: uuid.Must(uuid.NewV7()), Subject: "healthmed.scheduling.x", AggregateID: id, Headers: []byte("{}"), Data: []byte("d")},
	}
}

// oneDoctor has a schedule of version 1.
func oneDoctor(t *testing.T) (db *pgxpool.Pool, cfg pg.Config, doctor uuid.UUID) {
	t.Helper()
	cfg = pgtest.New(t, outbox.Migrations(), Migrations())
	cfg.LockTimeout = 10 * time.Second // longer than PostgreSQL takes to see a deadlock
	db, err := pg.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	doctor = uuid.New()
	if _, err := db.Exec(t.Context(), `INSERT INTO schedules (doctor_id, version, time_zone, slot_minutes, buffer_minutes,
    min_notice_minutes, horizon_days, cancel_notice_minutes, booking_mode, observe_holidays, weekly, updated_at)
VALUES ($1, 1, 'UTC', 30, 0, 0, 90, 0, 'instant', false, '[]', now())`, doctor); err != nil {
		t.Fatal(err)
	}
	return db, cfg, doctor
}

// TestTogether_OneDoesNotSpoilTheOthers writes groups that hold what cannot be written, which must be told so and change nothing for the others.
func TestTogether_OneDoesNotSpoilTheOthers(t *testing.T) {
	t.Parallel()
	at := time.Now().UTC().Truncate(time.Hour).AddDate(0, 0, 1)
	admin := uuid.New()
	type result struct{ KeyFree, Done bool }
	ours, stopped, taken := result{true, true}, result{false, false}, result{true, false}
	for name, c := range map[string]struct {
		before func(t *testing.T, db *pgxpool.Pool, rows []*booked)
		change func(rows []*booked)
		want   []result
	}{
		"nothing in the way": {want: []result{ours, ours, ours}},
		"the same time twice": {
			change: func(rows []*booked) { rows[1].change.Slot = rows[0].change.Slot },
			want:   []result{ours, taken, ours},
		},
		"a schedule that changed": {
			change: func(rows []*booked) { rows[1].schedule = 2 },
			want:   []result{ours, taken, ours},
		},
		"one key twice": {
			change: func(rows []*booked) {
				rows[0].req.Caller, rows[1].req.Caller = admin, admin
				rows[1].req.Key = rows[0].req.Key
			},
			want: []result{ours, taken, ours},
		},
		"a key in use elsewhere": {
			before: func(t *testing.T, db *pgxpool.Pool, rows []*booked) {
				tx, err := db.Begin(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { _ = tx.Rollback(context.WithoutCancel(t.Context())) })
				if _, err := tx.Exec(t.Context(), `SELECT pg_advisory_xact_lock($1)`, rows[1].req.lock()); err != nil {
					t.Fatal(err)
				}
			},
			want: []result{ours, stopped, ours},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db, _, doctor := oneDoctor(t)
			rows := make([]*booked, 3)
			for i := range rows {
				rows[i] = aBooking(doctor, uuid.New(), at.Add(time.Duration(i)*time.Hour), "k")
			}
			if c.change != nil {
				c.change(rows)
			}
			if c.before != nil {
				c.before(t, db, rows)
			}
			together := newTogether(db)
			together.running = 1
			for _, r := range rows {
				together.waiting = append(together.waiting, &ask{ctx: t.Context(), row: r, result: make(chan written, 1)})
			}
			group := append([]*ask{}, together.waiting...)
			together.run()
			var got []result
			for i, a := range group {
				w := <-a.result
				if w.err != nil {
					t.Errorf("row %d: %v", i, w.err)
				}
				got = append(got, result{w.keyFree, w.done})
				var parts int
				if err := db.QueryRow(t.Context(), `SELECT (SELECT count(*) FROM appointments WHERE id = $1)
    + (SELECT count(*) FROM appointment_history WHERE appointment_id = $1) + (SELECT count(*) FROM outbox WHERE aggregate_id = $1)
    + (SELECT count(*) FROM idempotency_keys WHERE caller = $2 AND created_at = $3)`,
					a.row.change.ID, a.row.req.Caller, a.row.change.CreatedAt).Scan(&parts); err != nil {
					t.Fatal(err)
				}
				if want := map[bool]int{true: 4}[w.done]; parts != want {
					t.Errorf("row %d: %d parts written, want %d", i, parts, want)
				}
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("results (-want +got):\n%s", diff)
			}
		})
	}
}

// TestTogether_GroupsDoNotWaitForEachOther has few patients book few doctors' times, so that groups want the same doctors'
// and the same patients' time crosswise, and asks PostgreSQL whether two of them waited for each other.
func TestTogether_GroupsDoNotWaitForEachOther(t *testing.T) {
	t.Parallel()
	db, cfg, doctor := oneDoctor(t)
	const rounds, asks = 100, 96
	doctors, patients := []uuid.UUID{doctor}, make([]uuid.UUID, 40) // enough for several groups
	for i := range patients {
		patients[i] = uuid.New()
	}
	for range 11 {
		doctors = append(doctors, uuid.New())
	}
	if _, err := db.Exec(t.Context(), `INSERT INTO schedules SELECT (jsonb_populate_record(s, jsonb_build_object('doctor_id', id))).*
FROM schedules AS s, unnest($1::uuid[]) AS id`, doctors[1:]); err != nil {
		t.Fatal(err)
	}
	at := time.Now().UTC().Truncate(time.Hour).AddDate(0, 0, 1)
	together := newTogether(db)
	for range rounds {
		var all sync.WaitGroup
		for range asks {
			start := at.Add(time.Duration(rand.N(4)) * 15 * time.Minute)
			row := aBooking(doctors[rand.N(len(doctors))], patients[rand.N(len(patients))], start, uuid.NewString())
			all.Go(func() {
				if _, _, err := together.write(t.Context(), row); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		at = at.AddDate(0, 0, 1)
	}
	var left [3]int
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) { // writers end after their last answer
		together.mu.Lock()
		left = [3]int{together.running, len(together.waiting), len(together.writing) + len(together.keys)}
		together.mu.Unlock()
		if left == [3]int{} {
			break
		}
	}
	if left != [3]int{} {
		t.Errorf("in the end %d writers, %d waiting, %d patients and keys; want none", left[0], left[1], left[2])
	}
	db.Close() // what it has counted is told now
	watch, err := pg.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer watch.Close()
	var deadlocks int
	if err := watch.QueryRow(t.Context(), `SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()`).Scan(&deadlocks); err != nil {
		t.Fatal(err)
	}
	if deadlocks != 0 {
		t.Errorf("%d deadlocks", deadlocks)
	}
}

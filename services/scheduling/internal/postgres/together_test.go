package postgres

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
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

// clinic is doctors whose schedules have version 1, and a time to book.
type clinic struct {
	t       *testing.T
	db      *pgxpool.Pool
	cfg     pg.Config
	doctors []uuid.UUID
	at      time.Time
	*together
}

func newClinic(t *testing.T, doctors int, lockTimeout time.Duration) *clinic {
	t.Helper()
	c := &clinic{t: t, cfg: pgtest.New(t, outbox.Migrations(), Migrations()), at: time.Now().UTC().Truncate(time.Hour).AddDate(0, 0, 1)}
	c.cfg.LockTimeout = lockTimeout
	var err error
	if c.db, err = pg.Open(t.Context(), c.cfg); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.db.Close)
	for range doctors {
		c.doctors = append(c.doctors, uuid.Must(uuid.NewV7()))
	}
	if _, err := c.db.Exec(t.Context(), `INSERT INTO schedules (doctor_id, version, time_zone, slot_minutes, buffer_minutes,
    min_notice_minutes, horizon_days, cancel_notice_minutes, booking_mode, observe_holidays, weekly, updated_at)
SELECT id, 1, 'UTC', 30, 0, 0, 90, 0, 'instant', false, '[]', now() FROM unnest($1::uuid[]) AS id`, c.doctors); err != nil {
		t.Fatal(err)
	}
	c.together = newTogether(c.db, func() {})
	return c
}

// group has them written as one group.
func (c *clinic) group(rows ...*booked) []written {
	c.t.Helper()
	asks := make([]*ask, len(rows))
	c.running = writers // which are at work; this one is ours
	for i, r := range rows {
		asks[i] = &ask{ctx: c.t.Context(), row: r, result: make(chan written, 1)}
		if !c.enter(asks[i]) {
			c.t.Fatal("the key is in use")
		}
	}
	c.run()
	c.running = 0
	out := make([]written, len(rows))
	for i, a := range asks {
		out[i] = <-a.result
	}
	return out
}

// open begins a transaction that holds a doctor's and a patient's time until the test ends or it is ended.
func (c *clinic) open(doctor, patient uuid.UUID, start time.Time) pgx.Tx {
	c.t.Helper()
	tx, err := c.db.Begin(c.t.Context())
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { _ = tx.Rollback(context.WithoutCancel(c.t.Context())) })
	if err := occupy(c.t.Context(), tx, doctor, patient, start); err != nil {
		c.t.Fatal(err)
	}
	return tx
}

func occupy(ctx context.Context, tx pgx.Tx, doctor, patient uuid.UUID, start time.Time) error {
	_, err := tx.Exec(ctx, `INSERT INTO appointments (id, doctor_id, patient_id, status, starts_at, ends_at, blocked_until, time_zone,
    version, created_at, updated_at)
VALUES (gen_random_uuid(), $1, $2, 'booked', $3, $4, $4, 'UTC', 1, now(), now())`, doctor, patient, start, start.Add(30*time.Minute))
	return err
}

// parts counts what there is of a booking: 4 when it was written, 0 when it wasn't.
func (c *clinic) parts(r *booked) (n int) {
	c.t.Helper()
	if err := c.db.QueryRow(c.t.Context(), `SELECT (SELECT count(*) FROM appointments WHERE id = $1)
    + (SELECT count(*) FROM appointment_history WHERE appointment_id = $1) + (SELECT count(*) FROM outbox WHERE aggregate_id = $1)
    + (SELECT count(*) FROM idempotency_keys WHERE caller = $2 AND key = $3 AND created_at = $4)`,
		r.change.ID, r.req.Caller, r.req.Key, r.change.CreatedAt).Scan(&n); err != nil {
		c.t.Fatal(err)
	}
	return n
}

// A row that cannot be written is told so, and changes nothing for the others of its group.
func TestTogether_OneDoesNotSpoilTheOthers(t *testing.T) {
	t.Parallel()
	type result struct{ KeyFree, Done bool }
	ours, stopped, taken := result{true, true}, result{false, false}, result{true, false}
	for name, test := range map[string]struct {
		prepare func(c *clinic, rows []*booked)
		want    []result
	}{
		"nothing in the way":      {func(*clinic, []*booked) {}, []result{ours, ours, ours}},
		"the same time twice":     {func(_ *clinic, rows []*booked) { rows[1].change.Slot = rows[0].change.Slot }, []result{ours, taken, ours}},
		"a schedule that changed": {func(_ *clinic, rows []*booked) { rows[1].schedule = 2 }, []result{ours, taken, ours}},
		"a key that another replica has just used": {func(c *clinic, rows []*booked) {
			c.exec(`INSERT INTO idempotency_keys (caller, key, fingerprint, status, body, location, created_at)
VALUES ($1, $2, '', 201, '', '', now())`, rows[1].req.Caller, rows[1].req.Key)
		}, []result{ours, taken, ours}},
		"a key in use elsewhere": {func(c *clinic, rows []*booked) {
			tx := c.open(uuid.New(), uuid.New(), c.at)
			if _, err := tx.Exec(c.t.Context(), `SELECT pg_advisory_xact_lock($1)`, rows[1].req.lock()); err != nil {
				c.t.Fatal(err)
			}
		}, []result{ours, stopped, ours}},
		"what PostgreSQL cannot store": {func(_ *clinic, rows []*booked) { rows[1].change.Reason = "\xff" }, []result{ours, stopped, ours}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newClinic(t, 1, time.Second)
			var rows []*booked
			for i := range 3 {
				rows = append(rows, aBooking(c.doctors[0], uuid.New(), c.at.Add(time.Duration(i)*time.Hour), "k"))
			}
			test.prepare(c, rows)
			var got []result
			for i, w := range c.group(rows...) {
				if (w.err != nil) != (rows[i].change.Reason != "") {
					t.Errorf("row %d: %v", i, w.err)
				}
				if n, want := c.parts(rows[i]), map[bool]int{true: 4}[w.done]; n != want {
					t.Errorf("row %d: %d parts written, want %d", i, n, want)
				}
				got = append(got, result{w.keyFree, w.done})
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("results (-want +got):\n%s", diff)
			}
		})
	}
}

func (c *clinic) exec(sql string, args ...any) {
	c.t.Helper()
	if _, err := c.db.Exec(c.t.Context(), sql, args...); err != nil {
		c.t.Fatal(err)
	}
}

// Somebody's transaction holds a time and doesn't end. Who wants another time must not wait for those who want that one.
func TestTogether_AStuckTimeHoldsUpNobodyElse(t *testing.T) {
	t.Parallel()
	const wanting, others = 60, 60
	c := newClinic(t, 1+others, 500*time.Millisecond)
	c.open(c.doctors[0], uuid.New(), c.at)
	var all sync.WaitGroup
	took := make([]time.Duration, others)
	for i := range others {
		all.Go(func() { // the pool's 500 ms, or for want of a connection
			_, done, err := c.write(t.Context(), aBooking(c.doctors[0], uuid.New(), c.at, uuid.NewString()))
			if done || err == nil {
				t.Errorf("a time that is taken: written %v, error %v", done, err)
			}
		})
		all.Go(func() {
			began := time.Now()
			_, done, err := c.write(t.Context(), aBooking(c.doctors[1+i], uuid.New(), c.at, uuid.NewString()))
			if !done || err != nil {
				t.Errorf("a time that is free: written %v, error %v", done, err)
			}
			took[i] = time.Since(began)
		})
	}
	all.Wait()
	if slowest := slices.Max(took); slowest > 3*time.Second {
		t.Errorf("a free time took %v", slowest)
	}
}

// A transaction that holds what a group wants and then wants what the group holds must get it: it has waited first.
func TestTogether_GivesWayInACircle(t *testing.T) {
	t.Parallel()
	c := newClinic(t, 3, 500*time.Millisecond)
	moved := uuid.New()
	tx := c.open(c.doctors[1], uuid.New(), c.at)
	first, second := aBooking(c.doctors[0], moved, c.at, "first"), aBooking(c.doctors[1], uuid.New(), c.at, "second")
	results := make(chan []written, 1)
	go func() { results <- c.group(first, second) }()
	waits := `SELECT count(*) FROM pg_locks WHERE NOT granted AND pid IN (SELECT pid FROM pg_stat_activity WHERE datname = current_database())`
	for n := 0; n == 0; { // the group holds the first time and waits for the second
		if err := c.db.QueryRow(t.Context(), waits).Scan(&n); err != nil {
			t.Fatal(err)
		}
	}
	if err := occupy(t.Context(), tx, c.doctors[2], moved, c.at); err != nil {
		t.Errorf("the transaction lost: %v", err)
	}
	if err := tx.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	for i, w := range <-results {
		if w.done || w.err != nil {
			t.Errorf("row %d: %+v, want neither written nor an error", i, w)
		}
	}
}

// A patient's second booking waits while their first, which waits for a stuck time, is written by itself. It is written
// when that is over, though no writer was left to find it.
func TestTogether_AStuckBookingIsFollowedByThePatientsNext(t *testing.T) {
	t.Parallel()
	c := newClinic(t, 2, time.Minute)
	patient := uuid.New()
	tx := c.open(c.doctors[0], uuid.New(), c.at)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	var both sync.WaitGroup
	book := func(doctor uuid.UUID, at time.Time, want bool) {
		both.Go(func() {
			if _, done, err := c.write(ctx, aBooking(doctor, patient, at, uuid.NewString())); done != want || err != nil {
				t.Errorf("written %v, error %v", done, err)
			}
		})
	}
	idle := func(waiting int) {
		for there := false; !there && ctx.Err() == nil; {
			c.mu.Lock()
			there = c.running == 0 && c.writing[patient] && len(c.waiting) == waiting
			c.mu.Unlock()
		}
	}
	book(c.doctors[0], c.at, false)
	idle(0)
	book(c.doctors[1], c.at.Add(time.Hour), true)
	idle(1)
	if err := tx.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	both.Wait()
}

// Whoever is told that it didn't work out in time has no appointment, unless it was being written just then.
func TestTogether_WhoGivesUpWaitingIsNotWritten(t *testing.T) {
	t.Parallel()
	c := newClinic(t, 1, time.Second)
	c.running = writers // all at work
	ctx, cancel := context.WithCancel(t.Context())
	row := aBooking(c.doctors[0], uuid.New(), c.at, "k")
	result := make(chan error, 1)
	go func() {
		_, _, err := c.write(ctx, row)
		result <- err
	}()
	for there := false; !there; {
		c.mu.Lock()
		there = len(c.waiting) == 1
		c.mu.Unlock()
	}
	cancel()
	if err := <-result; !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	c.run()
	if n := c.parts(row); n != 0 {
		t.Errorf("%d parts were written", n)
	}
	c.running = 0
	if _, done, err := c.write(t.Context(), row); !done || err != nil { // the key is free again
		t.Errorf("written %v, error %v", done, err)
	}
}

// Few patients book few doctors' times, so that groups want the same doctors' and the same patients' time crosswise.
// PostgreSQL is asked whether two of them waited for each other.
func TestTogether_GroupsDoNotWaitForEachOther(t *testing.T) {
	t.Parallel()
	c := newClinic(t, 12, 10*time.Second)
	c.lockTimeout = 10 * time.Second  // longer than PostgreSQL takes to see a deadlock
	patients := make([]uuid.UUID, 40) // enough for several groups
	for i := range patients {
		patients[i] = uuid.New()
	}
	for range 100 {
		var all sync.WaitGroup
		for range 96 {
			start := c.at.Add(time.Duration(rand.N(4)) * 15 * time.Minute)
			row := aBooking(c.doctors[rand.N(len(c.doctors))], patients[rand.N(len(patients))], start, uuid.NewString())
			all.Go(func() {
				if _, _, err := c.write(t.Context(), row); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		c.at = c.at.AddDate(0, 0, 1)
	}
	c.begun.Wait()
	if left := [...]int{c.running, len(c.waiting), len(c.writing), len(c.keys)}; left != [...]int{0, 0, 0, 0} {
		t.Errorf("in the end %v writers, waiting, patients and keys, want none", left)
	}
	c.db.Close() // what it has counted is told now
	watch, err := pg.Open(t.Context(), c.cfg)
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

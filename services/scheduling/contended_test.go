package scheduling_test

import (
	"fmt"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/healthmed/healthmed/pkg/auth"
)

const (
	contenders      = 64
	attemptsPerSlot = 100
)

// contended is how many slots are fought for: CONTENDED_SLOTS=1000 makes 100,000 attempts.
func contended(t *testing.T) int {
	t.Helper()
	text := os.Getenv("CONTENDED_SLOTS")
	if text == "" {
		return 30
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		t.Fatalf("CONTENDED_SLOTS=%s: want a number", text)
	}
	return n
}

// doubleBookings counts pairs of rows of a table that overlap for a doctor or a patient. It doesn't ask the constraints.
func (s *service) doubleBookings(table string) int {
	s.t.Helper()
	return s.count(`SELECT count(*) FROM ` + table + ` a JOIN ` + table + ` b ON a.id < b.id
AND (a.doctor_id = b.doctor_id AND a.starts_at < b.blocked_until AND b.starts_at < a.blocked_until
    OR a.patient_id = b.patient_id AND a.starts_at < b.ends_at AND b.starts_at < a.ends_at)
WHERE a.status IN ('held', 'requested', 'booked') AND b.status IN ('held', 'requested', 'booked')`)
}

// Everybody wants the same slots at the same moments, of ten doctors who work at the same hours, so that both doctors
// and patients are fought for.
func TestOneWinnerPerSlotUnderContention(t *testing.T) {
	slots := contended(t)
	s := start(t)
	var wanted []object
	for doctors, n := []person(nil), 0; len(wanted) < slots; n++ {
		for i := range 10 { // the same moment with ten doctors, then the next
			if n == 0 {
				doctors = append(doctors, s.doctor(allWeek("00:00", "24:00", object{"buffer_minutes": 15, "horizon_days": 30})))
			}
			wanted = append(wanted, booking(doctors[i], s.slots(doctors[i].id, 5)[n].StartsAt))
		}
	}
	wanted = wanted[:slots]
	clients := make([]person, contenders)
	for i := range clients {
		clients[i] = s.person(auth.Patient)
	}
	var next atomic.Int64
	var mu sync.Mutex
	var wg sync.WaitGroup
	outcomes, winners := map[string]int{}, make([]int, slots)
	began, longest := time.Now(), time.Duration(0)
	for _, p := range clients {
		wg.Go(func() {
			for {
				n := int(next.Add(1)) - 1
				if n >= slots*attemptsPerSlot {
					return
				}
				at := time.Now()
				r, err := s.try(p, "POST", "/v1/appointments", wanted[n/attemptsPerSlot], "Idempotency-Key", strconv.Itoa(n))
				took := time.Since(at)
				mu.Lock()
				longest = max(longest, took)
				outcomes[fmt.Sprint(r.status, " ", r.problem(), " ", err)]++
				if r.status == 201 {
					winners[n/attemptsPerSlot]++
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	t.Logf("%d attempts of %d clients at %d slots in %s, longest %s, deadlocks %d: %v", slots*attemptsPerSlot, contenders, slots,
		time.Since(began).Round(time.Millisecond), longest.Round(time.Millisecond),
		s.count(`SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()`), outcomes)
	for i, n := range winners {
		if n != 1 {
			t.Errorf("slot %d has %d winners", i, n)
		}
	}
	refused := outcomes["409 /problems/slot-taken <nil>"] + outcomes["409 /problems/patient-busy <nil>"]
	if won := outcomes["201  <nil>"]; won != slots || won+refused != slots*attemptsPerSlot {
		t.Errorf("outcomes %v", outcomes)
	}
	if n := s.doubleBookings("appointments"); n != 0 {
		t.Errorf("%d double bookings", n)
	}
	want := map[string]int{"appointments": slots, "history": slots, "booked events": slots, "answers": slots * attemptsPerSlot}
	got := map[string]int{"appointments": s.count(`SELECT count(*) FROM appointments`),
		"history": s.count(`SELECT count(*) FROM appointment_history`), "answers": s.count(`SELECT count(*) FROM idempotency_keys`),
		"booked events": s.count(`SELECT count(DISTINCT aggregate_id) FROM outbox WHERE subject LIKE '%.appointment.booked.%'`)}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// What most booking systems do, look and then insert, must fail the check: else the check shows nothing. Each slot has two
// patients who both look before either inserts, as happens now and then under any load.
func TestCheckFindsDoubleBookingsOfANaiveStore(t *testing.T) {
	s := start(t)
	if _, err := s.db.Exec(t.Context(), `CREATE TABLE naive (LIKE appointments)`); err != nil {
		t.Fatal(err)
	}
	const slots = 20
	doctor, first := newID(t), time.Now().UTC().Truncate(time.Hour).AddDate(0, 0, 1)
	for i := range slots {
		at := first.Add(time.Duration(i) * time.Hour)
		one, other := s.look(doctor, at), s.look(doctor, at)
		one(newID(t))
		other(newID(t))
		if third := s.look(doctor, at); third != nil {
			t.Errorf("slot %d is free for who looks after the others have booked", i)
		}
	}
	if n := s.doubleBookings("naive"); n != slots {
		t.Errorf("the check found %d double bookings of %d", n, slots)
	}
}

// look begins a transaction at READ COMMITTED and looks whether a time is free; if so, it gives what books it.
func (s *service) look(doctor uuid.UUID, at time.Time) (book func(patient uuid.UUID)) {
	s.t.Helper()
	ctx, ends := s.t.Context(), at.Add(30*time.Minute)
	tx, err := s.db.Begin(ctx)
	if err != nil {
		s.t.Fatal(err)
	}
	var taken bool
	if err := tx.QueryRow(ctx, `SELECT EXISTS (SELECT FROM naive WHERE doctor_id = $1 AND starts_at < $3 AND ends_at > $2)`,
		doctor, at, ends).Scan(&taken); err != nil {
		s.t.Fatal(err)
	}
	if taken {
		if err := tx.Rollback(ctx); err != nil {
			s.t.Fatal(err)
		}
		return nil
	}
	return func(patient uuid.UUID) {
		s.t.Helper()
		if _, err := tx.Exec(ctx, `INSERT INTO naive (id, doctor_id, patient_id, status, starts_at, ends_at, blocked_until,
time_zone, version, created_at, updated_at) VALUES ($1, $2, $3, 'booked', $4, $5, $5, 'UTC', 1, now(), now())`,
			newID(s.t), doctor, patient, at, ends); err != nil {
			s.t.Fatal(err)
		}
		if err := tx.Commit(ctx); err != nil {
			s.t.Fatal(err)
		}
	}
}

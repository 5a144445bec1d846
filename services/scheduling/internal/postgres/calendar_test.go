package postgres_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/healthmed/healthmed/services/scheduling/internal/booking"
	"github.com/healthmed/healthmed/services/scheduling/internal/postgres"
)

// A busy past, and time that is cancelled again and again, leave all that is to come in the feed.
func TestStore_CalendarShowsAllThatIsToCome(t *testing.T) {
	t.Parallel()
	db := open(t)
	now := time.Now()
	s := postgres.New(postgres.Config{Pool: db, Now: func() time.Time { return now }})
	doctor := newID(t)
	const past, toCome, cancelled = 1500, 3000, 1200
	if _, err := db.Exec(t.Context(), `INSERT INTO appointments (id, doctor_id, patient_id, status, starts_at, ends_at, blocked_until,
    time_zone, version, created_at, updated_at)
SELECT gen_random_uuid(), $1, gen_random_uuid(), status, at, at + interval '5 minutes', at + interval '5 minutes', 'UTC', 1, now(), now()
FROM (SELECT 'completed' AS status, $2::timestamptz - n * interval '10 minutes' AS at FROM generate_series(1, $3) AS n
    UNION ALL SELECT 'booked', $2::timestamptz + n * interval '2 hours' FROM generate_series(1, $4) AS n
    UNION ALL SELECT 'cancelled', $2::timestamptz + interval '2 hours' FROM generate_series(1, $5)
    UNION ALL SELECT 'cancelled', $2::timestamptz - n * interval '1 minute' FROM generate_series(1, $5) AS n) AS q`,
		doctor, now, past, toCome, cancelled); err != nil {
		t.Fatal(err)
	}
	token, err := s.NewCalendar(t.Context(), booking.Actor{Role: booking.Doctor, ID: doctor}, false)
	if err != nil {
		t.Fatal(err)
	}
	_, entries, err := s.Calendar(t.Context(), token)
	if err != nil {
		t.Fatal(err)
	}
	shown := map[booking.Status]int{}
	seen := map[uuid.UUID]bool{}
	var first, last time.Time
	for _, e := range entries {
		shown[e.Status]++
		seen[e.ID] = true
		if e.Status == booking.Completed && (first.IsZero() || e.Slot.StartsAt.Before(first)) {
			first = e.Slot.StartsAt
		}
		if e.Slot.StartsAt.Before(last) {
			t.Fatal("not in the order of time")
		}
		last = e.Slot.StartsAt
		if e.Status == booking.Cancelled && e.Slot.StartsAt.Before(now) {
			t.Fatal("shows what was cancelled of a time that is past")
		}
	}
	want := map[booking.Status]int{booking.Completed: 1000, booking.Booked: toCome, booking.Cancelled: 200}
	if diff := cmp.Diff(want, shown); diff != "" || len(seen) != len(entries) {
		t.Errorf("%d different of %d: %s", len(seen), len(entries), diff)
	}
	if got := now.Sub(first).Round(time.Minute); got != 10_000*time.Minute {
		t.Errorf("the past that is shown began %s ago, want the last 1000 of every ten minutes", got)
	}
}

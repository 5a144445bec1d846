package postgres_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/healthmed/healthmed/services/scheduling/internal/booking"
	"github.com/healthmed/healthmed/services/scheduling/internal/postgres"
)

// allowed tries n times at once, by turns on both replicas, and counts what succeeded. All else must be the refusal.
func (w *world) allowed(t *testing.T, n int, refusal error, try func(s *postgres.Store, i int) error) (allowed int) {
	t.Helper()
	var mu sync.Mutex
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			err := try(w.replica(i), i)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil:
				allowed++
			case !errors.Is(err, refusal):
				t.Error(err)
			}
		})
	}
	wg.Wait()
	return allowed
}

// However many requests of one patient come at once, each counts those before it.
func TestStore_LimitsHoldForRequestsAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t, open(t), 2, 1)
	patient := w.patients[0]
	for _, doctor := range w.doctors {
		h := hours{open: 8 * 60, close: 18 * 60, slot: 15, horizon: 30, mode: booking.Instant}
		if _, err := w.replica(0).SetAvailability(t.Context(), doctor, h.availability(), 0); err != nil {
			t.Fatal(err)
		}
	}
	date, _ := local(w.now())
	_, free, err := w.replica(0).Slots(t.Context(), w.doctors[0], date+1, date+1)
	if err != nil {
		t.Fatal(err)
	}
	// An offer from the waitlist is not a hold of the patient's own making.
	offered := free[len(free)-1]
	if _, err := w.db.Exec(t.Context(), `INSERT INTO appointments (id, doctor_id, patient_id, status, starts_at, ends_at, blocked_until,
    time_zone, version, expires_at, waitlist_id, created_at, updated_at)
VALUES (gen_random_uuid(), $1, $2, 'held', $3, $4, $4, 'UTC', 0, $5, gen_random_uuid(), now(), now())`,
		w.doctors[1], patient, offered.StartsAt, offered.EndsAt, w.now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	if n := w.allowed(t, 30, booking.ErrTooManyHolds, func(s *postgres.Store, i int) error {
		_, err := s.Hold(context.Background(), w.doctors[0], patient, free[i].StartsAt, request(patient, uuid.NewString()), renderHold)
		return err
	}); n != booking.MaxHolds {
		t.Errorf("%d holds of one patient, %d are allowed", n, booking.MaxHolds)
	}
	if n := w.allowed(t, 50, booking.ErrTooManyWaiting, func(s *postgres.Store, i int) error {
		_, err := s.Join(context.Background(), booking.Wait{PatientID: patient, DoctorID: w.doctors[0], From: date + 1, To: date + booking.Date(i) + 1})
		return err
	}); n != booking.MaxWaiting {
		t.Errorf("%d places in line of one patient, %d are allowed", n, booking.MaxWaiting)
	}
}

package postgres_test

import (
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/healthmed/healthmed/services/scheduling/internal/booking"
)

// The doctor saw people at eight, with an hour's buffer after it, and now sees them in that hour alone. However the
// appointment ends, whoever waits for the day is offered the hour.
func TestStore_OffersTheBufferThatCameFree(t *testing.T) {
	t.Parallel()
	before := hours{open: 8 * 60, close: 9 * 60, slot: 60, buffer: 60, horizon: 5, mode: booking.Instant}
	after := hours{open: 9 * 60, close: 10 * 60, slot: 60, horizon: 5, mode: booking.Instant}
	by := func(v verb, start time.Duration) func(*testing.T, *world, uuid.UUID, time.Time) {
		return func(t *testing.T, w *world, id uuid.UUID, slot time.Time) {
			t.Helper()
			doctor := booking.Actor{Role: booking.Doctor, ID: w.doctors[0]}
			if _, err := change(t.Context(), w.replica(0), v, id, doctor, slot.Add(start), ""); err != nil {
				t.Fatal(err)
			}
		}
	}
	begins := func(end func(*testing.T, *world, uuid.UUID, time.Time)) func(*testing.T, *world, uuid.UUID, time.Time) {
		return func(t *testing.T, w *world, id uuid.UUID, slot time.Time) {
			t.Helper()
			w.advance(slot.Sub(w.now()) + 10*time.Minute)
			end(t, w, id, slot)
		}
	}
	for name, c := range map[string]struct {
		mode booking.Mode
		held bool
		ends func(*testing.T, *world, uuid.UUID, time.Time)
	}{
		"cancelled": {mode: booking.Instant, ends: by(cancel, 0)},
		"moved":     {mode: booking.Instant, ends: by(reschedule, 25*time.Hour)},
		"declined":  {mode: booking.Approval, ends: by(decline, 0)},
		"completed": {mode: booking.Instant, ends: begins(by(complete, 0))},
		"no-show":   {mode: booking.Instant, ends: begins(by(noShow, 0))},
		"lapsed": {mode: booking.Approval, ends: func(_ *testing.T, w *world, _ uuid.UUID, slot time.Time) {
			w.advance(slot.Sub(w.now()))
		}},
		"released": {held: true, mode: booking.Instant, ends: func(t *testing.T, w *world, id uuid.UUID, _ time.Time) {
			t.Helper()
			if err := w.replica(0).ReleaseHold(t.Context(), id, w.patients[0]); err != nil {
				t.Fatal(err)
			}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, slot := narrow(t, 1, 2)
			then := before
			then.mode = c.mode
			w.opens(t, w.doctors[0], then)
			w.advance(slot.Sub(w.now()) - time.Minute*9) // so that even a hold lasts until it begins, but not longer
			take := w.booked
			if c.held {
				take = w.holds
			}
			id := take(t, w.patients[0], w.doctors[0], slot)
			w.opens(t, w.doctors[0], after)
			w.joins(t, w.patients[1], w.doctors[0], slot)
			w.works(t)
			if w.offered(t, w.patients[1]) != nil {
				t.Fatal("offered before anything came free")
			}
			c.ends(t, w, id, slot)
			w.works(t)
			if h := w.offered(t, w.patients[1]); h == nil || !h.Slot.StartsAt.Equal(slot.Add(time.Hour)) {
				t.Errorf("offered %+v, want the hour after", h)
			}
		})
	}
}

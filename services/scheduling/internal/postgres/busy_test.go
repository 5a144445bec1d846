package postgres_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/healthmed/healthmed/services/scheduling/internal/booking"
	"github.com/healthmed/healthmed/services/scheduling/internal/postgres"
)

// A doctor who never stops changing their availability can be booked and held, and what is free is listed.
func TestStore_ServesADoctorWhoKeepsChangingTheirAvailability(t *testing.T) {
	t.Parallel()
	w, slot := narrow(t, 1, 2)
	doctor := w.doctors[0]
	changes := 0
	// One more change each time that somebody has read the schedule and is about to use it, unless they keep it from changing.
	changed := func() {
		h := hours{open: 8 * 60, close: 9 * 60, slot: 60, horizon: 5 + changes%2, mode: booking.Instant}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := w.replica(1).SetAvailability(ctx, doctor, h.availability(), 0); err == nil {
			changes++
		}
	}
	by := booking.Actor{Role: booking.Patient, ID: w.patients[0]}
	b := postgres.Booking{DoctorID: doctor, PatientID: by.ID, StartsAt: slot, By: by}
	_, err := w.replica(0).Book(t.Context(), b, request(by.ID, ""), func(a booking.Appointment) (postgres.Answer, error) {
		changed()
		return render(a)
	})
	if err != nil {
		t.Errorf("booking: %v", err)
	}
	_, err = w.replica(0).Hold(t.Context(), doctor, w.patients[1], slot.AddDate(0, 0, 1), request(w.patients[1], ""), func(h booking.Hold) (postgres.Answer, error) {
		changed()
		return renderHold(h)
	})
	if err != nil {
		t.Errorf("holding: %v", err)
	}
	lists := postgres.New(postgres.Config{Pool: w.db, Now: func() time.Time {
		changed()
		return w.now()
	}})
	date, _ := local(slot)
	_, slots, err := lists.Slots(t.Context(), doctor, date, date+2)
	if err != nil || len(slots) != 1 || !slots[0].StartsAt.Equal(slot.AddDate(0, 0, 2)) {
		t.Errorf("listing: %v %v", slots, err)
	}
	if changes < 12 {
		t.Errorf("only %d changes: that was easy", changes)
	}
}

// Somebody is in the way each time that it is tried, and gone each time that one looks who it was. Nobody took the slot,
// so nobody is told so, least of all for a day.
func TestStore_SaysTakenOnlyOfWhatIsTaken(t *testing.T) {
	t.Parallel()
	w, slot := narrow(t, 1, 2)
	doctor, patient, ghost := w.doctors[0], w.patients[0], w.patients[1]
	there := uuid.Nil
	s := postgres.New(postgres.Config{Pool: w.db, Now: func() time.Time {
		if there != uuid.Nil { // one looks
			if _, err := change(t.Context(), w.replica(1), cancel, there, booking.Actor{Role: booking.Doctor, ID: doctor}, slot, ""); err != nil {
				t.Error(err)
			}
			there = uuid.Nil
		}
		return w.now()
	}})
	b := postgres.Booking{DoctorID: doctor, PatientID: patient, StartsAt: slot, By: booking.Actor{Role: booking.Patient, ID: patient}}
	req := request(patient, "k")
	req.Refusal = func(err error) (postgres.Answer, bool) {
		return postgres.Answer{Status: 409, Body: []byte("taken")}, errors.Is(err, booking.ErrSlotTaken)
	}
	haunted := func(a booking.Appointment) (postgres.Answer, error) { // one is about to write
		there = w.booked(t, ghost, doctor, slot)
		return render(a)
	}
	if _, err := s.Book(t.Context(), b, req, haunted); !errors.Is(err, postgres.ErrBusy) {
		t.Errorf("with ghosts in the way: %v", err)
	}
	if a, err := s.Book(t.Context(), b, req, render); err != nil || a.Replayed {
		t.Errorf("under the same key, when all is calm: %+v %v", a, err)
	}
}

package postgres_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"
	"golang.org/x/sync/errgroup"

	"github.com/healthmed/healthmed/services/scheduling/internal/booking"
	"github.com/healthmed/healthmed/services/scheduling/internal/postgres"
)

// narrow is a world whose doctors have one slot a day, of an hour, and tomorrow's.
func narrow(t *testing.T, doctors, patients int) (w *world, slot time.Time) {
	t.Helper()
	return narrowIn(t, open(t), doctors, patients)
}

func narrowIn(t *testing.T, db *pgxpool.Pool, doctors, patients int) (w *world, slot time.Time) {
	t.Helper()
	w = newWorld(t, db, doctors, patients)
	for _, doctor := range w.doctors {
		w.opens(t, doctor, hours{open: 8 * 60, close: 9 * 60, slot: 60, horizon: 5, mode: booking.Instant})
	}
	date, _ := local(w.now())
	return w, (date + 1).Time().Add(-offset).Add(8 * time.Hour)
}

func (w *world) opens(t *testing.T, doctor uuid.UUID, h hours) {
	t.Helper()
	if _, err := w.replica(1).SetAvailability(t.Context(), doctor, h.availability(), 0); err != nil {
		t.Fatal(err)
	}
}

func (w *world) book(patient, doctor uuid.UUID, start time.Time) (postgres.Answer, error) {
	return w.replica(0).Book(context.Background(), postgres.Booking{DoctorID: doctor, PatientID: patient, StartsAt: start,
		By: booking.Actor{Role: booking.Patient, ID: patient}}, request(patient, ""), render)
}

// booked is the id of an appointment that had to be had.
func (w *world) booked(t *testing.T, patient, doctor uuid.UUID, start time.Time) uuid.UUID {
	t.Helper()
	a, err := w.book(patient, doctor, start)
	if err != nil {
		t.Fatal(err)
	}
	return idOf(t, a)
}

func (w *world) holds(t *testing.T, patient, doctor uuid.UUID, start time.Time) uuid.UUID {
	t.Helper()
	a, err := w.replica(0).Hold(t.Context(), doctor, patient, start, request(patient, ""), renderHold)
	if err != nil {
		t.Fatal(err)
	}
	return idOf(t, a)
}

func (w *world) joins(t *testing.T, patient, doctor uuid.UUID, at time.Time) {
	t.Helper()
	date, _ := local(at)
	if _, err := w.replica(0).Join(t.Context(), booking.Wait{PatientID: patient, DoctorID: doctor, From: date, To: date}); err != nil {
		t.Fatal(err)
	}
}

func (w *world) works(t *testing.T) {
	t.Helper()
	if err := w.work(t.Context(), w.replica(1)); err != nil {
		t.Fatal(err)
	}
}

// offered is the hold that the patient was offered and can still book, nil for none.
func (w *world) offered(t *testing.T, patient uuid.UUID) *booking.Hold {
	t.Helper()
	places, err := w.replica(0).Places(t.Context(), patient, uuid.Max, 1)
	if err != nil || len(places) != 1 {
		t.Fatalf("%v %v", places, err)
	}
	return places[0].Offer
}

// shows says whether listing and searching show the slot; they must agree.
func (w *world) shows(t *testing.T, doctor uuid.UUID, slot time.Time) bool {
	t.Helper()
	date, _ := local(slot)
	_, slots, err := w.replica(0).Slots(t.Context(), doctor, date, date)
	if err != nil {
		t.Fatal(err)
	}
	found, _, err := w.replica(0).Search(t.Context(), postgres.Query{Specialty: w.specialty, From: date, Days: 1, Limit: 20})
	if err != nil {
		t.Fatal(err)
	}
	listed := false
	for _, s := range slots {
		listed = listed || s.StartsAt.Equal(slot)
	}
	for _, f := range found {
		for _, s := range f.Slots {
			if f.ID == doctor && s.StartsAt.Equal(slot) && listed {
				return true
			}
		}
	}
	if listed {
		t.Errorf("%s is listed, but not found", slot)
	}
	return false
}

// isTaken: nobody who passes by gets the slot, in no way. The passer-by has another appointment.
func (w *world) isTaken(t *testing.T, passerBy, other uuid.UUID, doctor uuid.UUID, slot time.Time) {
	t.Helper()
	if w.shows(t, doctor, slot) {
		t.Error("the slot is shown as free")
	}
	if _, err := w.book(passerBy, doctor, slot); !errors.Is(err, booking.ErrSlotTaken) {
		t.Errorf("booking: %v", err)
	}
	if _, err := w.replica(1).Hold(t.Context(), doctor, passerBy, slot, request(passerBy, ""), renderHold); !errors.Is(err, booking.ErrSlotTaken) {
		t.Errorf("holding: %v", err)
	}
	by := booking.Actor{Role: booking.Patient, ID: passerBy}
	if _, err := change(t.Context(), w.replica(0), reschedule, other, by, slot, ""); !errors.Is(err, booking.ErrSlotTaken) {
		t.Errorf("moving: %v", err)
	}
}

func TestStore_LapsedTimeIsTheLinesBeforeItIsAnybodys(t *testing.T) {
	t.Parallel()
	w, slot := narrow(t, 1, 4)
	doctor, holder, first, second, passerBy := w.doctors[0], w.patients[0], w.patients[1], w.patients[2], w.patients[3]
	other := w.booked(t, passerBy, doctor, slot.AddDate(0, 0, 1))
	hold := w.holds(t, holder, doctor, slot)
	w.joins(t, first, doctor, slot)
	w.joins(t, second, doctor, slot)
	w.works(t)

	w.advance(booking.HoldFor)
	w.isTaken(t, passerBy, other, doctor, slot)
	b := postgres.Booking{DoctorID: doctor, PatientID: holder, StartsAt: slot, HoldID: hold, By: booking.Actor{Role: booking.Patient, ID: holder}}
	if _, err := w.replica(0).Book(t.Context(), b, request(holder, ""), render); !errors.Is(err, booking.ErrHoldExpired) {
		t.Errorf("booking with a hold that ran out: %v", err)
	}
	w.works(t)
	if w.offered(t, first) == nil {
		t.Fatal("the first in line was offered nothing")
	}
	w.advance(booking.OfferFor + booking.LineFirst - time.Second) // the last second in which it isn't everybody's
	w.isTaken(t, passerBy, other, doctor, slot)
	w.works(t)
	if w.offered(t, second) == nil {
		t.Error("the next in line was offered nothing")
	}
	w.advance(booking.OfferFor + booking.LineFirst) // and nobody worked
	if !w.shows(t, doctor, slot) {
		t.Error("time that nobody fed to the line isn't free")
	}
	w.booked(t, passerBy, doctor, slot)
}

// A hold that ran out isn't in the way of the patient whose it was, and what it took goes to the line all the same.
func TestStore_OwnLapsedHoldIsInNobodysWay(t *testing.T) {
	t.Parallel()
	w, slot := narrow(t, 2, 2)
	holder, waiting := w.patients[0], w.patients[1]
	w.holds(t, holder, w.doctors[0], slot)
	w.joins(t, waiting, w.doctors[0], slot)
	w.works(t)
	w.advance(booking.HoldFor)
	if _, err := w.book(holder, w.doctors[0], slot); !errors.Is(err, booking.ErrSlotTaken) {
		t.Errorf("their own slot, past the line: %v", err)
	}
	w.booked(t, holder, w.doctors[1], slot)
	w.works(t)
	if w.offered(t, waiting) == nil {
		t.Error("the line was offered nothing")
	}
}

// Time that is given back while somebody waits is theirs first; while nobody does, it is anybody's at once.
func TestStore_FreedTimeIsTheLinesBeforeItIsAnybodys(t *testing.T) {
	t.Parallel()
	w, slot := narrow(t, 1, 4)
	doctor, patient, first, second, passerBy := w.doctors[0], w.patients[0], w.patients[1], w.patients[2], w.patients[3]
	by := booking.Actor{Role: booking.Patient, ID: patient}
	gives := func(v verb, id uuid.UUID) {
		t.Helper()
		if _, err := change(t.Context(), w.replica(0), v, id, by, slot.AddDate(0, 0, 2), ""); err != nil {
			t.Fatal(err)
		}
	}
	gives(cancel, w.booked(t, patient, doctor, slot))
	id := w.booked(t, patient, doctor, slot) // again, at once: nobody waits
	other := w.booked(t, passerBy, doctor, slot.AddDate(0, 0, 1))
	w.joins(t, first, doctor, slot)
	w.works(t)
	gives(reschedule, id)
	w.isTaken(t, passerBy, other, doctor, slot)
	w.works(t)
	if w.offered(t, first) == nil {
		t.Fatal("the first in line was offered nothing")
	}
	w.joins(t, second, doctor, slot)
	w.works(t)
	if err := w.replica(0).ReleaseHold(t.Context(), w.offered(t, first).ID, first); err != nil {
		t.Fatal(err)
	}
	w.isTaken(t, passerBy, other, doctor, slot)
	w.works(t)
	offer := w.offered(t, second)
	if offer == nil {
		t.Fatal("the next in line was offered nothing")
	}

	// Who waits can't come then, as it turns out: it is anybody's as soon as that is known.
	busy, _ := local(slot)
	w.doctors = append(w.doctors, newID(t))
	w.opens(t, w.doctors[1], hours{open: 8 * 60, close: 9 * 60, slot: 60, horizon: 5, mode: booking.Instant})
	w.booked(t, first, w.doctors[1], slot)
	w.joins(t, first, doctor, slot)
	w.works(t)
	if err := w.replica(0).ReleaseHold(t.Context(), offer.ID, second); err != nil {
		t.Fatal(err)
	}
	w.isTaken(t, passerBy, other, doctor, slot)
	w.works(t)
	if !w.shows(t, doctor, slot) {
		t.Errorf("nobody in line can come on %s, and yet it isn't free", busy)
	}
	id = w.booked(t, patient, doctor, slot)

	gives(cancel, id)
	w.isTaken(t, passerBy, other, doctor, slot)
	w.advance(booking.LineFirst) // and nobody worked
	w.booked(t, passerBy, doctor, slot)
	w.works(t)
	w.check(t)
}

// A move into time that is being given back waits for that, which must not wait for the move in turn.
func TestStore_MovesIntoTimeThatIsBeingGivenBack(t *testing.T) {
	t.Parallel()
	w, slot := narrowIn(t, openTimed(t, time.Minute, 8), 1, 3) // whoever waits has no other way out
	doctor := w.doctors[0]
	by := booking.Actor{Role: booking.Doctor, ID: doctor}
	a, b := w.booked(t, w.patients[0], doctor, slot), w.booked(t, w.patients[1], doctor, slot.AddDate(0, 0, 1))
	w.joins(t, w.patients[2], doctor, slot)
	// What gives back is stopped in the middle, and the move comes behind it.
	_, leave := inWay(t, w.db, `SELECT FROM doctor_changes WHERE doctor_id = $1 FOR UPDATE`, doctor)
	var group errgroup.Group
	for n, f := range []func() error{
		func() error {
			_, err := change(context.Background(), w.replica(0), cancel, a, by, slot, "")
			return err
		},
		func() error {
			_, err := change(context.Background(), w.replica(1), reschedule, b, by, slot, "")
			return err
		},
	} {
		group.Go(f)
		w.waitForWaiting(t, n+1)
	}
	leave()
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	w.check(t)
}

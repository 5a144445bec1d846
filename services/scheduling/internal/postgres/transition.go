package postgres

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/healthmed/healthmed/services/scheduling/internal/booking"
)

// Transition is a change that somebody asks of an appointment.
type Transition struct {
	ID        uuid.UUID
	By        booking.Actor
	IfVersion int64 // 0: whatever it is
	// Decide lets the domain make the change. schedule is nil when the doctor has none.
	Decide func(a booking.Appointment, schedule *booking.Schedule, now time.Time) (booking.Change, error)
}

// Change makes a transition: appointment, history, event, freed time and answer in one transaction. Who may not read
// the appointment is told that it doesn't exist.
func (s *Store) Change(ctx context.Context, t Transition, req Request, render Render[booking.Appointment]) (Answer, error) {
	a, err := s.transition(ctx, t, req, render, s.take)
	return s.concluded(ctx, req, a, err)
}

// Reschedule is Change for a move. Movers of the same doctor or patient go one after another, in an order that
// cannot deadlock: contended updates under exclusion constraints stall each other otherwise. The constraints decide.
func (s *Store) Reschedule(ctx context.Context, t Transition, req Request, render Render[booking.Appointment]) (Answer, error) {
	var a Answer
	err := s.inTurn(ctx, func() (err error) {
		a, err = s.transition(ctx, t, req, render, s.takeInTurn)
		return err
	})
	return s.concluded(ctx, req, a, err)
}

func (s *Store) transition(ctx context.Context, t Transition, req Request, render Render[booking.Appointment],
	take func(context.Context, pgx.Tx, Transition) (taken, error)) (answer Answer, err error) {
	err = s.inTx(ctx, func(tx pgx.Tx) error {
		stored, found, err := req.enter(ctx, tx)
		if err != nil || found {
			answer = stored
			return err
		}
		it, err := take(ctx, tx, t)
		if errors.Is(err, pgx.ErrNoRows) || err == nil && !it.MayRead(t.By) {
			return booking.ErrNotFound
		}
		if err != nil {
			return err
		}
		if t.IfVersion != 0 && t.IfVersion != it.Version {
			return booking.ErrStale
		}
		change, err := t.Decide(it.Appointment, it.schedule, s.clock())
		if err != nil {
			return err
		}
		if answer, err = render(change.Appointment); err != nil {
			return err
		}
		return s.save(ctx, tx, change, req, answer)
	})
	if err != nil {
		return Answer{}, conflict(err)
	}
	s.committed()
	s.freed()
	return answer, nil
}

// taken is an appointment that nobody else can change until the transaction ends.
type taken struct {
	booking.Appointment
	schedule *booking.Schedule // of its doctor; nil: none
}

// take locks the appointment.
func (s *Store) take(ctx context.Context, tx pgx.Tx, t Transition) (taken, error) {
	return s.takeUnder(ctx, tx, &pgx.Batch{}, t.ID)
}

// takeInTurn locks doctor and patient before the appointment, in the same round trip: those who wait do so for as long as
// the round trips of all before them last. Nobody makes others wait for what isn't theirs.
func (s *Store) takeInTurn(ctx context.Context, tx pgx.Tx, t Transition) (taken, error) {
	a, err := loadAppointment(ctx, tx, t.ID)
	if err != nil || !a.MayRead(t.By) {
		return taken{Appointment: a}, err
	}
	locks := &pgx.Batch{}
	queueLocks(locks, a.DoctorID, a.PatientID)
	return s.takeUnder(ctx, tx, locks, t.ID)
}

// takeUnder sends the locks that come first, locks the appointment and loads its doctor's schedule, in one round trip.
func (s *Store) takeUnder(ctx context.Context, tx pgx.Tx, b *pgx.Batch, id uuid.UUID) (it taken, err error) {
	b.Queue(lockAppointment, id).Query(func(rows pgx.Rows) (err error) {
		it.Appointment, err = pgx.CollectExactlyOneRow(rows, scanAppointment)
		return err
	})
	var row scheduleRow
	var found bool
	b.Queue(`SELECT `+scheduleColumns+` FROM schedules s WHERE s.doctor_id = (SELECT doctor_id FROM appointments WHERE id = $2)`,
		s.exceptionsSince(), id).QueryRow(func(r pgx.Row) error {
		err := r.Scan(row.targets()...)
		if found = err == nil; errors.Is(err, pgx.ErrNoRows) {
			return nil
		}
		return err
	})
	if err := send(ctx, tx, b); err != nil || !found {
		return it, err
	}
	it.schedule, err = row.schedule(&s.zones)
	return it, err
}

// save writes a change of an existing appointment.
func (s *Store) save(ctx context.Context, tx pgx.Tx, c booking.Change, req Request, answer Answer) error {
	b := &pgx.Batch{}
	if c.Action == booking.ActionRescheduled {
		queueRemoveExpired(ctx, b, claimed{c.DoctorID, c.PatientID, c.Slot, c.BlockedUntil}, c.UpdatedAt, booking.Lapsed(c.UpdatedAt))
	}
	if err := queueChange(ctx, b, c, req, answer); err != nil {
		return err
	}
	if from, until, frees := c.Frees(); frees {
		queueDoctorChange(b, c.DoctorID)
		s.queueGivenBack(ctx, b, c.DoctorID, from, until, c.TimeZone, c.UpdatedAt)
	}
	return send(ctx, tx, b)
}

const updateAppointment = `
UPDATE appointments SET status = $2, starts_at = $3, ends_at = $4, blocked_until = $5, time_zone = $6, version = $7,
    expires_at = $8, updated_at = $9, reason = $10, waitlist_id = NULL
WHERE id = $1 AND version = $7 - 1`

// insertHistory keeps no note about somebody who was erased: there may be nobody left to forget it.
const insertHistory = `
INSERT INTO appointment_history (appointment_id, version, action, status, actor_role, actor_id, note, starts_at,
    ends_at, at)
SELECT $1, $2, $3, $4, $5, $6, CASE WHEN NOT EXISTS (
    SELECT FROM people WHERE id IN ($11, $12) AND erased_at IS NOT NULL) THEN $7 END, $8, $9, $10`

// queueChange adds appointment, history, event and answer to the batch.
func queueChange(ctx context.Context, b *pgx.Batch, c booking.Change, req Request, answer Answer) error {
	b.Queue(updateAppointment, c.ID, string(c.Status), c.Slot.StartsAt, c.Slot.EndsAt, c.BlockedUntil, c.TimeZone,
		c.Version, null(c.ExpiresAt), c.UpdatedAt, null(c.Reason))
	b.Queue(insertHistory, c.ID, c.Version, string(c.Action), string(c.Status), string(c.By.Role), c.By.ID,
		null(c.Note), c.Slot.StartsAt, c.Slot.EndsAt, c.UpdatedAt, c.PatientID, c.DoctorID)
	req.queue(b, answer, c.PatientID, c.UpdatedAt)
	return queueEvent(ctx, b, c.Event(), c.Version)
}

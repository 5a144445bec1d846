package postgres

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/healthmed/healthmed/pkg/telemetry"
	"github.com/healthmed/healthmed/services/scheduling/internal/booking"
)

// What the worker does by the clock. Each method claims due rows with FOR UPDATE SKIP LOCKED and finishes them in the
// same transaction: any replica may call it at any time, none does what another is doing, and one that dies leaves the
// rows due. Each says how many rows it dealt with; fewer than claimBatch means that nothing is left.
const (
	claimBatch = 50
	// answersKept is how long first answers to an Idempotency-Key are kept.
	answersKept = 24 * time.Hour
	// bookingsLast is longer than any booking can take that began before a departure was recorded.
	bookingsLast = time.Minute
	// endedKept is how long ended places in line are shown.
	endedKept = 90 * 24 * time.Hour
)

// LapseRequests declines requests that ran out.
func (s *Store) LapseRequests(ctx context.Context) (done int, err error) {
	err = s.inTx(ctx, func(tx pgx.Tx) error {
		now := s.clock()
		due, err := claim50(ctx, tx, `SELECT `+appointmentColumns+` FROM appointments
WHERE expires_at <= $1 AND status = 'requested' ORDER BY expires_at LIMIT $2 FOR UPDATE SKIP LOCKED`, now)
		if err != nil {
			return err
		}
		for _, a := range due {
			change, err := a.Lapse(now)
			if err != nil {
				return err
			}
			if err := s.save(ctx, tx, change, Request{}, Answer{}); err != nil {
				return err
			}
		}
		done = len(due)
		return nil
	})
	return done, s.finished(done, err)
}

// claim50 claims appointments, sorted by doctor: rows of doctor_changes are then locked in one order everywhere.
func claim50(ctx context.Context, tx pgx.Tx, sql string, args ...any) ([]booking.Appointment, error) {
	rows, err := tx.Query(ctx, sql, append(args, claimBatch)...)
	if err != nil {
		return nil, err
	}
	due, err := pgx.CollectRows(rows, scanAppointment)
	slices.SortFunc(due, func(a, b booking.Appointment) int { return bytes.Compare(a.DoctorID[:], b.DoctorID[:]) })
	return due, err
}

// finished nudges relay and waitlist when something was done.
func (s *Store) finished(done int, err error) error {
	if err == nil && done > 0 {
		s.committed()
		s.freed()
	}
	return err
}

// ExpireHolds removes holds that ran out and gives their time back. What is kept for the line is everybody's then.
func (s *Store) ExpireHolds(ctx context.Context) (done int, err error) {
	err = s.inTx(ctx, func(tx pgx.Tx) error {
		now := s.clock()
		rows, err := tx.Query(ctx, `SELECT `+holdColumns+` FROM appointments
WHERE expires_at <= $1 AND status = 'held' AND (patient_id <> doctor_id OR expires_at <= $3)
ORDER BY expires_at LIMIT $2 FOR UPDATE SKIP LOCKED`, now, claimBatch, booking.Lapsed(now))
		if err != nil {
			return err
		}
		due, err := pgx.CollectRows(rows, scanHold)
		if err != nil {
			return err
		}
		b := &pgx.Batch{}
		for _, h := range due {
			s.queueRelease(ctx, b, h, now)
		}
		done = len(due)
		return send(ctx, tx, b)
	})
	return done, s.finished(done, err)
}

// departure is somebody who left.
type departure struct {
	person uuid.UUID
	since  time.Time
	erased bool // and is to be forgotten; a doctor who was rejected isn't
	origin telemetry.Origin
}

// SettleDepartures cancels what somebody who left still had before them. It looks again until no booking that began
// before the departure can still be under way, and then forgets what such bookings wrote of somebody who was erased. It
// says how many it dealt with, one or none.
func (s *Store) SettleDepartures(ctx context.Context) (done int, err error) {
	err = s.inTx(ctx, func(tx pgx.Tx) error {
		now := s.clock()
		var d departure
		err := tx.QueryRow(ctx, `SELECT person_id, since, request_id, trace_parent,
    EXISTS (SELECT FROM people WHERE id = person_id AND erased_at IS NOT NULL)
FROM departures WHERE next_look <= $1 ORDER BY next_look LIMIT 1 FOR UPDATE SKIP LOCKED`, now).
			Scan(&d.person, &d.since, &d.origin.RequestID, &d.origin.TraceParent, &d.erased)
		if errors.Is(err, pgx.ErrNoRows) {
			done = 0
			return nil
		}
		if err != nil {
			return err
		}
		done = 1 // also where nothing was left to cancel: others may be waiting behind
		return s.settle(d.origin.Context(ctx), tx, d, now)
	})
	return done, s.finished(done, err)
}

// settle takes one look.
func (s *Store) settle(ctx context.Context, tx pgx.Tx, d departure, now time.Time) error {
	b := &pgx.Batch{}
	if d.erased { // before their holds are dropped: afterwards nobody offers them any
		queueLeaveLines(b, d.person, now)
	}
	if err := send(ctx, tx, b); err != nil {
		return err
	}
	cancelled, err := s.cancelFuture(ctx, tx, d.person, now)
	if err != nil || cancelled == claimBatch { // there may be more: due again at once
		return err
	}
	b = &pgx.Batch{}
	if again := d.since.Add(bookingsLast); now.Before(again) {
		b.Queue(`UPDATE departures SET next_look = $2 WHERE person_id = $1`, d.person, again)
		return send(ctx, tx, b)
	}
	if d.erased {
		queueForget(b, d.person, now)
	}
	b.Queue(`DELETE FROM departures WHERE person_id = $1`, d.person)
	return send(ctx, tx, b)
}

// cancelFuture cancels a batch of a person's future appointments, and drops their holds.
func (s *Store) cancelFuture(ctx context.Context, tx pgx.Tx, person uuid.UUID, now time.Time) (int, error) {
	if err := s.dropHolds(ctx, tx, person, now); err != nil {
		return 0, err
	}
	due, err := claim50(ctx, tx, `SELECT `+appointmentColumns+` FROM appointments
WHERE (patient_id = $1 OR doctor_id = $1) AND starts_at > $2
    AND (status = 'booked' OR status = 'requested' AND expires_at > $2) LIMIT $3 FOR UPDATE`, person, now)
	if err != nil {
		return 0, err
	}
	for _, a := range due {
		change, err := a.Cancel(booking.Actor{Role: booking.System}, "", 0, now)
		if err != nil {
			return 0, err
		}
		if err := s.save(ctx, tx, change, Request{}, Answer{}); err != nil {
			return 0, err
		}
	}
	return len(due), nil
}

// dropHolds gives the time of a person's holds back. Whoever had an offer from a doctor who left waits on in their old
// place, unless it was this doctor that they waited for.
func (s *Store) dropHolds(ctx context.Context, tx pgx.Tx, person uuid.UUID, now time.Time) error {
	rows, err := tx.Query(ctx, `SELECT `+holdColumns+` FROM appointments
WHERE (patient_id = $1 OR doctor_id = $1) AND starts_at > $2 AND status = 'held' FOR UPDATE`, person, now)
	if err != nil {
		return err
	}
	holds, err := pgx.CollectRows(rows, scanHold)
	if err != nil {
		return err
	}
	b := &pgx.Batch{}
	for _, h := range holds {
		if h.DoctorID == person && h.WaitlistID != uuid.Nil {
			b.Queue(`UPDATE waitlist SET status = CASE WHEN specialty IS NULL THEN 'ended' ELSE 'waiting' END, hold_id = NULL,
    updated_at = $2, look_at = $2 WHERE id = $1 AND status = 'offered'`, h.WaitlistID, now)
		}
		s.queueRelease(ctx, b, h, now)
	}
	return send(ctx, tx, b)
}

const (
	forgetAnswers = `
DELETE FROM idempotency_keys WHERE ctid = ANY (ARRAY(
    SELECT ctid FROM idempotency_keys WHERE created_at < $1 LIMIT 1000 FOR UPDATE SKIP LOCKED))`
	forgetWaits = `
DELETE FROM waitlist WHERE ctid = ANY (ARRAY(
    SELECT ctid FROM waitlist WHERE status NOT IN ('waiting', 'offered') AND updated_at < $1 LIMIT 1000
    FOR UPDATE SKIP LOCKED))`
	endWaits = `
UPDATE waitlist SET status = 'ended', updated_at = $1 WHERE ctid = ANY (ARRAY(
    SELECT ctid FROM waitlist WHERE status = 'waiting' AND to_date < ($1::timestamptz - interval '1 day')::date
    LIMIT 1000 FOR UPDATE SKIP LOCKED))`
)

// Forget drops first answers after a day, and places in line that ended long ago. It is housekeeping: once a minute.
func (s *Store) Forget(ctx context.Context) error {
	now := s.clock()
	b := &pgx.Batch{}
	b.Queue(forgetAnswers, now.Add(-answersKept))
	b.Queue(forgetWaits, now.Add(-endedKept))
	b.Queue(endWaits, now)
	return s.pool.SendBatch(ctx, b).Close()
}

package postgres

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/healthmed/healthmed/pkg/telemetry"
	"github.com/healthmed/healthmed/services/scheduling/internal/booking"
)

// freed is a stretch of time that came free.
type freed struct {
	id         int64
	doctor     uuid.UUID
	start, end time.Time
	origin     telemetry.Origin
}

// OfferFreed takes one stretch of freed time and offers its slots to those first in line, each as a hold. It says
// how many it found, one or none. One that fails is put off, so that the others behind it get their turn.
func (s *Store) OfferFreed(ctx context.Context) (done int, err error) {
	var f freed
	err = s.inTx(ctx, func(tx pgx.Tx) error {
		f = freed{}
		err := tx.QueryRow(ctx, `SELECT id, doctor_id, starts_at, ends_at, request_id, trace_parent FROM freed_times
WHERE due_at <= $1 ORDER BY due_at, id LIMIT 1 FOR UPDATE SKIP LOCKED`, s.clock()).
			Scan(&f.id, &f.doctor, &f.start, &f.end, &f.origin.RequestID, &f.origin.TraceParent)
		if errors.Is(err, pgx.ErrNoRows) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := s.offer(f.origin.Context(ctx), tx, f); err != nil {
			return err
		}
		b := &pgx.Batch{}
		b.Queue(dropKept, f.doctor, f.start, f.end)
		b.Queue(`DELETE FROM freed_times WHERE id = $1`, f.id)
		return send(ctx, tx, b)
	})
	if err != nil && f.id != 0 && ctx.Err() == nil {
		_, later := s.pool.Exec(ctx, `UPDATE freed_times
SET attempts = attempts + 1, due_at = $2::timestamptz + least(attempts + 1, 60) * interval '1 second'
WHERE id = $1`, f.id, s.clock())
		return 0, errors.Join(err, later)
	}
	if err == nil && f.id != 0 {
		s.committed()
	}
	if f.id == 0 {
		return 0, err
	}
	return 1, err
}

// waitingFor locks those in line for the doctor, in the order of the line, which is also the order in which everybody
// locks them: nobody is passed over because another worker is looking at them.
const waitingFor = `
SELECT ` + waitColumns + ` FROM waitlist w
WHERE w.status = 'waiting' AND w.from_date <= $3 AND w.to_date >= $2
    AND (w.doctor_id = $1 OR w.specialty = ANY (ARRAY(
        SELECT unnest(specialties) FROM people WHERE id = $1 AND status = 'active' AND erased_at IS NULL)))
    AND w.place > $4
ORDER BY w.place LIMIT $5 FOR UPDATE`

// lineLength is how many of a line are read at a time.
const lineLength = 500

// offer offers the slots that lie in the freed time, as far as people wait for them.
func (s *Store) offer(ctx context.Context, tx pgx.Tx, f freed) error {
	waits, err := line(ctx, tx, f, 0)
	if err != nil || len(waits) == 0 {
		return err
	}
	schedule, err := s.loadSchedule(ctx, tx, f.doctor)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil
	}
	if err != nil {
		return err
	}
	now := s.clock()
	from, to := booking.DateOf(f.start, time.UTC)-1, booking.DateOf(f.end, time.UTC)+1
	_, taken, err := busy(ctx, tx, f.doctor, from, to, now) // the line needn't wait until expired holds are everybody's
	if errors.Is(err, booking.ErrDoctorNotFound) {
		return nil // the doctor has left: nothing to offer
	}
	if err != nil {
		return err
	}
	var slots []booking.Slot
	for slot := range schedule.Slots(from, to, now, taken) {
		if slot.StartsAt.Before(f.end) && slot.EndsAt.After(f.start) {
			slots = append(slots, slot)
		}
	}
	for len(waits) > 0 && len(slots) > 0 {
		slots, err = booking.Line(schedule, slots, waits, func(w booking.Wait, slot booking.Slot) (bool, bool, error) {
			return s.offerTo(ctx, tx, schedule, w, slot, now)
		})
		if err != nil || len(waits) < lineLength {
			return err
		}
		if waits, err = line(ctx, tx, f, waits[len(waits)-1].Place); err != nil {
			return err
		}
	}
	return nil
}

// line is the next part of the line for the freed time, after a place.
func line(ctx context.Context, tx pgx.Tx, f freed, after int64) ([]booking.Wait, error) {
	rows, err := tx.Query(ctx, waitingFor, f.doctor, f.start.AddDate(0, 0, -1), f.end.AddDate(0, 0, 1), after, lineLength)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, scanWait)
}

const insertOffer = `
INSERT INTO appointments (id, doctor_id, patient_id, status, starts_at, ends_at, blocked_until, time_zone, version,
    expires_at, waitlist_id, created_at, updated_at)
VALUES ($1, $2, $3, 'held', $4, $5, $6, $7, 0, $8, $9, $10, $10)
ON CONFLICT DO NOTHING`

// offerTo holds the slot for the patient. gone says that the doctor's time was taken meanwhile; when neither, the
// patient is busy then.
func (s *Store) offerTo(ctx context.Context, tx pgx.Tx, schedule *booking.Schedule, w booking.Wait, slot booking.Slot,
	now time.Time) (offered, gone bool, err error) {
	id, err := newID()
	if err != nil {
		return false, false, err
	}
	h, err := schedule.Hold(id, w.PatientID, slot.StartsAt, booking.OfferFor, now)
	if err != nil {
		return false, true, nil //nolint:nilerr // a slot that just stopped being one is nobody's
	}
	h.WaitlistID = w.ID
	b := &pgx.Batch{}
	queueRemoveExpired(ctx, b, claimed{h.DoctorID, h.PatientID, h.Slot, h.BlockedUntil}, now, now)
	if err := send(ctx, tx, b); err != nil {
		return false, false, err
	}
	tag, err := tx.Exec(ctx, insertOffer, h.ID, h.DoctorID, h.PatientID, h.Slot.StartsAt, h.Slot.EndsAt, h.BlockedUntil,
		h.TimeZone, h.ExpiresAt, w.ID, now)
	if err != nil {
		return false, false, err
	}
	if tag.RowsAffected() == 0 {
		err = tx.QueryRow(ctx, `SELECT EXISTS (SELECT FROM appointments WHERE doctor_id = $1
AND status IN ('held', 'requested', 'booked') AND tstzrange(starts_at, blocked_until) && tstzrange($2, $3))`,
			h.DoctorID, h.Slot.StartsAt, h.BlockedUntil).Scan(&gone)
		return false, gone, err
	}
	b = &pgx.Batch{}
	b.Queue(`UPDATE waitlist SET status = 'offered', hold_id = $2, updated_at = $3 WHERE id = $1`, w.ID, h.ID, now)
	if err := queueEvent(ctx, b, booking.OfferEvent(w, h), 1); err != nil {
		return false, false, err
	}
	return true, false, send(ctx, tx, b)
}

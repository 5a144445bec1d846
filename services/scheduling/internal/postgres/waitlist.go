package postgres

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/healthmed/healthmed/services/scheduling/internal/booking"
)

const waitColumns = `w.id, w.place, w.patient_id, w.doctor_id, coalesce(w.specialty, ''), w.from_date, w.to_date,
w.status, w.hold_id, w.created_at, w.updated_at`

func scanWait(row pgx.CollectableRow) (w booking.Wait, err error) {
	var doctor, hold *uuid.UUID
	var from, to time.Time
	err = row.Scan(&w.ID, &w.Place, &w.PatientID, &doctor, &w.Specialty, &from, &to, &w.Status, &hold, &w.CreatedAt,
		&w.UpdatedAt)
	w.DoctorID, w.HoldID = value(doctor), value(hold)
	w.From, w.To = booking.DateOf(from, time.UTC), booking.DateOf(to, time.UTC)
	return w, err
}

const insertWait = `
INSERT INTO waitlist (id, patient_id, doctor_id, specialty, from_date, to_date, status, created_at, updated_at, look_at)
SELECT $1, $2, $3, $4, $5, $6, 'waiting', $7, $7, $7
WHERE (SELECT count(*) FROM waitlist WHERE patient_id = $2 AND status IN ('waiting', 'offered')) < $8
    AND NOT EXISTS (SELECT FROM people WHERE id = $2 AND (role <> 'patient' OR erased_at IS NOT NULL))`

// Join puts the patient at the end of the line. Time that is free already is offered to them like any other, by the
// worker.
func (s *Store) Join(ctx context.Context, w booking.Wait) (booking.Wait, error) {
	id, err := newID()
	if err != nil {
		return w, err
	}
	now := s.clock()
	w.ID, w.Status, w.CreatedAt, w.UpdatedAt = id, booking.Waiting, now, now
	if w.DoctorID != uuid.Nil {
		if _, err := s.refresh(ctx, w.DoctorID); err != nil && !errors.Is(err, booking.ErrNoAvailability) {
			return w, err
		}
	}
	var joined bool
	b := &pgx.Batch{}
	queueLocks(b, w.PatientID)
	b.Queue(insertWait, w.ID, w.PatientID, null(w.DoctorID), null(w.Specialty), w.From.Time(), w.To.Time(), now, booking.MaxWaiting).
		Exec(func(tag pgconn.CommandTag) error { joined = tag.RowsAffected() == 1; return nil })
	err = s.inTurn(ctx, func() error { return s.pool.SendBatch(ctx, b).Close() })
	switch {
	case err != nil:
		return w, err
	case !joined:
		return w, s.notJoined(ctx, w.PatientID)
	}
	s.freed()
	return w, nil
}

// notJoined is why a patient may not wait: their account is gone, or they wait in as many lines as anyone may.
func (s *Store) notJoined(ctx context.Context, patient uuid.UUID) error {
	var gone bool
	err := s.pool.QueryRow(ctx, `SELECT EXISTS (SELECT FROM people
WHERE id = $1 AND (role <> 'patient' OR erased_at IS NOT NULL))`, patient).Scan(&gone)
	switch {
	case err != nil:
		return err
	case gone:
		return booking.ErrDeparted
	}
	return booking.ErrTooManyWaiting
}

// Place is a place in line, with the offer while it is open.
type Place struct {
	booking.Wait
	Offer *booking.Hold
}

// Places lists the patient's places in line, the newest first, before the given one (nil: from the newest).
func (s *Store) Places(ctx context.Context, patient, before uuid.UUID, limit int) ([]Place, error) {
	if before == uuid.Nil {
		before = uuid.Max
	}
	rows, err := s.pool.Query(ctx, `SELECT `+waitColumns+` FROM waitlist w
WHERE w.patient_id = $1 AND w.id < $2 ORDER BY w.id DESC LIMIT $3`, patient, before, limit)
	if err != nil {
		return nil, err
	}
	waits, err := pgx.CollectRows(rows, scanWait)
	if err != nil {
		return nil, err
	}
	rows, err = s.pool.Query(ctx, `SELECT `+holdColumns+` FROM appointments
WHERE patient_id = $1 AND starts_at > $2 AND status = 'held' AND expires_at > $2`, patient, s.clock())
	if err != nil {
		return nil, err
	}
	holds, err := pgx.CollectRows(rows, scanHold)
	places := make([]Place, len(waits))
	for i, w := range waits {
		places[i].Wait = w
		for _, h := range holds {
			if w.Status == booking.Offered && h.WaitlistID == w.ID {
				places[i].Offer = &h
			}
		}
	}
	return places, err
}

// Leave ends the patient's place in line; an open offer is given back.
func (s *Store) Leave(ctx context.Context, id, patient uuid.UUID) error {
	for range attempts {
		left, err := s.leave(ctx, id, patient)
		if err != nil || left {
			return err
		}
	}
	return booking.ErrNotFound // it was offered, lapsed and so on under our hands: there is no place left
}

// leave locks the offer before the place, as everybody does who locks both. false: the place was offered meanwhile.
func (s *Store) leave(ctx context.Context, id, patient uuid.UUID) (left bool, err error) {
	err = s.inTx(ctx, func(tx pgx.Tx) error {
		var hold *uuid.UUID
		err := tx.QueryRow(ctx, `SELECT hold_id FROM waitlist
WHERE id = $1 AND patient_id = $2 AND status IN ('waiting', 'offered')`, id, patient).Scan(&hold)
		if errors.Is(err, pgx.ErrNoRows) {
			return booking.ErrNotFound
		}
		if err != nil {
			return err
		}
		now := s.clock()
		b := &pgx.Batch{}
		h, err := lockHold(ctx, tx, value(hold), patient)
		switch {
		case err == nil:
			s.queueRelease(ctx, b, h, now)
		case !errors.Is(err, pgx.ErrNoRows):
			return err
		}
		tag, err := tx.Exec(ctx, `UPDATE waitlist SET status = 'withdrawn', updated_at = $2
WHERE id = $1 AND status IN ('waiting', 'offered') AND hold_id IS NOT DISTINCT FROM $3`, id, now, hold)
		if left = err == nil && tag.RowsAffected() == 1; !left {
			return err
		}
		return send(ctx, tx, b)
	})
	if err == nil && left {
		s.freed()
	}
	return left, err
}

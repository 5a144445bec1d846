package postgres

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/healthmed/healthmed/services/scheduling/internal/booking"
)

// Exceptions lists the doctor's exceptions of the dates, earliest first.
func (s *Store) Exceptions(ctx context.Context, doctor uuid.UUID, from, to booking.Date) ([]booking.Exception, error) {
	rows, err := s.pool.Query(ctx, `SELECT day, hours, coalesce(note, '') FROM schedule_exceptions
WHERE doctor_id = $1 AND day BETWEEN $2 AND $3 ORDER BY day`, doctor, from.Time(), to.Time())
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (e booking.Exception, err error) {
		var day time.Time
		err = row.Scan(&day, &e.Hours, &e.Note)
		e.Date = booking.DateOf(day, time.UTC)
		return e, err
	})
}

// SetException replaces the hours of one date. Appointments stay as they are.
func (s *Store) SetException(ctx context.Context, doctor uuid.UUID, e booking.Exception) error {
	if err := e.Validate(); err != nil {
		return err
	}
	if e.Hours == nil {
		e.Hours = []booking.Hours{}
	}
	_, err := s.changeSchedule(ctx, doctor, 0, func(tx pgx.Tx, now time.Time) (int64, error) {
		version, err := bump(ctx, tx, doctor, now)
		if err != nil {
			return 0, err
		}
		_, err = tx.Exec(ctx, `INSERT INTO schedule_exceptions (doctor_id, day, hours, note) VALUES ($1, $2, $3, $4)
ON CONFLICT (doctor_id, day) DO UPDATE SET hours = excluded.hours, note = excluded.note`,
			doctor, e.Date.Time(), e.Hours, null(e.Note))
		return version, err
	})
	return err
}

// RemoveException goes back to the weekly hours on the date.
func (s *Store) RemoveException(ctx context.Context, doctor uuid.UUID, date booking.Date) error {
	_, err := s.changeSchedule(ctx, doctor, 0, func(tx pgx.Tx, now time.Time) (int64, error) {
		tag, err := tx.Exec(ctx, `DELETE FROM schedule_exceptions WHERE doctor_id = $1 AND day = $2`, doctor, date.Time())
		if err != nil {
			return 0, err
		}
		if tag.RowsAffected() == 0 {
			return 0, booking.ErrNotFound
		}
		return bump(ctx, tx, doctor, now)
	})
	return err
}

// bump makes the next version of a schedule.
func bump(ctx context.Context, tx pgx.Tx, doctor uuid.UUID, now time.Time) (version int64, err error) {
	err = tx.QueryRow(ctx, `UPDATE schedules SET version = version + 1, updated_at = $2 WHERE doctor_id = $1
RETURNING version`, doctor, now).Scan(&version)
	if errors.Is(err, pgx.ErrNoRows) {
		return 0, booking.ErrNoAvailability
	}
	return version, err
}

// conflictsBatch is how many appointments are read at a time in search of conflicts.
const conflictsBatch = 500

// Conflicts lists the doctor's future appointments that no slot of the present availability covers.
func (s *Store) Conflicts(ctx context.Context, f Filter) ([]booking.Appointment, error) {
	schedule, err := s.refresh(ctx, f.DoctorID)
	if err != nil {
		return nil, err
	}
	want := f.Limit
	f.From, f.Limit = s.clock(), conflictsBatch
	var conflicts []booking.Appointment
	for {
		batch, err := s.Appointments(ctx, f)
		if err != nil {
			return nil, err
		}
		for _, a := range batch {
			if a.Status.Occupies() && !schedule.Covers(a.Slot.StartsAt, a.Slot.EndsAt) {
				conflicts = append(conflicts, a)
			}
			if len(conflicts) == want {
				return conflicts, nil
			}
		}
		if len(batch) < conflictsBatch {
			return conflicts, nil
		}
		last := batch[len(batch)-1]
		f.AfterStart, f.AfterID = last.Slot.StartsAt, last.ID
	}
}

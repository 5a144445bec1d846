package postgres

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/healthmed/healthmed/services/scheduling/internal/booking"
)

// busyBetween reads what occupies a doctor. Appointments that began up to LongestOccupancy before the window may
// reach into it; nothing older is looked at, however much there is. Holds that expired by $4 are in nobody's way.
const busyBetween = `
SELECT starts_at, blocked_until FROM appointments
WHERE doctor_id = $1 AND starts_at >= $2 AND starts_at < $3
    AND (status IN ('requested', 'booked') OR status = 'held' AND expires_at > $4)
ORDER BY starts_at`

// Slots lists the doctor's free slots on the dates from..to. A doctor who is known but hasn't set an availability has
// none; the schedule is then nil.
func (s *Store) Slots(ctx context.Context, doctor uuid.UUID, from, to booking.Date) (*booking.Schedule, []booking.Slot, error) {
	schedule, err := s.schedule(ctx, doctor)
	for range attempts - 1 {
		if errors.Is(err, booking.ErrNoAvailability) {
			return nil, nil, nil
		}
		if err != nil {
			return nil, nil, err
		}
		now := s.clock()
		version, taken, err := busy(ctx, s.pool, doctor, from, to, booking.Lapsed(now))
		if err != nil {
			return nil, nil, err
		}
		if version == schedule.Version {
			return schedule, slices.Collect(schedule.Slots(from, to, now, taken)), nil
		}
		if schedule, err = s.refresh(ctx, doctor); err != nil && !errors.Is(err, booking.ErrNoAvailability) {
			return nil, nil, err
		}
	}
	return s.slotsOfOneMoment(ctx, doctor, from, to)
}

// slotsOfOneMoment is Slots by a schedule that changes faster than it is read: all of one snapshot.
func (s *Store) slotsOfOneMoment(ctx context.Context, doctor uuid.UUID, from, to booking.Date) (schedule *booking.Schedule, slots []booking.Slot, err error) {
	snapshot := pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}
	err = pgx.BeginTxFunc(ctx, s.pool, snapshot, func(tx pgx.Tx) error {
		if schedule, err = s.loadSchedule(ctx, tx, doctor); err != nil {
			return err
		}
		now := s.clock()
		_, taken, err := busy(ctx, tx, doctor, from, to, booking.Lapsed(now))
		slots = slices.Collect(schedule.Slots(from, to, now, taken))
		return err
	})
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, nil, nil
	}
	return schedule, slots, err
}

// batcher is a pool or a transaction.
type batcher interface {
	SendBatch(ctx context.Context, b *pgx.Batch) pgx.BatchResults
}

// busy reads the version of the doctor's schedule and what occupies them, in one round trip. Holds that expired by lapsed
// don't.
func busy(ctx context.Context, q batcher, doctor uuid.UUID, from, to booking.Date, lapsed time.Time) (version int64, taken []booking.Interval, err error) {
	b := &pgx.Batch{}
	b.Queue(`SELECT coalesce((SELECT version FROM schedules WHERE doctor_id = $1), 0), EXISTS (SELECT FROM people
WHERE id = $1 AND (role <> 'doctor' OR status <> 'active' OR erased_at IS NOT NULL))`, doctor).
		QueryRow(func(row pgx.Row) error {
			var gone bool
			if err := row.Scan(&version, &gone); err != nil {
				return err
			}
			if gone {
				return booking.ErrDoctorNotFound
			}
			return nil
		})
	start, end := window(from, to)
	b.Queue(busyBetween, doctor, start, end, lapsed).Query(func(rows pgx.Rows) error {
		taken, err = pgx.CollectRows(rows, scanInterval)
		return err
	})
	err = q.SendBatch(ctx, b).Close()
	return version, taken, err
}

// window bounds, in any zone, the starts of appointments that can meet a slot of the dates.
func window(from, to booking.Date) (start, end time.Time) {
	return from.Time().AddDate(0, 0, -1).Add(-booking.LongestOccupancy), to.Time().AddDate(0, 0, 2)
}

func scanInterval(row pgx.CollectableRow) (booking.Interval, error) {
	var start, end time.Time
	err := row.Scan(&start, &end)
	return booking.Interval{Start: start.Unix(), End: end.Unix()}, err
}

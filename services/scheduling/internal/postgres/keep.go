package postgres

import (
	"context"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/healthmed/healthmed/services/scheduling/internal/booking"
)

// A kept time is time that came free while somebody waits for it. It is a hold of nobody's, with the doctor in the
// patient's place, that has expired already: so for booking.LineFirst it is in the way of everybody but the line, under
// the constraint that booking asks anyway. It goes when the time has been offered, or after that time.
//
// A move into the time waits, with the doctor's lock, for the transaction that frees it; that one must not wait for the
// move in turn. Where it can't have the lock at once, nothing is kept.
const keepForLine = `
INSERT INTO appointments (id, doctor_id, patient_id, status, starts_at, ends_at, blocked_until, time_zone, version,
    expires_at, created_at, updated_at)
SELECT gen_random_uuid(), $1, $1, 'held', $2, $3, $3, 'UTC', 0, $4, $4, $4
WHERE (EXISTS (SELECT FROM waitlist WHERE doctor_id = $1 AND status = 'waiting' AND from_date <= $6 AND to_date >= $5)
    OR EXISTS (SELECT FROM waitlist WHERE specialty = ANY (ARRAY(SELECT unnest(specialties) FROM people WHERE id = $1))
        AND status = 'waiting' AND from_date <= $6 AND to_date >= $5))
    AND pg_try_advisory_xact_lock($7)
ON CONFLICT DO NOTHING`

// queueGivenBack frees time of the doctor's, [start, until), and keeps it for the line if somebody waits on its dates. It
// comes after what gives the time back.
func (s *Store) queueGivenBack(ctx context.Context, b *pgx.Batch, doctor uuid.UUID, start, until time.Time, zone string, now time.Time) {
	queueFreed(ctx, b, doctor, start, until, now)
	place, err := s.zones.Load(zone)
	if err != nil {
		place = time.UTC
	}
	from, to := booking.DateOf(start, place), booking.DateOf(until.Add(-1), place)
	b.Queue(keepForLine, doctor, start, until, now, from.Time(), to.Time(), lockOf(doctor))
}

// dropKept gives what nobody in line wanted of the time to everybody.
const dropKept = `
DELETE FROM appointments WHERE patient_id = $1 AND doctor_id = $1 AND starts_at = $2 AND blocked_until = $3 AND status = 'held'`

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

// insertHold is insertAppointments for one hold: no history and no event, since nothing has happened yet. A patient who
// keeps too many slots keeps no more; what the waitlist offers them doesn't count. It comes after lockPerson, so that it
// counts what those before it wrote.
const insertHold = `
WITH gate AS MATERIALIZED (
    SELECT CASE WHEN $12::text IS NULL THEN true ELSE pg_try_advisory_xact_lock($13) END AS mine
), allowed AS MATERIALIZED (
    SELECT 1 FROM gate WHERE mine
    AND EXISTS (SELECT FROM schedules WHERE doctor_id = $2 AND version = $10)
    AND NOT EXISTS (SELECT FROM people
        WHERE id = $2 AND (role <> 'doctor' OR status <> 'active' OR erased_at IS NOT NULL))
    AND NOT EXISTS (SELECT FROM people WHERE id = $3 AND (role <> 'patient' OR erased_at IS NOT NULL))
    AND NOT EXISTS (SELECT FROM idempotency_keys WHERE caller = $11 AND key = $12)
    AND (SELECT count(*) FROM appointments
         WHERE patient_id = $3 AND starts_at > $9 AND status = 'held' AND expires_at > $9 AND waitlist_id IS NULL) < $17
), written AS (
    INSERT INTO appointments (id, doctor_id, patient_id, status, starts_at, ends_at, blocked_until, time_zone,
        version, expires_at, created_at, updated_at)
    SELECT $1::uuid, $2::uuid, $3::uuid, 'held', $4::timestamptz, $5::timestamptz, $6::timestamptz, $7::text,
        0, $8::timestamptz, $9::timestamptz, $9::timestamptz
    FROM allowed
    ON CONFLICT DO NOTHING
    RETURNING id
), answer AS (
    INSERT INTO idempotency_keys (caller, key, fingerprint, status, location, body, created_at)
    SELECT $11::uuid, $12::text, $14::bytea, 201, $15::text, $16::bytea, $9::timestamptz
    FROM written WHERE $12::text IS NOT NULL
)
SELECT (SELECT mine FROM gate), EXISTS (SELECT FROM written)`

// Hold keeps a slot for the patient.
func (s *Store) Hold(ctx context.Context, doctor, patient uuid.UUID, start time.Time, req Request, render Render[booking.Hold]) (Answer, error) {
	id, err := newID()
	if err != nil {
		return Answer{}, err
	}
	a, err := s.occupy(ctx, claim{
		doctor: doctor, patient: patient, start: start, req: req,
		decide: func(schedule *booking.Schedule, now time.Time) (write, error) {
			h, err := schedule.Hold(id, patient, start, booking.HoldFor, now)
			if err != nil {
				return write{}, err
			}
			a, err := render(h)
			return write{slot: h.Slot, blockedUntil: h.BlockedUntil, lock: patient, sql: insertHold, answer: a, args: []any{
				h.ID, h.DoctorID, h.PatientID, h.Slot.StartsAt, h.Slot.EndsAt, h.BlockedUntil, h.TimeZone, h.ExpiresAt,
				h.CreatedAt, schedule.Version, req.Caller, null(req.Key), req.lock(), req.Fingerprint[:], a.Location,
				a.Body, booking.MaxHolds}}, err
		},
	})
	return s.concluded(ctx, req, a, err)
}

const holdColumns = `id, doctor_id, patient_id, starts_at, ends_at, blocked_until, time_zone, expires_at, created_at,
waitlist_id`

func scanHold(row pgx.CollectableRow) (h booking.Hold, err error) {
	var waitlist *uuid.UUID
	err = row.Scan(&h.ID, &h.DoctorID, &h.PatientID, &h.Slot.StartsAt, &h.Slot.EndsAt, &h.BlockedUntil, &h.TimeZone,
		&h.ExpiresAt, &h.CreatedAt, &waitlist)
	h.WaitlistID = value(waitlist)
	return h, err
}

// lockHold loads a patient's hold for changing it, with the answer to an earlier request of the same key, if any.
func lockHold(ctx context.Context, tx pgx.Tx, id, patient uuid.UUID) (booking.Hold, error) {
	rows, err := tx.Query(ctx, `SELECT `+holdColumns+` FROM appointments
WHERE id = $1 AND patient_id = $2 AND status = 'held' FOR UPDATE`, id, patient)
	if err != nil {
		return booking.Hold{}, err
	}
	return pgx.CollectExactlyOneRow(rows, scanHold)
}

// bookHold turns a hold into an appointment of the same id.
func (s *Store) bookHold(ctx context.Context, b Booking, req Request, render Render[booking.Appointment]) (answer Answer, err error) {
	err = s.inTx(ctx, func(tx pgx.Tx) error {
		a, found, err := req.enter(ctx, tx)
		if err != nil || found {
			answer = a
			return err
		}
		h, err := lockHold(ctx, tx, b.HoldID, b.PatientID)
		if errors.Is(err, pgx.ErrNoRows) || err == nil && h.DoctorID != b.DoctorID {
			return booking.ErrHoldExpired
		}
		if err != nil {
			return err
		}
		schedule, err := s.loadSchedule(ctx, tx, b.DoctorID)
		if err != nil {
			return err
		}
		change, err := h.Book(schedule.Availability.Mode, b.StartsAt, b.Reason, b.By, s.clock())
		if err != nil {
			return err
		}
		if answer, err = render(change.Appointment); err != nil {
			return err
		}
		batch := &pgx.Batch{}
		if err := queueChange(ctx, batch, change, req, answer); err != nil {
			return err
		}
		if h.WaitlistID != uuid.Nil {
			batch.Queue(`UPDATE waitlist SET status = 'fulfilled', updated_at = $2 WHERE id = $1`,
				h.WaitlistID, change.UpdatedAt)
		}
		return send(ctx, tx, batch)
	})
	if err != nil {
		return Answer{}, err
	}
	s.committed()
	return answer, nil
}

// ReleaseHold gives the time back before the hold expires. An offer that is released counts as missed.
func (s *Store) ReleaseHold(ctx context.Context, id, patient uuid.UUID) error {
	err := s.inTx(ctx, func(tx pgx.Tx) error {
		h, err := lockHold(ctx, tx, id, patient)
		if errors.Is(err, pgx.ErrNoRows) {
			return booking.ErrNotFound
		}
		if err != nil {
			return err
		}
		b := &pgx.Batch{}
		s.queueRelease(ctx, b, h, s.clock())
		return send(ctx, tx, b)
	})
	if err == nil {
		s.freed()
	}
	return err
}

// queueRelease deletes the hold, ends the offer that it was, and frees its time. What was kept for the line has been
// freed already.
func (s *Store) queueRelease(ctx context.Context, b *pgx.Batch, h booking.Hold, now time.Time) {
	b.Queue(`DELETE FROM appointments WHERE id = $1`, h.ID)
	if h.WaitlistID != uuid.Nil {
		b.Queue(`UPDATE waitlist SET status = 'missed', updated_at = $2 WHERE id = $1 AND status = 'offered'`,
			h.WaitlistID, now)
	}
	if h.BlockedUntil.After(now) && h.PatientID != h.DoctorID {
		s.queueGivenBack(ctx, b, h.DoctorID, h.Slot.StartsAt, h.BlockedUntil, h.TimeZone, now)
	}
}

// claimed is the time that somebody is about to take from doctor and patient.
type claimed struct {
	doctor, patient uuid.UUID
	slot            booking.Slot
	blockedUntil    time.Time
}

const removeExpired = `
WITH gone AS (
    DELETE FROM appointments WHERE id IN (
        SELECT id FROM appointments
        WHERE doctor_id = $1 AND status = 'held' AND expires_at <= $7
            AND tstzrange(starts_at, blocked_until) && tstzrange($3, $5)
        UNION
        SELECT id FROM appointments
        WHERE patient_id = $2 AND doctor_id <> $1 AND status = 'held' AND expires_at <= $6
            AND tstzrange(starts_at, ends_at) && tstzrange($3, $4)
    ) AND status = 'held'
    RETURNING waitlist_id, doctor_id, patient_id, starts_at, blocked_until
), freed AS (
    INSERT INTO freed_times (doctor_id, starts_at, ends_at, due_at, request_id, trace_parent)
    SELECT doctor_id, starts_at, blocked_until, $6, $8, $9 FROM gone
    WHERE blocked_until > $6 AND patient_id <> doctor_id
)
UPDATE waitlist SET status = 'missed', updated_at = $6
WHERE id IN (SELECT waitlist_id FROM gone) AND status = 'offered'`

// queueRemoveExpired removes expired holds that are in the way, ends the offers that they were, and frees what they took
// beyond what is claimed: the patient's own of other doctors, and of the doctor's those that expired by lapsed.
func queueRemoveExpired(ctx context.Context, b *pgx.Batch, c claimed, now, lapsed time.Time) {
	origin := telemetry.OriginOf(ctx)
	b.Queue(removeExpired, c.doctor, c.patient, c.slot.StartsAt, c.slot.EndsAt, c.blockedUntil, now, lapsed,
		origin.RequestID, origin.TraceParent)
}

package postgres

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/healthmed/healthmed/services/scheduling/internal/booking"
)

// What a feed shows: all that is to come, for years of a full day; of what has begun, the last calendarBegun within
// calendarPast; and what was cancelled of the time to come, the next calendarCancelled, for programs that add what they
// read instead of replacing it. Each has room of its own, so that none crowds out another.
const (
	calendarPast      = 30 * 24 * time.Hour
	calendarToCome    = 10_000
	calendarBegun     = 1000
	calendarCancelled = 200
)

// NewCalendar makes the secret of a calendar feed, of which only the hash is kept. It revokes the one before.
func (s *Store) NewCalendar(ctx context.Context, owner booking.Actor, names bool) (token string, err error) {
	secret := make([]byte, 32)
	if _, err := rand.Read(secret); err != nil {
		return "", err
	}
	token = base64.RawURLEncoding.EncodeToString(secret)
	hash := sha256.Sum256([]byte(token))
	tag, err := s.pool.Exec(ctx, `INSERT INTO calendars (owner_id, role, token_hash, include_names, created_at)
SELECT $1, $2, $3, $4, $5 WHERE NOT EXISTS (SELECT FROM people WHERE id = $1 AND erased_at IS NOT NULL)
ON CONFLICT (owner_id) DO UPDATE SET role = excluded.role, token_hash = excluded.token_hash,
    include_names = excluded.include_names, created_at = excluded.created_at`,
		owner.ID, string(owner.Role), hash[:], names, s.clock())
	if err == nil && tag.RowsAffected() == 0 {
		return "", booking.ErrDeparted
	}
	return token, err
}

// RevokeCalendar makes the feed's address lead nowhere.
func (s *Store) RevokeCalendar(ctx context.Context, owner uuid.UUID) error {
	tag, err := s.pool.Exec(ctx, `DELETE FROM calendars WHERE owner_id = $1`, owner)
	if err == nil && tag.RowsAffected() == 0 {
		return booking.ErrNotFound
	}
	return err
}

// CalendarEntry is an appointment in a feed. Name is the other person's: a doctor's always, a patient's only when
// the doctor asked for names; empty when unknown.
type CalendarEntry struct {
	booking.Appointment
	Name string
}

// calendarOf is the statement for the appointments of a person, who is in the column own, with the name of who is in the
// column other. Each part walks the index of the person's appointments by start and stops at its limit.
func calendarOf(own, other string) string {
	part := func(shown, order, limit string) string {
		return `(SELECT id, doctor_id, patient_id, status, starts_at, ends_at, version, created_at, updated_at FROM appointments
    WHERE ` + own + ` = $1 AND ` + shown + ` ORDER BY starts_at ` + order + ` LIMIT ` + limit + `)`
	}
	return `
SELECT a.id, a.doctor_id, a.patient_id, a.status, a.starts_at, a.ends_at, a.version, a.created_at, a.updated_at,
    CASE WHEN $4 THEN coalesce((SELECT p.name FROM people AS p WHERE p.id = a.` + other + `), '') ELSE '' END
FROM (
    ` + part(`starts_at >= $2 AND status IN ('requested', 'booked')`, `ASC`, `$5`) + ` UNION ALL
    ` + part(`starts_at >= $2 AND status = 'cancelled'`, `ASC`, `$7`) + ` UNION ALL
    ` + part(`starts_at >= $3 AND starts_at < $2 AND status IN ('requested', 'booked', 'completed', 'no_show')`, `DESC`, `$6`) + `
) AS a ORDER BY a.starts_at, a.id`
}

var (
	calendarOfPatient = calendarOf("patient_id", "doctor_id")
	calendarOfDoctor  = calendarOf("doctor_id", "patient_id")
)

// Calendar is what the feed of the token shows; ErrNotFound when there is no such feed.
func (s *Store) Calendar(ctx context.Context, token string) (role booking.Role, entries []CalendarEntry, err error) {
	hash := sha256.Sum256([]byte(token))
	var owner uuid.UUID
	var names bool
	err = s.pool.QueryRow(ctx, `SELECT owner_id, role, include_names FROM calendars WHERE token_hash = $1`, hash[:]).
		Scan(&owner, &role, &names)
	if errors.Is(err, pgx.ErrNoRows) {
		return "", nil, booking.ErrNotFound
	}
	if err != nil {
		return "", nil, err
	}
	sql, now := calendarOfDoctor, s.clock()
	if role == booking.Patient {
		sql, names = calendarOfPatient, true // a doctor's name is no secret
	}
	rows, err := s.pool.Query(ctx, sql, owner, now, now.Add(-calendarPast), names, calendarToCome, calendarBegun, calendarCancelled)
	if err != nil {
		return "", nil, err
	}
	entries, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (e CalendarEntry, err error) {
		err = row.Scan(&e.ID, &e.DoctorID, &e.PatientID, &e.Status, &e.Slot.StartsAt, &e.Slot.EndsAt, &e.Version,
			&e.CreatedAt, &e.UpdatedAt, &e.Name)
		return e, err
	})
	return role, entries, err
}

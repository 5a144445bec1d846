package postgres

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/healthmed/healthmed/services/scheduling/internal/booking"
)

const appointmentColumns = `id, doctor_id, patient_id, status, starts_at, ends_at, blocked_until, time_zone,
coalesce(reason, ''), version, expires_at, created_at, updated_at`

func scanAppointment(row pgx.CollectableRow) (a booking.Appointment, err error) {
	var expires *time.Time
	err = row.Scan(&a.ID, &a.DoctorID, &a.PatientID, &a.Status, &a.Slot.StartsAt, &a.Slot.EndsAt, &a.BlockedUntil,
		&a.TimeZone, &a.Reason, &a.Version, &expires, &a.CreatedAt, &a.UpdatedAt)
	a.ExpiresAt = value(expires)
	return a, err
}

func loadAppointment(ctx context.Context, q querier, id uuid.UUID) (booking.Appointment, error) {
	rows, err := q.Query(ctx, `SELECT `+appointmentColumns+` FROM appointments WHERE id = $1 AND status <> 'held'`, id)
	if err != nil {
		return booking.Appointment{}, err
	}
	return pgx.CollectExactlyOneRow(rows, scanAppointment)
}

const lockAppointment = `SELECT ` + appointmentColumns + ` FROM appointments WHERE id = $1 AND status <> 'held' FOR UPDATE`

// Appointment is one appointment, as one of its two people or an attendant sees it.
func (s *Store) Appointment(ctx context.Context, id uuid.UUID, by booking.Actor) (booking.Appointment, error) {
	a, err := loadAppointment(ctx, s.pool, id)
	if errors.Is(err, pgx.ErrNoRows) || err == nil && !a.MayRead(by) {
		return booking.Appointment{}, booking.ErrNotFound
	}
	return a, err
}

// Filter narrows a list of appointments. Zero values don't narrow.
type Filter struct {
	DoctorID, PatientID uuid.UUID
	Status              booking.Status
	From, To            time.Time // starts_at in [From, To)
	AfterStart          time.Time // the last one of the page before
	AfterID             uuid.UUID
	Limit               int
}

// Appointments lists by start, earliest first.
func (s *Store) Appointments(ctx context.Context, f Filter) ([]booking.Appointment, error) {
	// Written out per filter, so that each is planned with its own index.
	sql := `SELECT ` + appointmentColumns + ` FROM appointments WHERE status <> 'held'`
	var args []any
	and := func(condition string, values ...any) {
		for _, v := range values {
			args = append(args, v)
			condition = strings.Replace(condition, "?", "$"+strconv.Itoa(len(args)), 1)
		}
		sql += ` AND ` + condition
	}
	if f.DoctorID != uuid.Nil {
		and(`doctor_id = ?`, f.DoctorID)
	}
	if f.PatientID != uuid.Nil {
		and(`patient_id = ?`, f.PatientID)
	}
	if f.Status != "" {
		and(`status = ?`, string(f.Status))
	}
	if !f.From.IsZero() {
		and(`starts_at >= ?`, f.From)
	}
	if !f.To.IsZero() {
		and(`starts_at < ?`, f.To)
	}
	if f.AfterID != uuid.Nil {
		and(`(starts_at, id) > (?, ?)`, f.AfterStart, f.AfterID)
	}
	args = append(args, f.Limit)
	sql += ` ORDER BY starts_at, id LIMIT $` + strconv.Itoa(len(args))
	rows, err := s.pool.Query(ctx, sql, args...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, scanAppointment)
}

// History is what happened to an appointment, oldest first.
func (s *Store) History(ctx context.Context, id uuid.UUID, by booking.Actor) ([]booking.Entry, error) {
	if _, err := s.Appointment(ctx, id, by); err != nil {
		return nil, err
	}
	rows, err := s.pool.Query(ctx, `SELECT version, action, status, actor_role, actor_id, coalesce(note, ''), starts_at,
ends_at, at FROM appointment_history WHERE appointment_id = $1 ORDER BY version`, id)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (e booking.Entry, err error) {
		err = row.Scan(&e.Version, &e.Action, &e.Status, &e.By.Role, &e.By.ID, &e.Note, &e.Slot.StartsAt,
			&e.Slot.EndsAt, &e.At)
		return e, err
	})
}

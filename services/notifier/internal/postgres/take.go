package postgres

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/healthmed/healthmed/pkg/telemetry"
	"github.com/healthmed/healthmed/services/notifier/internal/notice"
)

// TakeIn records an event and what it causes, in one statement and so in one transaction. An event that was taken in
// before changes nothing; an older state never overwrites a newer one. New deliveries keep the context's origin, but for
// agendas, which no single event causes. It returns the number of new deliveries.
func (s *Store) TakeIn(ctx context.Context, eventID uuid.UUID, plan notice.Plan, now time.Time) (int, error) {
	rows := newDrafts(len(plan.Drafts))
	for _, d := range plan.Drafts {
		if err := rows.add(d, now); err != nil {
			return 0, err
		}
	}
	origin := telemetry.OriginOf(ctx)
	a := plan.Appointment
	if a == nil {
		a = &notice.Appointment{}
	}
	var added int
	err := s.pool.QueryRow(ctx, `
		WITH fresh AS (
			INSERT INTO inbox (event_id, received_at) VALUES ($1, $2) ON CONFLICT DO NOTHING RETURNING event_id
		), state AS (
			INSERT INTO appointments (id, doctor_id, patient_id, starts_at, ends_at, time_zone, status, version, actor_role, updated_at)
			SELECT $3, $4, $5, $6, $7, $8, $9, $10, $11, $2 FROM fresh WHERE $12
			ON CONFLICT (id) DO UPDATE SET doctor_id = excluded.doctor_id, patient_id = excluded.patient_id,
				starts_at = excluded.starts_at, ends_at = excluded.ends_at, time_zone = excluded.time_zone,
				status = excluded.status, version = excluded.version, actor_role = excluded.actor_role,
				updated_at = excluded.updated_at
			WHERE appointments.version < excluded.version
		), added AS (
			INSERT INTO deliveries (id, event_id, template, recipient_id, doctor_id, patient_id, appointment_id, version,
				detail, status, planned_at, expires_at, due_at, created_at, updated_at, request_id, trace_parent)
			SELECT r.id, r.event_id, r.template, r.recipient_id, r.doctor_id, r.patient_id, r.appointment_id, r.version,
				r.detail, 'pending', r.planned_at, r.expires_at, greatest(r.planned_at, least($2, now())), $2, $2,
				CASE WHEN r.template <> $26 THEN $24 ELSE '' END, CASE WHEN r.template <> $26 THEN $25 ELSE '' END
			FROM fresh, unnest($13::uuid[], $14::uuid[], $15::text[], $16::uuid[], $17::uuid[], $18::uuid[], $19::uuid[],
				$20::bigint[], $21::jsonb[], $22::timestamptz[], $23::timestamptz[])
				AS r(id, event_id, template, recipient_id, doctor_id, patient_id, appointment_id, version, detail, planned_at, expires_at)
			ON CONFLICT DO NOTHING RETURNING 1
		)
		SELECT count(*) FROM added`,
		eventID, now,
		a.ID, a.DoctorID, a.PatientID, a.StartsAt, a.EndsAt, a.TimeZone, a.Status, a.Version, a.ActorRole, plan.Appointment != nil,
		rows.id, rows.eventID, rows.template, rows.recipientID, rows.doctorID, rows.patientID, rows.appointmentID,
		rows.version, rows.detail, rows.plannedAt, rows.expiresAt, origin.RequestID, origin.TraceParent, string(notice.DoctorAgenda),
	).Scan(&added)
	if err != nil {
		return 0, fmt.Errorf("take in event: %w", err)
	}
	return added, nil
}

// AccountMail records a message of a person's account. Its secret leaves the database once the delivery is final.
func (s *Store) AccountMail(ctx context.Context, d notice.Draft, secret notice.Account, now time.Time) (bool, error) {
	id, err := uuid.NewV7()
	if err != nil {
		return false, err
	}
	origin := telemetry.OriginOf(ctx)
	tag, err := s.pool.Exec(ctx, `
		INSERT INTO deliveries (id, event_id, template, recipient_id, version, detail, secret, status,
			planned_at, expires_at, due_at, created_at, updated_at, request_id, trace_parent)
		VALUES ($1, $2, $3, $4, 0, '{}', $5, 'pending', $6, $7, $8, $8, $8, $9, $10)
		ON CONFLICT DO NOTHING`,
		id, d.EventID, d.Template, d.RecipientID, secret, d.PlannedAt, nullTime(d.ExpiresAt), now, origin.RequestID, origin.TraceParent)
	if err != nil {
		return false, fmt.Errorf("take in account message: %w", err)
	}
	return tag.RowsAffected() == 1, nil
}

// drafts are the columns of new deliveries.
type drafts struct {
	id, eventID, recipientID           []uuid.UUID
	doctorID, patientID, appointmentID []*uuid.UUID
	template                           []string
	version                            []int64
	detail                             []json.RawMessage
	plannedAt                          []time.Time
	expiresAt                          []*time.Time
}

func newDrafts(n int) *drafts {
	return &drafts{id: make([]uuid.UUID, 0, n)}
}

func (r *drafts) add(d notice.Draft, now time.Time) error {
	id, err := uuid.NewV7()
	if err != nil {
		return err
	}
	detail, err := json.Marshal(d.Detail)
	if err != nil {
		return fmt.Errorf("encode detail: %w", err)
	}
	r.id = append(r.id, id)
	r.eventID = append(r.eventID, d.EventID)
	r.template = append(r.template, string(d.Template))
	r.recipientID = append(r.recipientID, d.RecipientID)
	r.doctorID = append(r.doctorID, nullID(d.DoctorID))
	r.patientID = append(r.patientID, nullID(d.PatientID))
	r.appointmentID = append(r.appointmentID, nullID(d.AppointmentID))
	r.version = append(r.version, d.Version)
	r.detail = append(r.detail, detail)
	r.plannedAt = append(r.plannedAt, d.Planned(now))
	r.expiresAt = append(r.expiresAt, nullTime(d.ExpiresAt))
	return nil
}

func nullID(id uuid.UUID) *uuid.UUID {
	if id == uuid.Nil {
		return nil
	}
	return &id
}

func nullTime(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

// rowsOf collects rows with a scan function per row type.
func rowsOf[T any](ctx context.Context, q interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}, sql string, scan pgx.RowToFunc[T], args ...any) ([]T, error) {
	rows, err := q.Query(ctx, sql, args...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, scan)
}

package postgres

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/healthmed/healthmed/pkg/telemetry"
	"github.com/healthmed/healthmed/services/notifier/internal/notice"
)

// Taken is an event and what it causes.
type Taken struct {
	EventID uuid.UUID
	Plan    notice.Plan
	Origin  telemetry.Origin // kept with new deliveries, but for agendas, which no single event causes
}

// TakeIn records events and what they cause, in one statement and so in one transaction. An event that was taken in
// before changes nothing; an older state never overwrites a newer one. It returns the number of new deliveries.
//
// Replicas may be given the same events, events of the same appointments, or of appointments in the same agendas, at
// once: each table is written in the order of its keys, so that none waits for one that waits for it.
func (s *Store) TakeIn(ctx context.Context, taken []Taken, now time.Time) (int, error) {
	events := make([]uuid.UUID, 0, len(taken))
	var states states
	rows := newDrafts(2 * len(taken))
	for _, t := range taken {
		events = append(events, t.EventID)
		states.add(t)
		for _, d := range t.Plan.Drafts {
			if err := rows.add(t, d, now); err != nil {
				return 0, err
			}
		}
	}
	slices.SortFunc(events, func(a, b uuid.UUID) int { return bytes.Compare(a[:], b[:]) })
	var added int
	err := s.pool.QueryRow(ctx, `
		WITH fresh AS (
			INSERT INTO inbox (event_id, received_at) SELECT id, $2 FROM unnest($1::uuid[]) AS id
			ON CONFLICT DO NOTHING RETURNING event_id
		), state AS (
			INSERT INTO appointments (id, doctor_id, patient_id, starts_at, ends_at, time_zone, status, version, actor_role, updated_at)
			SELECT DISTINCT ON (a.id) a.id, a.doctor_id, a.patient_id, a.starts_at, a.ends_at, a.time_zone, a.status, a.version,
				a.actor_role, $2
			FROM fresh JOIN unnest($3::uuid[], $4::uuid[], $5::uuid[], $6::uuid[], $7::timestamptz[], $8::timestamptz[], $9::text[],
				$10::text[], $11::bigint[], $12::text[])
				AS a(event_id, id, doctor_id, patient_id, starts_at, ends_at, time_zone, status, version, actor_role) USING (event_id)
			ORDER BY a.id, a.version DESC
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
				r.request_id, r.trace_parent
			FROM fresh JOIN unnest($13::uuid[], $14::uuid[], $15::uuid[], $16::text[], $17::uuid[], $18::uuid[], $19::uuid[], $20::uuid[],
				$21::bigint[], $22::jsonb[], $23::timestamptz[], $24::timestamptz[], $25::text[], $26::text[])
				AS r(cause, id, event_id, template, recipient_id, doctor_id, patient_id, appointment_id, version, detail, planned_at,
					expires_at, request_id, trace_parent) ON r.cause = fresh.event_id
			ORDER BY r.event_id, r.template, r.recipient_id
			ON CONFLICT DO NOTHING RETURNING 1
		)
		SELECT count(*) FROM added`,
		events, now,
		states.eventID, states.id, states.doctorID, states.patientID, states.startsAt, states.endsAt, states.timeZone,
		states.status, states.version, states.actorRole,
		rows.cause, rows.id, rows.eventID, rows.template, rows.recipientID, rows.doctorID, rows.patientID, rows.appointmentID,
		rows.version, rows.detail, rows.plannedAt, rows.expiresAt, rows.requestID, rows.traceParent,
	).Scan(&added)
	if err != nil {
		return 0, fmt.Errorf("take in events: %w", err)
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

// states are the columns of appointments as events tell them.
type states struct {
	eventID, id, doctorID, patientID []uuid.UUID
	startsAt, endsAt                 []time.Time
	timeZone, status, actorRole      []string
	version                          []int64
}

func (s *states) add(t Taken) {
	a := t.Plan.Appointment
	if a == nil {
		return
	}
	s.eventID = append(s.eventID, t.EventID)
	s.id = append(s.id, a.ID)
	s.doctorID = append(s.doctorID, a.DoctorID)
	s.patientID = append(s.patientID, a.PatientID)
	s.startsAt = append(s.startsAt, a.StartsAt)
	s.endsAt = append(s.endsAt, a.EndsAt)
	s.timeZone = append(s.timeZone, a.TimeZone)
	s.status = append(s.status, a.Status)
	s.version = append(s.version, a.Version)
	s.actorRole = append(s.actorRole, a.ActorRole)
}

// drafts are the columns of new deliveries. cause is the event that was taken in.
type drafts struct {
	cause, id, eventID, recipientID    []uuid.UUID
	doctorID, patientID, appointmentID []*uuid.UUID
	template, requestID, traceParent   []string
	version                            []int64
	detail                             []json.RawMessage
	plannedAt                          []time.Time
	expiresAt                          []*time.Time
}

func newDrafts(n int) *drafts {
	return &drafts{id: make([]uuid.UUID, 0, n)}
}

func (r *drafts) add(t Taken, d notice.Draft, now time.Time) error {
	id, err := uuid.NewV7()
	if err != nil {
		return err
	}
	detail, err := json.Marshal(d.Detail)
	if err != nil {
		return fmt.Errorf("encode detail: %w", err)
	}
	origin := t.Origin
	if d.Template == notice.DoctorAgenda {
		origin = telemetry.Origin{}
	}
	r.requestID = append(r.requestID, origin.RequestID)
	r.traceParent = append(r.traceParent, origin.TraceParent)
	r.cause = append(r.cause, t.EventID)
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

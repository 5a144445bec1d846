package postgres

import (
	"context"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/healthmed/healthmed/pkg/events"
	"github.com/healthmed/healthmed/pkg/outbox"
	"github.com/healthmed/healthmed/pkg/telemetry"
	"github.com/healthmed/healthmed/services/notifier/internal/notice"
)

// marks are the changes that one claim makes, written as one batch.
type marks struct {
	// leases
	leased              []uuid.UUID
	until               []time.Time
	told                []*int64
	toldStart, toldEnds []*time.Time
	invited             []bool
	// all else
	id      []uuid.UUID
	status  []string
	due     []time.Time
	reason  []string
	missing []*uuid.UUID
	failed  []failure
}

// failure is a delivery that has failed for good, as its event tells.
type failure struct {
	id          uuid.UUID
	published   int
	eventID     uuid.UUID
	template    notice.Template
	recipientID uuid.UUID
	reason      string
	origin      telemetry.Origin
}

func (m *marks) lease(c candidate, n notice.Notice, until time.Time) {
	m.leased = append(m.leased, c.ID)
	m.until = append(m.until, until)
	var told *int64
	var start, end *time.Time
	if c.Draft.Template.Announces() {
		told, start, end = &n.Appointment.Version, &n.Appointment.StartsAt, &n.Appointment.EndsAt
	}
	m.told = append(m.told, told)
	m.toldStart = append(m.toldStart, start)
	m.toldEnds = append(m.toldEnds, end)
	m.invited = append(m.invited, n.Template.Invites())
}

func (m *marks) add(id uuid.UUID, status notice.Status, due time.Time, reason string, missing uuid.UUID) {
	m.id = append(m.id, id)
	m.status = append(m.status, string(status))
	m.due = append(m.due, due)
	m.reason = append(m.reason, reason)
	m.missing = append(m.missing, nullID(missing))
}

func (m *marks) save(ctx context.Context, tx pgx.Tx, now time.Time) error {
	var b pgx.Batch
	if len(m.leased) > 0 {
		// After an attempt in doubt, what that one told stays noted until another is accepted: it may be all that the reader
		// ever gets.
		b.Queue(`
			UPDATE deliveries d SET status = 'sending', due_at = r.until, attempts = d.attempts + 1, missing_id = NULL,
				told_version = CASE WHEN d.resends > 0 THEN d.told_version ELSE r.told END,
				told_starts_at = CASE WHEN d.resends > 0 THEN d.told_starts_at ELSE r.starts END,
				told_ends_at = CASE WHEN d.resends > 0 THEN d.told_ends_at ELSE r.ends END,
				told_invited = CASE WHEN d.resends > 0 THEN d.told_invited ELSE r.invited END, updated_at = $7
			FROM unnest($1::uuid[], $2::timestamptz[], $3::bigint[], $4::timestamptz[], $5::timestamptz[], $6::boolean[])
				AS r(id, until, told, starts, ends, invited)
			WHERE d.id = r.id`, m.leased, m.until, m.told, m.toldStart, m.toldEnds, m.invited, now)
	}
	if len(m.id) > 0 {
		b.Queue(`
			UPDATE deliveries d SET status = r.status, due_at = r.due, last_error = r.reason, missing_id = r.missing,
				secret = CASE WHEN r.status IN ('waiting', 'pending') THEN d.secret END,
				published = d.published + (r.status = 'failed')::integer, updated_at = $6
			FROM unnest($1::uuid[], $2::text[], $3::timestamptz[], $4::text[], $5::uuid[]) AS r(id, status, due, reason, missing)
			WHERE d.id = r.id`, m.id, m.status, m.due, m.reason, m.missing, now)
	}
	envs := make([]events.Envelope, 0, len(m.failed))
	for _, f := range m.failed {
		env, err := events.New(&events.DeliveryFailed{Delivery: events.Delivery{
			DeliveryID: f.id, EventID: f.eventID, Template: string(f.template), RecipientID: f.recipientID,
			Reason: f.reason, OccurredAt: now,
		}}, int64(f.published)+1)
		if err != nil {
			return err
		}
		env.CorrelationID, env.TraceParent = f.origin.RequestID, f.origin.TraceParent
		envs = append(envs, env)
	}
	if err := outbox.Queue(ctx, &b, envs...); err != nil {
		return err
	}
	if len(m.failed) > 0 {
		b.Queue(`
			INSERT INTO dead_letters (id, stream, stream_seq, durable, subject, reason, attempts, failed_at)
			SELECT d.id, 'deliveries', 0, 'notifier-worker', d.template, d.last_error, d.attempts, $2
			FROM deliveries d WHERE d.id = ANY($1) AND d.status = 'failed'
			ON CONFLICT (id) DO UPDATE SET reason = excluded.reason, failed_at = excluded.failed_at, redriven_at = NULL`, m.id, now)
	}
	return tx.SendBatch(ctx, &b).Close()
}

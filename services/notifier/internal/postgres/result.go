package postgres

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/healthmed/healthmed/pkg/events"
	"github.com/healthmed/healthmed/pkg/outbox"
	"github.com/healthmed/healthmed/services/notifier/internal/notice"
)

// Result is what came of a job.
type Result struct {
	Job     Job
	Outcome notice.Outcome
	At      time.Time // when it came
	Next    notice.Next
}

// Failed is a delivery that ended as failed, for metrics.
type Failed struct {
	Template notice.Template
	Reason   string
}

// Record saves results, and the events that tell of them, in one transaction. A result counts for the attempt that
// made it alone; where feedback or another worker has moved the delivery on meanwhile, nothing changes.
// It returns the number of deliveries that changed, and those of them that failed.
//
// The CASE keeps the planner from finding the deliveries by their status: all that was ever sent has been in
// deliveries_due as sending, and until the next vacuum a bitmap of the dead entries costs more than all else.
func (s *Store) Record(ctx context.Context, results []Result, now time.Time) (changed int, failed []Failed, err error) {
	var (
		id              []uuid.UUID
		attempt         []int
		status          []string
		due, at         []time.Time
		reason, message []*string
	)
	for _, r := range results {
		id = append(id, r.Job.Notice.DeliveryID)
		attempt = append(attempt, r.Job.Attempt)
		status = append(status, string(r.Next.Status))
		due = append(due, r.Next.DueAt)
		at = append(at, r.At)
		reason = append(reason, nullText(r.Next.Reason))
		message = append(message, nullText(r.Outcome.MessageID))
	}
	err = pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		rows, err := rowsOf(ctx, tx, `
			UPDATE deliveries d SET status = r.status, due_at = r.due, last_error = r.reason,
				ses_message_id = coalesce(r.message, d.ses_message_id),
				sent_at = CASE WHEN r.status = 'sent' THEN r.at ELSE d.sent_at END,
				secret = CASE WHEN r.status IN ('sent', 'failed') THEN NULL ELSE d.secret END,
				published = d.published + (r.status IN ('sent', 'failed'))::integer, updated_at = $7
			FROM unnest($1::uuid[], $2::integer[], $3::text[], $4::timestamptz[], $5::text[], $6::text[], $8::timestamptz[])
				AS r(id, attempt, status, due, reason, message, at)
			WHERE d.id = r.id AND d.attempts = r.attempt
				AND CASE WHEN r.status = 'sent' THEN d.status IN ('sending', 'unknown', 'pending') ELSE d.status = 'sending' END
			RETURNING `+toldColumns, scanTold, id, attempt, status, due, reason, message, now, at)
		if err != nil {
			return err
		}
		changed, failed = len(rows), failedOf(rows)
		if err := retell(ctx, tx, results); err != nil {
			return err
		}
		return publish(ctx, tx, rows, now)
	})
	if err != nil {
		return 0, nil, fmt.Errorf("record results: %w", err)
	}
	return changed, failed, nil
}

// retell notes what attempts after one in doubt told, as far as they may have told it; until then, what that one told
// stood. There are few.
func retell(ctx context.Context, tx pgx.Tx, results []Result) error {
	var b pgx.Batch
	for _, r := range results {
		n := r.Job.Notice
		if !r.Job.Resent || !n.Template.Announces() || r.Next.Status != notice.Sent && r.Next.Status != notice.Unknown {
			continue
		}
		b.Queue(`UPDATE deliveries SET told_version = $3, told_starts_at = $4, told_ends_at = $5, told_invited = told_invited OR $6
			WHERE id = $1 AND attempts = $2`,
			n.DeliveryID, r.Job.Attempt, n.Appointment.Version, n.Appointment.StartsAt, n.Appointment.EndsAt, n.Template.Invites())
	}
	if b.Len() == 0 {
		return nil
	}
	return tx.SendBatch(ctx, &b).Close()
}

// Swept is what Sweep found.
type Swept struct {
	Lost   int      // leases that ended without a result
	Resent int      // in-doubt attempts put back in the queue
	Failed []Failed // in-doubt attempts that were resent often enough
}

// Sweep brings forward what waits for the clock: a lease that ended without a result is in doubt (its worker may have
// died after sending); an in-doubt attempt that no feedback has settled is sent once more, unless it is a message that is
// sent at most once: that one is given up. A second time and further, up to t.Resends, only once feedback was heard of
// something sent later, because then its absence says that this was not; a quiet channel is waited for as long as a
// delivery is tried at all.
func (s *Store) Sweep(ctx context.Context, t notice.Timing, now time.Time) (Swept, error) {
	var out Swept
	err := pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, `
			UPDATE deliveries SET status = 'unknown', due_at = $2, last_error = $3, updated_at = $1
			WHERE id IN (SELECT id FROM deliveries WHERE status = 'sending' AND due_at <= $1 LIMIT 1000 FOR UPDATE SKIP LOCKED)`,
			now, now.Add(t.Settle), notice.ReasonLeaseExpired)
		if err != nil {
			return err
		}
		out.Lost = int(tag.RowsAffected())
		rows, err := rowsOf(ctx, tx, `
			UPDATE deliveries d SET
				status = CASE WHEN again THEN 'pending' ELSE 'failed' END,
				last_error = CASE WHEN again THEN last_error ELSE $3 END,
				secret = CASE WHEN again THEN secret END,
				published = published + (NOT again)::integer,
				resends = resends + again::integer,
				due_at = $1, updated_at = $1
			FROM (SELECT u.id AS key, u.template <> ALL($6) AND (u.resends < 1 OR u.resends < $2 AND f.seen_at > u.updated_at + $5) AS again
				FROM deliveries u CROSS JOIN feedback f
				WHERE u.status = 'unknown' AND u.due_at <= $1 AND (u.resends < 1 OR u.resends >= $2
					OR f.seen_at > u.updated_at + $5 OR u.planned_at <= $4 OR u.template = ANY($6))
				LIMIT 1000 FOR UPDATE OF u SKIP LOCKED) due
			WHERE d.id = due.key
			RETURNING `+toldColumns, scanTold, now, t.Resends, notice.ReasonInDoubt, now.Add(-notice.Window), t.Settle/2, onceOnly())
		if err != nil {
			return err
		}
		out.Failed = failedOf(rows)
		out.Resent = len(rows) - len(out.Failed)
		return publish(ctx, tx, rows, now)
	})
	if err != nil {
		return Swept{}, fmt.Errorf("sweep deliveries: %w", err)
	}
	return out, nil
}

// onceOnly are the templates that aren't sent again after a doubt.
func onceOnly() (names []string) {
	for _, t := range notice.Templates() {
		if t.Once() {
			names = append(names, string(t))
		}
	}
	return names
}

// told is a changed delivery as its event tells of it.
type told struct {
	failure
	status notice.Status
}

const toldColumns = `d.id, d.event_id, d.template, d.recipient_id, coalesce(d.last_error, ''), d.published,
	d.request_id, d.trace_parent, d.status`

func scanTold(row pgx.CollectableRow) (told, error) {
	var t told
	err := row.Scan(&t.id, &t.eventID, &t.template, &t.recipientID, &t.reason, &t.published,
		&t.origin.RequestID, &t.origin.TraceParent, &t.status)
	return t, err
}

func failedOf(rows []told) (failed []Failed) {
	for _, r := range rows {
		if r.status == notice.Failed {
			failed = append(failed, Failed{r.template, r.reason})
		}
	}
	return failed
}

// publish appends the events of deliveries that became final.
func publish(ctx context.Context, tx pgx.Tx, rows []told, now time.Time) error {
	var envs []events.Envelope
	for _, r := range rows {
		d := events.Delivery{
			DeliveryID: r.id, EventID: r.eventID, Template: string(r.template), RecipientID: r.recipientID,
			Reason: r.reason, OccurredAt: now,
		}
		var ev events.Event
		switch r.status {
		case notice.Sent:
			ev = &events.DeliverySent{Delivery: d}
		case notice.Failed:
			ev = &events.DeliveryFailed{Delivery: d}
		case notice.Bounced, notice.Complained:
			ev = &events.DeliveryBounced{Delivery: d}
		default:
			continue
		}
		env, err := events.New(ev, int64(r.published))
		if err != nil {
			return err
		}
		env.CorrelationID, env.TraceParent = r.origin.RequestID, r.origin.TraceParent
		envs = append(envs, env)
	}
	if len(envs) == 0 {
		return nil
	}
	var b pgx.Batch
	if err := outbox.Queue(ctx, &b, envs...); err != nil {
		return err
	}
	return tx.SendBatch(ctx, &b).Close()
}

func nullText(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

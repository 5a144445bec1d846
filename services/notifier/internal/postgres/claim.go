package postgres

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/healthmed/healthmed/pkg/telemetry"
	"github.com/healthmed/healthmed/services/notifier/internal/notice"
)

// Job is a delivery that is leased to this worker until its lease ends. Attempt is the fencing number: a result is
// only recorded for the attempt that made it.
type Job struct {
	Notice    notice.Notice
	Origin    telemetry.Origin
	Attempt   int
	Resent    bool // an earlier attempt was in doubt
	PlannedAt time.Time
}

// Claimed is what one claim did.
type Claimed struct {
	Jobs    []Job
	Looked  int            // due rows that were looked at; fewer than asked for means that no more are due
	Skipped map[string]int // by reason
	Failed  []Failed
}

// Claim leases up to n due deliveries and commits the lease before anything is sent. On the way it decides, with the
// latest state, which due deliveries are not sent at all.
//
// Deliveries about one appointment to one person are decided one claim at a time (an advisory lock per thread), and
// what the reader has heard is read after the lock is held: two replicas can't both tell the same news.
func (s *Store) Claim(ctx context.Context, n int, lease time.Duration, now time.Time) (Claimed, error) {
	var out Claimed
	err := pgx.BeginTxFunc(ctx, s.pool, inOrder, func(tx pgx.Tx) error {
		out = Claimed{Skipped: map[string]int{}}
		due, err := rowsOf(ctx, tx, `
			SELECT id, template FROM deliveries WHERE status IN ('pending', 'waiting') AND due_at <= $1
			ORDER BY due_at, version LIMIT $2 FOR UPDATE SKIP LOCKED`, pgx.RowToStructByPos[dueRow], now, n)
		if err != nil || len(due) == 0 {
			return err
		}
		out.Looked = len(due)
		candidates, err := load(ctx, tx, due)
		if err != nil {
			return err
		}
		var marks marks
		heard := map[[2]uuid.UUID]notice.Heard{}
		for _, c := range candidates {
			out.Jobs = decide(c, heard, &marks, out.Jobs, lease, now)
		}
		for _, r := range marks.reason {
			if r != "" {
				out.Skipped[r]++
			}
		}
		for _, f := range marks.failed {
			out.Failed = append(out.Failed, Failed{f.template, f.reason})
		}
		return marks.save(ctx, tx, now)
	})
	if err != nil {
		return Claimed{}, fmt.Errorf("claim deliveries: %w", err)
	}
	return out, nil
}

// inOrder makes PostgreSQL walk deliveries_claim in its order and stop at the limit, and find everything else by index.
// Left to itself it plans by statistics from before a burst, when hardly anything was due and tables were short: it would
// read and sort all that is due, or join whole tables for ten rows, and keep that plan while they grow.
var inOrder = pgx.TxOptions{BeginQuery: `BEGIN; SET LOCAL enable_bitmapscan = off; SET LOCAL enable_seqscan = off;
	SET LOCAL enable_hashjoin = off; SET LOCAL enable_mergejoin = off`}

// decide lets the domain decide on one candidate, and notes for the same thread's later candidates what was told.
func decide(c candidate, heard map[[2]uuid.UUID]notice.Heard, m *marks, jobs []Job, lease time.Duration, now time.Time) []Job {
	thread := [2]uuid.UUID{c.Draft.AppointmentID, c.Draft.RecipientID}
	if h, ok := heard[thread]; ok && c.Appointment != nil {
		c.Heard = h
	}
	d := c.Decide(now)
	switch d.Verdict {
	case notice.Send:
		m.lease(c, d.Notice, now.Add(lease))
		if c.Draft.Template.Announces() {
			a := d.Notice.Appointment
			heard[thread] = notice.Heard{
				Version: a.Version, Told: notice.Interval{StartsAt: a.StartsAt, EndsAt: a.EndsAt},
				Invited: c.Heard.Invited || d.Notice.Template.Invites(), At: now,
			}
		}
		return append(jobs, Job{Notice: d.Notice, Origin: c.origin, Attempt: c.Attempts + 1, Resent: c.resends > 0, PlannedAt: c.Draft.PlannedAt})
	case notice.Wait:
		m.add(c.ID, notice.Waiting, d.At, d.Reason, d.Missing)
	case notice.Hold:
		m.add(c.ID, notice.Pending, d.At, d.Reason, uuid.Nil)
	case notice.Skip:
		m.add(c.ID, notice.Skipped, now, d.Reason, uuid.Nil)
	case notice.Fail:
		m.add(c.ID, notice.Failed, now, d.Reason, uuid.Nil)
		m.failed = append(m.failed, failure{c.ID, c.published, c.Draft.EventID, c.Draft.Template, c.Draft.RecipientID, d.Reason, c.origin})
	}
	return jobs
}

// candidate is the domain's candidate with the sequence of its events and what they carry on.
type candidate struct {
	notice.Candidate
	published int
	resends   int
	origin    telemetry.Origin
}

// dueRow is a due delivery that was locked.
type dueRow struct {
	ID       uuid.UUID
	Template notice.Template
}

// load takes the threads' locks and, in a later statement that sees whatever committed meanwhile, all that the
// decision needs. Candidates whose thread another worker is deciding are left for the next round.
func load(ctx context.Context, tx pgx.Tx, due []dueRow) ([]candidate, error) {
	var ids, agendas []uuid.UUID
	for _, d := range due {
		ids = append(ids, d.ID)
		if d.Template == notice.DoctorAgenda {
			agendas = append(agendas, d.ID)
		}
	}
	var (
		b      pgx.Batch
		locked []uuid.UUID
		all    []candidate
		agenda = map[uuid.UUID][]notice.AgendaItem{}
	)
	b.Queue(`SELECT id FROM deliveries WHERE id = ANY($1) AND (appointment_id IS NULL OR
		pg_try_advisory_xact_lock(hashtextextended(appointment_id::text || recipient_id::text, 0)))`, ids).
		Query(func(rows pgx.Rows) (err error) {
			locked, err = pgx.CollectRows(rows, pgx.RowTo[uuid.UUID])
			return err
		})
	b.Queue(candidateSQL, ids).Query(func(rows pgx.Rows) (err error) {
		all, err = pgx.CollectRows(rows, scanCandidate)
		return err
	})
	if len(agendas) > 0 {
		b.Queue(agendaSQL, agendas).Query(func(rows pgx.Rows) error {
			var id uuid.UUID
			var item notice.AgendaItem
			_, err := pgx.ForEachRow(rows, []any{&id, &item.StartsAt, &item.EndsAt, &item.PatientName}, func() error {
				agenda[id] = append(agenda[id], item)
				return nil
			})
			return err
		})
	}
	if err := tx.SendBatch(ctx, &b).Close(); err != nil {
		return nil, err
	}

	candidates := all[:0]
	for _, c := range all {
		if slices.Contains(locked, c.ID) {
			c.Agenda = agenda[c.ID]
			candidates = append(candidates, c)
		}
	}
	// Within a thread, the older news is looked at first: it takes the latest state along.
	slices.SortStableFunc(candidates, func(a, b candidate) int { return cmp.Compare(a.Draft.Version, b.Draft.Version) })
	return candidates, nil
}

const agendaSQL = `
	SELECT d.id, a.starts_at, a.ends_at, coalesce(c.name, '')
	FROM deliveries d
	JOIN appointments a ON a.doctor_id = d.doctor_id AND a.status = 'booked'
		AND a.starts_at >= (d.detail->'day'->>'starts_at')::timestamptz
		AND a.starts_at < (d.detail->'day'->>'ends_at')::timestamptz
	LEFT JOIN contacts c ON c.user_id = a.patient_id
	WHERE d.id = ANY($1)
	ORDER BY d.id, a.starts_at`

const candidateSQL = `
	SELECT d.id, d.event_id, d.template, d.recipient_id, d.doctor_id, d.patient_id, d.appointment_id, d.version, d.detail,
		d.secret, d.planned_at, d.expires_at, d.attempts, d.published, d.request_id, d.trace_parent,
		d.created_at, coalesce(d.told_version, 0), d.resends,
		a.id, a.starts_at, a.ends_at, a.time_zone, a.status, a.version, a.actor_role,
		r.user_id, r.role, r.name, r.email, r.locale, r.erased, r.undeliverable, r.agenda, r.reminders,
		doc.user_id, doc.name, pat.user_id, pat.name,
		coalesce(h.told_version, 0), h.told_starts_at, h.told_ends_at, coalesce(h.invited, false), h.at,
		coalesce(h.sending, false)
	FROM deliveries d
	LEFT JOIN appointments a ON a.id = d.appointment_id
	LEFT JOIN contacts r ON r.user_id = d.recipient_id
	LEFT JOIN contacts doc ON doc.user_id = d.doctor_id
	LEFT JOIN contacts pat ON pat.user_id = d.patient_id
	LEFT JOIN LATERAL (
		SELECT o.told_version, o.told_starts_at, o.told_ends_at, bool_or(o.told_invited) OVER () AS invited,
			coalesce(o.sent_at, o.updated_at) AS at, bool_or(o.status = 'sending') OVER () AS sending
		FROM deliveries o
		WHERE o.appointment_id = d.appointment_id AND o.recipient_id = d.recipient_id AND o.id <> d.id
			AND o.told_version IS NOT NULL
			AND (o.status IN ('sending', 'unknown', 'sent', 'bounced', 'complained') OR o.resends > 0) -- or an attempt in doubt
		ORDER BY o.told_version DESC LIMIT 1
	) h ON true
	WHERE d.id = ANY($1)`

func scanCandidate(row pgx.CollectableRow) (candidate, error) {
	var (
		c                                    candidate
		doctorID, patientID, appointmentID   *uuid.UUID
		expiresAt                            *time.Time
		aID, rID, docID, patID               *uuid.UUID
		aZone, aStatus, aActor               *string
		aStarts, aEnds                       *time.Time
		aVersion                             *int64
		rRole, rName, rEmail, rUndeliverable *string
		rLocale                              *notice.Locale
		rErased, rAgenda, rReminders         *bool
		docName, patName                     *string
		toldStarts, toldEnds, toldAt         *time.Time
	)
	err := row.Scan(&c.ID, &c.Draft.EventID, &c.Draft.Template, &c.Draft.RecipientID, &doctorID, &patientID, &appointmentID,
		&c.Draft.Version, &c.Draft.Detail, &c.Secret, &c.Draft.PlannedAt, &expiresAt, &c.Attempts, &c.published,
		&c.origin.RequestID, &c.origin.TraceParent, &c.CreatedAt, &c.Told, &c.resends,
		&aID, &aStarts, &aEnds, &aZone, &aStatus, &aVersion, &aActor,
		&rID, &rRole, &rName, &rEmail, &rLocale, &rErased, &rUndeliverable, &rAgenda, &rReminders,
		&docID, &docName, &patID, &patName,
		&c.Heard.Version, &toldStarts, &toldEnds, &c.Heard.Invited, &toldAt, &c.Heard.Sending)
	if err != nil {
		return c, err
	}
	c.Draft.DoctorID, c.Draft.PatientID, c.Draft.AppointmentID = deref(doctorID), deref(patientID), deref(appointmentID)
	c.Draft.ExpiresAt = deref(expiresAt)
	c.Heard.Told, c.Heard.At = notice.Interval{StartsAt: deref(toldStarts), EndsAt: deref(toldEnds)}, deref(toldAt)
	if aID != nil {
		c.Appointment = &notice.Appointment{
			ID: *aID, DoctorID: c.Draft.DoctorID, PatientID: c.Draft.PatientID, StartsAt: *aStarts, EndsAt: *aEnds,
			TimeZone: *aZone, Status: *aStatus, Version: *aVersion, ActorRole: *aActor,
		}
	}
	if rID != nil {
		c.Recipient = &notice.Contact{
			ID: *rID, Role: *rRole, Name: *rName, Email: *rEmail, Locale: *rLocale, Erased: *rErased,
			Undeliverable: *rUndeliverable, Agenda: *rAgenda, Reminders: *rReminders,
		}
	}
	if docID != nil {
		c.Doctor = &notice.Contact{ID: *docID, Name: *docName}
	}
	if patID != nil {
		c.Patient = &notice.Contact{ID: *patID, Name: *patName}
	}
	return c, nil
}

func deref[T any](p *T) T {
	var zero T
	if p == nil {
		return zero
	}
	return *p
}

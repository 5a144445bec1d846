package postgres

import (
	"context"
	"net/netip"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/healthmed/healthmed/services/users/internal/account"
)

const insertAudit = `
	INSERT INTO audit_log (id, at, actor_id, actor_role, action, subject_id, outcome, address, request_id, detail)
	VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)`

// auditRow are the arguments of insertAudit.
func (s *Store) auditRow(e account.Entry) []any {
	id, err := uuid.NewV7()
	if err != nil {
		id = uuid.New() // only the order within one microsecond is lost
	}
	var address *netip.Addr
	if e.Address.IsValid() {
		plain := e.Address.Unmap().WithZone("")
		address = &plain
	}
	var detail any
	if len(e.Detail) > 0 {
		detail = e.Detail
	}
	return []any{id, s.clock(), nullID(e.ActorID), null(string(e.ActorRole)), e.Action, nullID(e.SubjectID), e.Outcome, address, null(e.RequestID), detail}
}

func nullID(id uuid.UUID) *uuid.UUID {
	if id == uuid.Nil {
		return nil
	}
	return &id
}

func (s *Store) queueAudit(batch *pgx.Batch, e account.Entry) {
	batch.Queue(insertAudit, s.auditRow(e)...)
}

// Audit adds an entry of its own, for what changes nothing else: reading, signing in, being refused.
func (s *Store) Audit(ctx context.Context, e account.Entry) error {
	_, err := s.pool.Exec(ctx, insertAudit, s.auditRow(e)...)
	return err
}

// AuditFilter says which entries are wanted. Empty fields don't filter.
type AuditFilter struct {
	ActorID, SubjectID uuid.UUID
	Action             account.Action
	From, To           time.Time // from inclusive, to exclusive
	BeforeAt           time.Time // the last entry of the previous page
	BeforeID           uuid.UUID
	Limit              int
}

// AuditLog lists entries, the youngest first.
func (s *Store) AuditLog(ctx context.Context, f AuditFilter) ([]account.Entry, error) {
	if f.To.IsZero() {
		f.To = s.clock().Add(time.Hour)
	}
	if f.BeforeAt.IsZero() {
		f.BeforeAt = f.To
	}
	rows, err := s.pool.Query(ctx, `
		SELECT id, at, actor_id, coalesce(actor_role, ''), action, subject_id, outcome, address, coalesce(request_id, ''), detail
		FROM audit_log
		WHERE at >= $1 AND at < $2 AND (at, id) < ($3, $4)
			AND ($5::uuid IS NULL OR actor_id = $5) AND ($6::uuid IS NULL OR subject_id = $6) AND ($7 = '' OR action = $7)
		ORDER BY at DESC, id DESC LIMIT $8`,
		f.From, f.To, f.BeforeAt, f.BeforeID, nullID(f.ActorID), nullID(f.SubjectID), string(f.Action), f.Limit)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, scanEntry)
}

func scanEntry(row pgx.CollectableRow) (account.Entry, error) {
	var e account.Entry
	var actor, subject *uuid.UUID
	var address *netip.Addr
	err := row.Scan(&e.ID, &e.At, &actor, &e.ActorRole, &e.Action, &subject, &e.Outcome, &address, &e.RequestID, &e.Detail)
	if actor != nil {
		e.ActorID = *actor
	}
	if subject != nil {
		e.SubjectID = *subject
	}
	if address != nil {
		e.Address = *address
	}
	e.At = e.At.UTC()
	return e, err
}

// MakeAuditPartitions makes the partitions of this month and the next two.
func (s *Store) MakeAuditPartitions(ctx context.Context) error {
	_, err := s.pool.Exec(ctx, `SELECT audit_make_partitions($1::date, 3)`, day(s.clock()))
	return err
}

// DropAudit ends the retention of entries before a month: it drops their partitions, and names them. It takes the owner of the
// table, the role that migrates.
func (s *Store) DropAudit(ctx context.Context, before time.Time) ([]string, error) {
	rows, err := s.pool.Query(ctx, `
		SELECT c.relname::text FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
		WHERE i.inhparent = 'audit_log'::regclass AND c.relname ~ '^audit_log_[0-9]{6}$' AND c.relname < $1 ORDER BY 1`,
		"audit_log_"+before.Format("200601"))
	if err != nil {
		return nil, err
	}
	old, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, err
	}
	for i, name := range old {
		if _, err := s.pool.Exec(ctx, `DROP TABLE `+pgx.Identifier{name}.Sanitize()); err != nil {
			return old[:i], err
		}
	}
	return old, nil
}

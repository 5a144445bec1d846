package postgres

import (
	"context"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/healthmed/healthmed/pkg/events"
	"github.com/healthmed/healthmed/pkg/outbox"
	"github.com/healthmed/healthmed/pkg/telemetry"
	"github.com/healthmed/healthmed/services/users/internal/account"
)

// Erase removes a person's data (LGPD art. 18): the row keeps id, role and dates, and everything else that names or
// admits them goes in this transaction. The rest of the erasure is due from then on.
func (s *Store) Erase(ctx context.Context, id uuid.UUID, role account.Role, version int64, entry account.Entry) error {
	err := pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		u, err := s.lock(ctx, tx, id, role, version)
		if err != nil {
			return err
		}
		erased := u.Erase(s.now())
		batch := &pgx.Batch{}
		s.queueAudit(batch, entry)
		batch.Queue(`
			UPDATE users SET status = 'erased', version = $2, updated_at = $3, name = NULL, name_key = NULL, email = NULL,
				email_verified = false, pending_email = NULL, phone = NULL, birth_date = NULL, locale = NULL, cpf_sealed = NULL,
				cpf_key_id = NULL, cpf_index = NULL, crm_number = NULL, crm_state = NULL, specialties = '{}'
			WHERE id = $1`, id, erased.Version, erased.UpdatedAt)
		batch.Queue(`DELETE FROM doctor_terms WHERE doctor_id = $1`, id)
		batch.Queue(`DELETE FROM credentials WHERE user_id = $1`, id)
		batch.Queue(`DELETE FROM refresh_families WHERE user_id = $1`, id)
		batch.Queue(`DELETE FROM account_tokens WHERE user_id = $1`, id)
		batch.Queue(`DELETE FROM pool_changes WHERE user_id = $1`, id)
		origin := telemetry.OriginOf(ctx)
		batch.Queue(`INSERT INTO erasures (user_id, requested_at, request_id, trace_parent) VALUES ($1, $2, $3, $4)`,
			id, s.clock(), origin.RequestID, origin.TraceParent)
		return tx.SendBatch(ctx, batch).Close()
	})
	return translate(err)
}

// Erasure is one under way.
type Erasure struct {
	UserID    uuid.UUID
	Announced bool
}

// sweepAfter is how long after the announcement streams are purged once more: longer than a relay that had one of the
// person's events in its hands can take to publish it.
const sweepAfter = 2 * time.Minute

// DueErasures are those with something to do now, oldest first.
func (s *Store) DueErasures(ctx context.Context) ([]Erasure, error) {
	rows, err := s.pool.Query(ctx, `
		SELECT user_id, announced_at IS NOT NULL FROM erasures
		WHERE finished_at IS NULL AND (announced_at IS NULL OR announced_at < $1)
		ORDER BY requested_at LIMIT 50`, s.clock().Add(-sweepAfter))
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowToStructByPos[Erasure])
}

// ForgetEvents removes the events that name the person from the outbox, published or not, so that neither relay nor
// replay brings them back.
func (s *Store) ForgetEvents(ctx context.Context, userID uuid.UUID) error {
	return pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		// The outbox has no index for this: rare, and off the path of requests.
		if _, err := tx.Exec(ctx, `SET LOCAL statement_timeout = '60s'`); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, `
			DELETE FROM outbox WHERE aggregate_id = $1 AND subject NOT LIKE '%.erased.%'
				OR subject LIKE 'healthmed.users.mail.%.v1.' || $1::text`, userID)
		return err
	})
}

// AnnounceErasure puts UserErased into the outbox, once, as caused by the request for the erasure.
func (s *Store) AnnounceErasure(ctx context.Context, userID uuid.UUID) error {
	err := pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		var ev events.UserErased
		var version int64
		var announced *time.Time
		var origin telemetry.Origin
		err := tx.QueryRow(ctx, `
			SELECT u.role, u.version, u.updated_at, e.announced_at, e.request_id, e.trace_parent
			FROM erasures e JOIN users u ON u.id = e.user_id WHERE e.user_id = $1 FOR UPDATE OF e`, userID).
			Scan(&ev.Role, &version, &ev.OccurredAt, &announced, &origin.RequestID, &origin.TraceParent)
		if err != nil || announced != nil {
			return translate(err)
		}
		ev.UserID, ev.OccurredAt = userID, ev.OccurredAt.UTC()
		env, err := events.New(&ev, version)
		if err != nil {
			return err
		}
		if err := outbox.Append(origin.Context(ctx), tx, env); err != nil {
			return err
		}
		_, err = tx.Exec(ctx, `UPDATE erasures SET announced_at = $2 WHERE user_id = $1`, userID, s.clock())
		return err
	})
	if err == nil {
		s.nudge()
	}
	return err
}

// FinishErasure says that nothing more is to be done.
func (s *Store) FinishErasure(ctx context.Context, userID uuid.UUID) error {
	_, err := s.pool.Exec(ctx, `UPDATE erasures SET finished_at = $2 WHERE user_id = $1`, userID, s.clock())
	return err
}

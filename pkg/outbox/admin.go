package outbox

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// State is what Status tells an operator.
type State struct {
	Leader      string     // who leads: "outbox-relay <host>/<pid>", or "" when nobody does
	Pending     int64      // rows to be published, put-off ones included
	Oldest      *time.Time // of them; nil when there are none
	Quarantined int64
	Troubled    []Trouble // rows put off or in quarantine, the oldest first, at most 50
}

// Trouble is a row that holds back its aggregate.
type Trouble struct {
	ID            uuid.UUID
	Subject       string
	AggregateID   uuid.UUID
	CreatedAt     time.Time
	Attempts      int
	NextAttemptAt *time.Time
	QuarantinedAt *time.Time
	LastError     string
}

const statusSummary = `
SELECT coalesce((
		SELECT a.application_name FROM pg_locks AS l JOIN pg_stat_activity AS a USING (pid)
		WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1
			AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
			AND l.classid::bigint = $1::bigint >> 32 AND l.objid::bigint = $1::bigint & 4294967295
		LIMIT 1), ''),
	count(*) FILTER (WHERE quarantined_at IS NULL), min(created_at) FILTER (WHERE quarantined_at IS NULL),
	count(*) FILTER (WHERE quarantined_at IS NOT NULL)
FROM outbox WHERE published_at IS NULL`

const statusTroubled = `
SELECT id, subject, aggregate_id, created_at, attempts, next_attempt_at, quarantined_at, coalesce(last_error, '')
FROM outbox
WHERE published_at IS NULL AND (quarantined_at IS NOT NULL OR next_attempt_at IS NOT NULL)
ORDER BY seq LIMIT 50`

// Status looks at the unpublished rows and at who leads.
func Status(ctx context.Context, pool *pgxpool.Pool) (State, error) {
	var s State
	err := pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
		if err := unhurried(ctx, tx); err != nil {
			return err
		}
		if err := tx.QueryRow(ctx, statusSummary, int64(leaderLock)).Scan(&s.Leader, &s.Pending, &s.Oldest, &s.Quarantined); err != nil {
			return err
		}
		rows, err := tx.Query(ctx, statusTroubled)
		if err != nil {
			return err
		}
		s.Troubled, err = pgx.CollectRows(rows, pgx.RowToStructByPos[Trouble])
		return err
	})
	if err != nil {
		return State{}, fmt.Errorf("outbox: status: %w", err)
	}
	return s, nil
}

// Replay has everything published again that was created at or after since and is still retained, oldest first, in
// order per aggregate; it returns the number of rows. Messages that the stream still knows by their id (its duplicate
// window) are dropped there; others are stored again, which subscribers notice by the id. Rows with a secret are
// never replayed. All rows become pending at once, at commit, so that their order holds.
func Replay(ctx context.Context, pool *pgxpool.Pool, since time.Time) (int64, error) {
	return change(ctx, pool, "replay", `
UPDATE outbox SET published_at = NULL, attempts = 0, next_attempt_at = NULL, last_error = NULL
WHERE created_at >= $1 AND published_at IS NOT NULL AND NOT secret`, since)
}

// Redrive takes rows out of quarantine, to be tried afresh: those of the ids, or all. It returns their number.
func Redrive(ctx context.Context, pool *pgxpool.Pool, ids ...uuid.UUID) (int64, error) {
	return change(ctx, pool, "redrive", `
UPDATE outbox SET quarantined_at = NULL, attempts = 0, next_attempt_at = NULL
WHERE published_at IS NULL AND (quarantined_at IS NOT NULL OR next_attempt_at IS NOT NULL) AND quarantined_at IS NOT NULL
	AND (cardinality($1::uuid[]) = 0 OR id = ANY ($1))`, append([]uuid.UUID{}, ids...))
}

func change(ctx context.Context, pool *pgxpool.Pool, what, sql string, args ...any) (n int64, err error) {
	err = pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
		if err := unhurried(ctx, tx); err != nil {
			return err
		}
		tag, err := tx.Exec(ctx, sql, args...)
		n = tag.RowsAffected()
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("outbox: %s: %w", what, err)
	}
	return n, nil
}

// unhurried lifts a request's time limits: an operator's ctx is the limit.
func unhurried(ctx context.Context, tx pgx.Tx) error {
	_, err := tx.Exec(ctx, "SET LOCAL statement_timeout = 0; SET LOCAL idle_in_transaction_session_timeout = 0")
	return err
}

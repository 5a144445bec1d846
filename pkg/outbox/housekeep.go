package outbox

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/healthmed/healthmed/pkg/postgres"
)

const (
	housekeepEvery = 10 * time.Minute
	housekeepRetry = 15 * time.Second // when a table was in use
	daysAhead      = 4
	day            = 24 * time.Hour
	// A secret that nobody could be told for so long is of no use any more, and must not lie about.
	secretLimit = day
)

// housekeep makes partitions ahead and removes what Retention has passed, while leader.
func (r *Relay) housekeep(ctx context.Context) {
	for ctx.Err() == nil {
		next := housekeepEvery
		if err := r.tidy(ctx); err != nil && ctx.Err() == nil {
			next = housekeepRetry
			r.cfg.Log.WarnContext(ctx, "outbox relay: housekeeping put off", "error", err)
		}
		pause(ctx, next)
	}
}

func (r *Relay) tidy(ctx context.Context) error {
	now := r.cfg.Now().UTC()
	cut := now.Add(-r.cfg.Retention)
	if err := r.exec(ctx, "SELECT outbox_make_partitions($1::date, $2)", now, daysAhead); err != nil {
		return fmt.Errorf("make partitions: %w", err)
	}
	// Rows that came when their day had no partition. Few, if ever: the relay makes partitions four days ahead.
	if err := r.exec(ctx, "DELETE FROM outbox_default WHERE created_at < $1 AND published_at IS NOT NULL", cut); err != nil {
		return fmt.Errorf("default partition: %w", err)
	}
	if err := r.exec(ctx, `UPDATE outbox SET data = '', published_at = $1, last_error = 'given up: the secret is too old'
		WHERE published_at IS NULL AND secret AND created_at < $2`, now, now.Add(-secretLimit)); err != nil {
		return fmt.Errorf("old secrets: %w", err)
	}
	return r.dropOld(ctx, cut)
}

func (r *Relay) exec(ctx context.Context, sql string, args ...any) error {
	return r.inTx(ctx, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, sql, args...)
		return err
	})
}

// inTx gives housekeeping more time than a request has, but lets it wait only briefly for a lock: whoever waits for a
// table makes the bookings after it wait as well.
func (r *Relay) inTx(ctx context.Context, f func(pgx.Tx) error) error {
	return pgx.BeginFunc(ctx, r.cfg.Pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "SET LOCAL statement_timeout = '30s'; SET LOCAL lock_timeout = '100ms'; SET LOCAL TimeZone = 'UTC'"); err != nil {
			return err
		}
		return f(tx)
	})
}

const oldPartitions = `
SELECT c.relname
FROM pg_inherits AS i JOIN pg_class AS c ON c.oid = i.inhrelid
WHERE i.inhparent = 'outbox'::regclass AND c.relname ~ '^outbox_[0-9]{8}$'
	AND to_timestamp(right(c.relname, 8), 'YYYYMMDD') + interval '1 day' <= $1
ORDER BY c.relname`

// dropOld drops the partitions that ended before cut and hold nothing unpublished.
func (r *Relay) dropOld(ctx context.Context, cut time.Time) error {
	var names []string
	err := r.inTx(ctx, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, oldPartitions, cut)
		if err != nil {
			return err
		}
		names, err = pgx.CollectRows(rows, pgx.RowTo[string])
		return err
	})
	if err != nil {
		return fmt.Errorf("old partitions: %w", err)
	}
	for _, name := range names {
		kept := false
		err := r.inTx(ctx, func(tx pgx.Tx) error {
			table := pgx.Identifier{name}.Sanitize()
			// DROP locks the parent first; so does this, and what is looked at below is what is dropped.
			if _, err := tx.Exec(ctx, "LOCK TABLE ONLY outbox IN ACCESS EXCLUSIVE MODE; LOCK TABLE "+table+" IN ACCESS EXCLUSIVE MODE"); err != nil {
				return err
			}
			if err := tx.QueryRow(ctx, "SELECT EXISTS (SELECT FROM "+table+" WHERE published_at IS NULL)").Scan(&kept); err != nil || kept {
				return err
			}
			_, err := tx.Exec(ctx, "DROP TABLE "+table)
			return err
		})
		switch {
		case postgres.Code(err) == undefinedTable: // another process was quicker
		case err != nil:
			return fmt.Errorf("drop %s: %w", name, err)
		case kept:
			r.cfg.Log.WarnContext(ctx, "outbox relay: old partition kept, it has unpublished rows", "partition", name)
		default:
			r.cfg.Log.InfoContext(ctx, "outbox relay: old partition dropped", "partition", name)
		}
	}
	return nil
}

const undefinedTable = "42P01"

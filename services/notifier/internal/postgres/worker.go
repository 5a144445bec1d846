package postgres

import (
	"context"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// Heartbeat says that a replica is alive, and returns how many are: itself and those seen within ttl. It uses the
// database's clock, the one that replicas have in common.
func (s *Store) Heartbeat(ctx context.Context, id uuid.UUID, ttl time.Duration) (int, error) {
	var b pgx.Batch
	b.Queue(`SELECT pg_advisory_xact_lock(hashtext('notifier replicas'))`)
	b.Queue(`INSERT INTO replicas (id, joined_at, seen_at) VALUES ($1, clock_timestamp(), clock_timestamp())
		ON CONFLICT (id) DO UPDATE SET seen_at = excluded.seen_at`, id)
	b.Queue(`DELETE FROM replicas WHERE seen_at < clock_timestamp() - $1::interval * 10`, ttl)
	var live int
	b.Queue(`SELECT count(*) FROM replicas WHERE seen_at > clock_timestamp() - $1::interval`, ttl).
		QueryRow(func(row pgx.Row) error { return row.Scan(&live) })
	return live, s.pool.SendBatch(ctx, &b).Close()
}

// Leave gives a replica's share back at once.
func (s *Store) Leave(ctx context.Context, id uuid.UUID) error {
	_, err := s.pool.Exec(ctx, `DELETE FROM replicas WHERE id = $1`, id)
	return err
}

// Gauges is the state of the queue, for metrics.
type Gauges struct {
	Due, Waiting, InDoubt, Failed, Suppressed int
	Oldest                                    time.Duration // how long the oldest due delivery has been due
}

// Gauges reads the state of the queue.
func (s *Store) Gauges(ctx context.Context, now time.Time) (Gauges, error) {
	var g Gauges
	var oldest *time.Time
	// What waits for its day (reminders, agendas) is left out by the index.
	err := s.pool.QueryRow(ctx, `
		SELECT count(*) FILTER (WHERE due_at <= $1), count(*) FILTER (WHERE status = 'waiting'),
			min(due_at) FILTER (WHERE status = 'pending' AND due_at <= $1),
			(SELECT count(*) FROM deliveries WHERE status = 'unknown'),
			(SELECT count(*) FROM deliveries WHERE status = 'failed'),
			(SELECT count(*) FROM contacts WHERE undeliverable <> '')
		FROM deliveries WHERE status IN ('pending', 'waiting') AND due_at <= $1 + interval '1 day'`, now).
		Scan(&g.Due, &g.Waiting, &oldest, &g.InDoubt, &g.Failed, &g.Suppressed)
	if oldest != nil {
		g.Oldest = now.Sub(*oldest)
	}
	return g, err
}

// Prune forgets events and finished deliveries from before the given time, a bounded number at once. The time must lie
// further back than the streams reach, or a replay could send a message again.
func (s *Store) Prune(ctx context.Context, before time.Time) (int, error) {
	var b pgx.Batch
	n := 0
	for _, sql := range []string{
		`DELETE FROM inbox WHERE event_id IN (SELECT event_id FROM inbox WHERE received_at < $1 LIMIT 5000)`,
		`DELETE FROM deliveries WHERE id IN (SELECT id FROM deliveries WHERE created_at < $1
			AND status NOT IN ('pending', 'waiting', 'sending', 'unknown') ORDER BY id LIMIT 5000)`,
		`DELETE FROM appointments WHERE id IN (SELECT id FROM appointments WHERE updated_at < $1 AND ends_at < $1 LIMIT 5000)`,
		`DELETE FROM dead_letters WHERE failed_at < $1`,
	} {
		b.Queue(sql, before)
	}
	results := s.pool.SendBatch(ctx, &b)
	defer results.Close()
	for range b.Len() {
		tag, err := results.Exec()
		if err != nil {
			return n, err
		}
		n += int(tag.RowsAffected())
	}
	return n, results.Close()
}

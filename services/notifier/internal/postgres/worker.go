package postgres

import (
	"context"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/healthmed/healthmed/services/notifier/internal/notice"
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

// Gauges is the state of the queue, for metrics. In the queue is what was planned up to now and has no end yet: to be
// sent, waiting for its next attempt, being sent, or in doubt. What waits for its own day (reminders, agendas) is not, nor
// what waits for a person to become known: no mail service can help that, and it ends as failed after notice.Window.
type Gauges struct {
	Due     int                     // in the queue
	InDoubt int                     // of these
	Overdue map[notice.Template]int // of these, planned over notice.Promptly ago
	Oldest  time.Duration           // since the first of these was planned
	Waiting int                     // for a person
	Failed  int
	// Suppressed is how many addresses are not written to.
	Suppressed int
}

// Gauges reads the state of the queue. An attempt moves a delivery's due_at ahead, but never planned_at, and at most by
// the longest pause: by that, the index leaves out what waits for its day. It reads the queue alone, by index, and not by
// bitmaps, which would meet the dead entries of all that was sent since the last vacuum each time anew.
func (s *Store) Gauges(ctx context.Context, t notice.Timing, now time.Time) (Gauges, error) {
	g := Gauges{Overdue: map[notice.Template]int{}}
	err := pgx.BeginTxFunc(ctx, s.pool, inOrder, func(tx pgx.Tx) error {
		var b pgx.Batch
		b.Queue(`
			SELECT template, count(*), count(*) FILTER (WHERE status = 'unknown'), count(*) FILTER (WHERE planned_at <= $3), min(planned_at)
			FROM (SELECT template, status, planned_at FROM deliveries WHERE status = 'pending' AND due_at <= $2
				UNION ALL SELECT template, status, planned_at FROM deliveries WHERE status IN ('sending', 'unknown')) queue
			WHERE planned_at <= $1 GROUP BY template`, now, now.Add(max(t.Cap, t.Circuit, notice.Calm)), now.Add(-notice.Promptly)).
			Query(func(rows pgx.Rows) error {
				var template notice.Template
				var due, inDoubt, overdue int
				var oldest time.Time
				_, err := pgx.ForEachRow(rows, []any{&template, &due, &inDoubt, &overdue, &oldest}, func() error {
					g.Due, g.InDoubt, g.Overdue[template] = g.Due+due, g.InDoubt+inDoubt, overdue
					g.Oldest = max(g.Oldest, now.Sub(oldest))
					return nil
				})
				return err
			})
		b.Queue(`
			SELECT (SELECT count(*) FROM deliveries WHERE status = 'waiting'),
				(SELECT count(*) FROM deliveries WHERE status = 'failed'),
				(SELECT count(*) FROM contacts WHERE undeliverable <> '')`).
			QueryRow(func(row pgx.Row) error { return row.Scan(&g.Waiting, &g.Failed, &g.Suppressed) })
		return tx.SendBatch(ctx, &b).Close()
	})
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

// Package postgres keeps what scheduling knows: one method and one transaction per business operation, with its SQL
// in sight. Rules are asked of package booking; who gets a time is decided by two exclusion constraints.
package postgres

import (
	"context"
	"embed"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"golang.org/x/sync/semaphore"

	"github.com/healthmed/healthmed/pkg/events"
	"github.com/healthmed/healthmed/pkg/outbox"
	pg "github.com/healthmed/healthmed/pkg/postgres"
	"github.com/healthmed/healthmed/services/scheduling/internal/booking"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Migrations are this service's tables; they come after those of the outbox.
func Migrations() pg.Migrations {
	return pg.Embedded("migrations_scheduling", migrations)
}

// Store is the database of scheduling. It is safe for concurrent use, by any number of replicas.
type Store struct {
	pool      *pgxpool.Pool
	now       func() time.Time
	committed func() // there are events to publish; never blocks
	freed     func() // there may be freed time to offer; never blocks
	schedules *scheduleCache
	directory *directory
	zones     booking.Zones
	together  *together
	turns     *semaphore.Weighted // connections that may wait for people's locks
}

// Config of a store. What is nil does nothing; Now nil is the machine's clock.
type Config struct {
	Pool *pgxpool.Pool
	Now  func() time.Time
	// Committed and Freed are called after each commit that appended events, or that gave time back or sent somebody
	// away. They must not block.
	Committed, Freed func()
}

// New makes a store.
func New(cfg Config) *Store {
	s := &Store{
		pool: cfg.Pool, now: cfg.Now, committed: cfg.Committed, freed: cfg.Freed,
		schedules: newScheduleCache(), directory: newDirectory(),
	}
	if s.now == nil {
		s.now = time.Now
	}
	if s.committed == nil {
		s.committed = func() {}
	}
	if s.freed == nil {
		s.freed = func() {}
	}
	s.together = newTogether(s.pool, s.committed)
	s.turns = semaphore.NewWeighted(max(1, int64(s.pool.Config().MaxConns)/2))
	return s
}

// Wait returns when what was begun is written. It comes between the last call and the closing of the pool.
func (s *Store) Wait() { s.together.begun.Wait() }

// Ready asks the database for a sign of life.
func (s *Store) Ready(ctx context.Context) error { return s.pool.Ping(ctx) }

// clock is the time in UTC at the precision that PostgreSQL keeps.
func (s *Store) clock() time.Time { return s.now().UTC().Truncate(time.Microsecond) }

// inTx runs f in one transaction, again on deadlock. f must not keep anything from a run that failed.
func (s *Store) inTx(ctx context.Context, f func(tx pgx.Tx) error) error {
	return pg.Retry(ctx, func(ctx context.Context) error {
		return pgx.BeginFunc(ctx, s.pool, f)
	})
}

// inTurn runs f, which waits for people's locks (queueLocks). Half of the connections may be in it at a time, so that
// one doctor's queue leaves the others to everybody else; who comes then waits without one.
func (s *Store) inTurn(ctx context.Context, f func() error) error {
	if err := s.turns.Acquire(ctx, 1); err != nil {
		return err
	}
	defer s.turns.Release(1)
	return f()
}

// inTxInTurn is inTx for a transaction that waits for people's locks.
func (s *Store) inTxInTurn(ctx context.Context, f func(tx pgx.Tx) error) error {
	return s.inTurn(ctx, func() error { return s.inTx(ctx, f) })
}

// queueEvent adds the insert of an event to the batch.
func queueEvent(ctx context.Context, b *pgx.Batch, ev events.Event, version int64) error {
	env, err := events.New(ev, version)
	if err != nil {
		return err
	}
	return outbox.Queue(ctx, b, env)
}

// send runs a batch and returns its first error.
func send(ctx context.Context, tx pgx.Tx, b *pgx.Batch) error { return tx.SendBatch(ctx, b).Close() }

// null is nil for the zero value, which PostgreSQL then stores as NULL.
func null[T comparable](v T) *T {
	var zero T
	if v == zero {
		return nil
	}
	return &v
}

// value is the zero value for NULL.
func value[T any](p *T) T {
	if p == nil {
		var zero T
		return zero
	}
	return *p
}

// newID is a UUIDv7: its order is that of creation.
func newID() (uuid.UUID, error) { return uuid.NewV7() }

package postgres

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"
)

// Budget is how many attempts may be made: Burst at once, and one more each Every.
type Budget struct {
	Burst int
	Every time.Duration
}

// Spend takes one attempt from the budget of a key. When none is left it says how long to wait. One statement, one
// row: replicas share the budget, and a restart doesn't refill it (generic cell rate algorithm).
func (s *Store) Spend(ctx context.Context, purpose, value string, b Budget) (wait time.Duration, err error) {
	now := s.clock()
	whole := b.Every * time.Duration(b.Burst)
	var full time.Time
	err = s.pool.QueryRow(ctx, `
		INSERT INTO throttles AS t (key, full_at) VALUES ($1, $2::timestamptz + $3)
		ON CONFLICT (key) DO UPDATE SET full_at = greatest(t.full_at, $2) + $3 WHERE greatest(t.full_at, $2) + $3 <= $2::timestamptz + $4
		RETURNING full_at`, s.throttleKey(purpose, value), now, b.Every, whole).Scan(&full)
	if !errors.Is(err, pgx.ErrNoRows) {
		return 0, err
	}
	err = s.pool.QueryRow(ctx, `SELECT full_at FROM throttles WHERE key = $1`, s.throttleKey(purpose, value)).Scan(&full)
	if errors.Is(err, pgx.ErrNoRows) {
		return time.Second, nil // given back in between
	}
	return max(time.Second, full.Add(b.Every-whole).Sub(now)), err
}

// GiveBack returns one attempt, for one that succeeded.
func (s *Store) GiveBack(ctx context.Context, purpose, value string, b Budget) error {
	_, err := s.pool.Exec(ctx, `UPDATE throttles SET full_at = full_at - $2::interval WHERE key = $1`, s.throttleKey(purpose, value), b.Every)
	return err
}

// Refill makes a budget whole again.
func (s *Store) Refill(ctx context.Context, purpose, value string) error {
	_, err := s.pool.Exec(ctx, `DELETE FROM throttles WHERE key = $1`, s.throttleKey(purpose, value))
	return err
}

func (s *Store) throttleKey(purpose, value string) []byte {
	return s.index.Of("throttle:"+purpose, value)
}

// Expire removes what time has made useless: whole budgets, expired tokens, sign-ins that ended.
func (s *Store) Expire(ctx context.Context) error {
	now := s.clock()
	batch := &pgx.Batch{}
	batch.Queue(`DELETE FROM throttles WHERE full_at < $1`, now)
	batch.Queue(`DELETE FROM account_tokens WHERE expires_at < $1`, now)
	batch.Queue(`DELETE FROM refresh_families WHERE id IN (SELECT id FROM refresh_families WHERE expires_at < $1 LIMIT 5000)`, now)
	return s.pool.SendBatch(ctx, batch).Close()
}

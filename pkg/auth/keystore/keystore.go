// Package keystore keeps an issuer's public keys in the service's own database, so that a replica that starts while the
// issuer is away can verify tokens.
package keystore

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/healthmed/healthmed/pkg/postgres"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Migrations of the table; apply them in the service's database.
func Migrations() postgres.Migrations {
	return postgres.Embedded("migrations_keys", migrations)
}

// Store of key sets, by the address that publishes them. Ages are by the database's clock, which all replicas share.
type Store struct{ pool *pgxpool.Pool }

// New keeps keys in the pool's database.
func New(pool *pgxpool.Pool) *Store { return &Store{pool: pool} }

// Save keeps the JWKS (RFC 7517) that was fetched from the URL so long ago, unless what is kept was fetched later.
func (s *Store) Save(ctx context.Context, url string, jwks []byte, age time.Duration) error {
	// A date in the future is of before the clock was set back.
	const q = `INSERT INTO issuer_keys (url, jwks, fetched_at) VALUES ($1, $2, now() - $3::interval)
		ON CONFLICT (url) DO UPDATE SET jwks = excluded.jwks, fetched_at = excluded.fetched_at
		WHERE issuer_keys.fetched_at <= excluded.fetched_at OR issuer_keys.fetched_at > now()`
	if _, err := s.pool.Exec(ctx, q, url, jwks, age); err != nil {
		return fmt.Errorf("keystore: save: %w", err)
	}
	return nil
}

// Load returns what is kept and how long ago it was fetched, nil if nothing is.
func (s *Store) Load(ctx context.Context, url string) (jwks []byte, age time.Duration, err error) {
	const q = `SELECT jwks, now() - fetched_at FROM issuer_keys WHERE url = $1`
	switch err := s.pool.QueryRow(ctx, q, url).Scan(&jwks, &age); {
	case errors.Is(err, pgx.ErrNoRows):
		return nil, 0, nil
	case err != nil:
		return nil, 0, fmt.Errorf("keystore: load: %w", err)
	}
	return jwks, age, nil
}

// Package postgres is the notifier's store: visible SQL, one transaction per operation. Rules are not here but in
// package notice: the store loads, lets the domain decide and saves.
package postgres

import (
	"embed"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/healthmed/healthmed/pkg/postgres"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Migrations are the notifier's own tables; the outbox's are applied before them.
func Migrations() postgres.Migrations {
	return postgres.Embedded("migrations_notifier", migrations)
}

// Store keeps contacts, appointments and deliveries.
type Store struct {
	pool *pgxpool.Pool
}

// NewStore uses an open pool.
func NewStore(pool *pgxpool.Pool) *Store { return &Store{pool: pool} }

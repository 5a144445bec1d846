// Package postgres keeps accounts, credentials and what goes with them. Each method is one business operation and at
// most one transaction; events go into the outbox of the same transaction. SQL lives here and nowhere else in the service.
package postgres

import (
	"embed"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/healthmed/healthmed/pkg/auth/keystore"
	"github.com/healthmed/healthmed/pkg/outbox"
	"github.com/healthmed/healthmed/pkg/postgres"
	"github.com/healthmed/healthmed/services/users/internal/account"
	"github.com/healthmed/healthmed/services/users/internal/keyring"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Migrations of the service's database, in the order in which they are applied.
func Migrations() []postgres.Migrations {
	return []postgres.Migrations{outbox.Migrations(), keystore.Migrations(), postgres.Embedded("migrations_users", migrations)}
}

// Store is the service's database.
type Store struct {
	pool  *pgxpool.Pool
	cpf   *keyring.Ring
	index keyring.Index
	now   func() time.Time
	nudge func()
	pages *pages
	// external: passwords are kept by an identity pool, which is to be told of changes.
	external bool
}

// Config of a Store.
type Config struct {
	Pool  *pgxpool.Pool
	CPF   *keyring.Ring // seals CPFs
	Index keyring.Index // finds them
	Now   func() time.Time
	Nudge func() // called after a commit that appended events; must not block
	// External says that an identity pool keeps the passwords, and is to be told when an e-mail address changes.
	External bool
}

// New makes a Store.
func New(cfg Config) *Store {
	return &Store{pool: cfg.Pool, cpf: cfg.CPF, index: cfg.Index, now: cfg.Now, nudge: cfg.Nudge, pages: newPages(), external: cfg.External}
}

// clock is the time in the resolution that the database keeps.
func (s *Store) clock() time.Time { return s.now().UTC().Truncate(time.Microsecond) }

// translate turns what the database says into the domain's errors.
func translate(err error) error {
	var pg *pgconn.PgError
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return account.ErrNotFound
	case errors.As(err, &pg) && pg.Code == "23505" && pg.TableName == "users":
		return account.ErrAlreadyRegistered
	}
	return err
}

package postgres

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
)

// Migrations are the numbered goose SQL files of one part, in their own version table.
type Migrations struct {
	Table string // goose version table, e.g. "migrations_users"
	FS    fs.FS  // *.sql at its root
}

// Embedded are the migrations that a package embeds from its folder "migrations"; table is their version table.
func Embedded(table string, files embed.FS) Migrations {
	root, err := fs.Sub(files, "migrations")
	if err != nil {
		panic(err) // only of a name that is no path
	}
	return Migrations{Table: table, FS: root}
}

const (
	migrationLock = 0x6865616c7468 // "health": one lock for all sets of a database
	// A migration waits this long for a table that is in use, then gives way: whoever waits for an exclusive
	// lock makes all later queries on the table wait behind it.
	migrationLockTimeout = 5 * time.Second
	migrationPoll        = 50 * time.Millisecond
)

// Migrate applies all sets in order under a session lock, so that replicas may call it together.
// Statements have no time limit here; ctx is the limit.
func Migrate(ctx context.Context, cfg Config, sets ...Migrations) (err error) {
	cfg.MaxConns, cfg.StatementTimeout, cfg.IdleInTransactionTimeout = 2, 0, 0
	cfg.LockTimeout, cfg.AcquireTimeout = migrationLockTimeout, 0
	pool, err := Open(ctx, cfg)
	if err != nil {
		return err
	}
	defer pool.Close()
	lock, err := pool.Acquire(ctx)
	if err != nil {
		return fmt.Errorf("postgres: migrate: %w", err)
	}
	defer func() { // closing the connection releases the lock, whatever state it is in
		err = errors.Join(err, lock.Hijack().Close(context.WithoutCancel(ctx)))
	}()
	if err := waitForLock(ctx, lock.Conn()); err != nil {
		return fmt.Errorf("postgres: migration lock: %w", err)
	}

	db := stdlib.OpenDBFromPool(pool)
	defer func() { err = errors.Join(err, db.Close()) }()
	for _, set := range sets {
		provider, err := goose.NewProvider(goose.DialectPostgres, db, set.FS,
			goose.WithTableName(set.Table), goose.WithDisableGlobalRegistry(true))
		if err != nil {
			return fmt.Errorf("postgres: migrations of %s: %w", set.Table, err)
		}
		if _, err := provider.Up(ctx); err != nil {
			return fmt.Errorf("postgres: migrate %s: %w", set.Table, err)
		}
	}
	return nil
}

// waitForLock polls: a blocking pg_advisory_lock would hold a snapshot, on which CREATE INDEX CONCURRENTLY waits.
func waitForLock(ctx context.Context, conn *pgx.Conn) error {
	for {
		var ok bool
		if err := conn.QueryRow(ctx, "SELECT pg_try_advisory_lock($1)", int64(migrationLock)).Scan(&ok); err != nil {
			return err
		}
		if ok {
			return nil
		}
		timer := time.NewTimer(migrationPoll)
		select {
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		case <-timer.C:
		}
	}
}

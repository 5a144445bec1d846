package postgres_test

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"golang.org/x/sync/errgroup"

	"github.com/healthmed/healthmed/pkg/outbox"
	"github.com/healthmed/healthmed/pkg/pgtest"
	pg "github.com/healthmed/healthmed/pkg/postgres"
	"github.com/healthmed/healthmed/services/scheduling/internal/booking"
	"github.com/healthmed/healthmed/services/scheduling/internal/postgres"
)

// openTimed is open with a time limit for locks and a size of the pool.
func openTimed(t *testing.T, lockTimeout time.Duration, conns int32) *pgxpool.Pool {
	t.Helper()
	cfg := pgtest.New(t, outbox.Migrations(), postgres.Migrations())
	cfg.LockTimeout, cfg.MaxConns = lockTimeout, conns
	db, err := pg.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	return db
}

// inWay runs a statement in a transaction that stays open, on a connection of its own, until the function is called.
func inWay(t *testing.T, db *pgxpool.Pool, sql string, args ...any) (tx pgx.Tx, leave func()) {
	t.Helper()
	conn, err := pgx.ConnectConfig(t.Context(), db.Config().ConnConfig)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(context.Background()) })
	if tx, err = conn.Begin(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(t.Context(), sql, args...); err != nil {
		t.Fatal(err)
	}
	return tx, func() {
		if err := tx.Rollback(context.Background()); err != nil {
			t.Error(err)
		}
	}
}

// Who moves waits behind others of the same doctor, so for several transactions, which is longer than for any one.
func TestStore_WaitsItsTurnForLongerThanForALock(t *testing.T) {
	t.Parallel()
	const lockTimeout = time.Second
	w, slot := narrowIn(t, openTimed(t, lockTimeout, 4), 1, 1)
	doctor := w.doctors[0]
	by := booking.Actor{Role: booking.Doctor, ID: doctor}
	id := w.booked(t, w.patients[0], doctor, slot)
	for _, c := range []struct {
		name, sql string
		arg       any
		waits     bool
	}{
		{"a turn", `SELECT pg_advisory_xact_lock($1)`, postgres.LockOf(doctor), true},
		{"a row under it", `SELECT FROM appointments WHERE id = $1 FOR UPDATE`, id, false},
	} {
		tx, leave := inWay(t, w.db, c.sql, c.arg)
		var group errgroup.Group
		group.Go(func() error {
			_, err := change(context.Background(), w.replica(0), reschedule, id, by, slot.AddDate(0, 0, 1), "")
			return err
		})
		w.waitForWaiting(t, 1)
		if _, err := tx.Exec(t.Context(), `SELECT pg_sleep($1)`, (lockTimeout * 3 / 2).Seconds()); err != nil {
			t.Fatal(err)
		}
		leave()
		if err := group.Wait(); (err == nil) != c.waits || err != nil && !pg.IsUnavailable(err) {
			t.Errorf("after one and a half times the limit, waiting for %s: %v", c.name, err)
		}
	}
	w.check(t)
}

// A doctor's queue that doesn't move occupies half of the connections at most: others book.
func TestStore_LeavesConnectionsToOthersThanThoseWhoQueue(t *testing.T) {
	t.Parallel()
	w, slot := narrowIn(t, openTimed(t, time.Minute, 4), 2, 2)
	stuck, other := w.doctors[0], w.doctors[1]
	by := booking.Actor{Role: booking.Doctor, ID: stuck}
	id := w.booked(t, w.patients[0], stuck, slot)
	_, leave := inWay(t, w.db, `SELECT pg_advisory_xact_lock($1)`, postgres.LockOf(stuck))
	var group errgroup.Group
	for n := range 12 {
		group.Go(func() error {
			_, err := change(context.Background(), w.replica(0), reschedule, id, by, slot.AddDate(0, 0, n%2), "")
			if isRefusal(err) {
				return nil
			}
			return err
		})
	}
	w.waitForWaiting(t, 2)
	for n := range 3 {
		w.booked(t, w.patients[1], other, slot.AddDate(0, 0, n))
	}
	leave()
	if err := group.Wait(); err != nil {
		t.Error(err)
	}
	w.check(t)
}

// waitForWaiting returns when so many connections wait for a lock.
func (w *world) waitForWaiting(t *testing.T, want int) {
	t.Helper()
	for waiting := 0; waiting < want; {
		if err := w.db.QueryRow(t.Context(), `SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND wait_event_type = 'Lock'`).Scan(&waiting); err != nil {
			t.Fatal(err)
		}
	}
}

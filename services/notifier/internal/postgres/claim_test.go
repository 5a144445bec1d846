package postgres_test

import (
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/healthmed/healthmed/pkg/outbox"
	"github.com/healthmed/healthmed/pkg/pgtest"
	pkgpostgres "github.com/healthmed/healthmed/pkg/postgres"
	"github.com/healthmed/healthmed/services/notifier/internal/postgres"
)

// After an outage the queue is long. A claim of ten reads about ten rows all the same, by PostgreSQL's own count.
func TestStore_ClaimReadsNoMoreOfALongQueue(t *testing.T) {
	n := rowsRead(t, `
		INSERT INTO deliveries (id, event_id, template, recipient_id, version, detail, status, planned_at, due_at, created_at, updated_at)
		SELECT gen_random_uuid(), gen_random_uuid(), 'doctor_booked', gen_random_uuid(), 1, '{}', 'pending', now(),
			now() - n * interval '1 ms', now(), now() FROM generate_series(1, 5000) n`, func(s *postgres.Store) {
		claimed, err := s.Claim(t.Context(), 10, time.Minute, time.Now())
		if err != nil || claimed.Looked != 10 {
			t.Fatalf("looked at %d: %v", claimed.Looked, err)
		}
	})
	if n > 100 {
		t.Errorf("a claim of 10 read %d rows of 5000", n)
	}
}

// rowsRead is how many rows of deliveries, filled with a statement, do reads by PostgreSQL's own count.
func rowsRead(t *testing.T, fill string, do func(*postgres.Store)) int {
	t.Helper()
	cfg := pgtest.New(t, outbox.Migrations(), postgres.Migrations())
	open := func() *pgxpool.Pool {
		t.Helper()
		pool, err := pkgpostgres.Open(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(pool.Close)
		return pool
	}
	filled, watch := open(), open()
	if _, err := filled.Exec(t.Context(), fill); err != nil {
		t.Fatal(err)
	}
	filled.Close() // what a connection has counted is told when it ends
	read := func() (n int) {
		t.Helper()
		if err := watch.QueryRow(t.Context(), `SELECT coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0)
			FROM pg_stat_user_tables WHERE relname = 'deliveries'`).Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	before, doing := read(), open()
	do(postgres.NewStore(doing))
	doing.Close()
	for deadline := time.Now().Add(10 * time.Second); read() == before; {
		if time.Now().After(deadline) {
			t.Fatal("PostgreSQL has counted nothing")
		}
	}
	return read() - before
}

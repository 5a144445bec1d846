package outbox_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/healthmed/healthmed/pkg/natstest"
	"github.com/healthmed/healthmed/pkg/outbox"
)

func partitions(t *testing.T, pool *pgxpool.Pool) []string {
	t.Helper()
	rows, _ := pool.Query(context.Background(), "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'outbox'::regclass ORDER BY 1")
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// names of the partitions of some days from day on, and the default one.
func named(day time.Time, days ...int) []string {
	names := []string{"outbox_default"}
	for _, n := range days {
		names = append(names, "outbox_"+day.AddDate(0, 0, n).Format("20060102"))
	}
	slices.Sort(names)
	return names
}

func TestMigrations_MakePartitionsForTheDaysAhead(t *testing.T) {
	t.Parallel()
	pool := newPool(t)
	var today time.Time
	if err := pool.QueryRow(t.Context(), "SELECT (now() AT TIME ZONE 'UTC')::date").Scan(&today); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(named(today, 0, 1, 2, 3), partitions(t, pool)); diff != "" {
		t.Errorf("partitions (-want +got):\n%s", diff)
	}
	add(t, pool, thing(uuid.New(), 1))
	if n := count(t, pool, "tableoid = 'outbox_default'::regclass"); n != 0 {
		t.Error("a row of today went to the default partition")
	}
}

func TestRelay_DropsADayWhenItsRetentionIsOver_UnlessSomethingIsUnpublished(t *testing.T) {
	t.Parallel()
	pool := newPool(t)
	today := time.Now().UTC().Truncate(24 * time.Hour)
	if _, err := pool.Exec(t.Context(), "SELECT outbox_make_partitions($1::date, 10)", today.AddDate(0, 0, -10)); err != nil {
		t.Fatal(err)
	}
	stuck := uuid.New()
	for n := 1; n <= 10; n++ {
		add(t, pool, thing(uuid.New(), int64(n)))
		if _, err := pool.Exec(t.Context(), "UPDATE outbox SET created_at = $1, published_at = $1 WHERE published_at IS NULL",
			today.AddDate(0, 0, -n).Add(12*time.Hour)); err != nil {
			t.Fatal(err)
		}
	}
	// Nine days old, and in quarantine: kept, whatever its age.
	if _, err := pool.Exec(t.Context(), `UPDATE outbox SET published_at = NULL, quarantined_at = now(), aggregate_id = $1 WHERE aggregate_version = 9`, stuck); err != nil {
		t.Fatal(err)
	}
	cfg := relayConfig(pool, connect(t, natstest.NewServer(t)))
	cfg.Retention = 7 * 24 * time.Hour
	_, stop := run(t, cfg)
	want := named(today, -9, -7, -6, -5, -4, -3, -2, -1, 0, 1, 2, 3)
	eventually(t, "the old days dropped", func() bool { return cmp.Diff(want, partitions(t, pool)) == "" })
	stop()
	if n := count(t, pool, "aggregate_id = '"+stuck.String()+"'"); n != 1 {
		t.Error("the unpublished row is gone")
	}

	// Three days on, without the obstacle.
	if _, err := outbox.Redrive(t.Context(), pool); err != nil {
		t.Fatal(err)
	}
	cfg.Now = func() time.Time { return time.Now().AddDate(0, 0, 3) }
	_, stop = run(t, cfg)
	eventually(t, "the obstacle published", drained(t, pool))
	stop()
	run(t, cfg)
	want = named(today, -4, -3, -2, -1, 0, 1, 2, 3, 4, 5, 6)
	eventually(t, "older days dropped, days ahead made", func() bool { return cmp.Diff(want, partitions(t, pool)) == "" })
}

// After a long stop the first rows can come before their day has a partition. Nothing is lost by it.
func TestRelay_CopesWithRowsInTheDefaultPartition(t *testing.T) {
	t.Parallel()
	pool := newPool(t)
	js := connect(t, natstest.NewServer(t))
	today := time.Now().UTC().Truncate(24 * time.Hour)
	if _, err := pool.Exec(t.Context(), "DROP TABLE "+named(today, 0)[0]); err != nil {
		t.Fatal(err)
	}
	add(t, pool, thing(uuid.New(), 1))
	if n := count(t, pool, "tableoid = 'outbox_default'::regclass"); n != 1 {
		t.Fatal("the row is not in the default partition")
	}
	cfg := relayConfig(pool, js)
	_, stop := run(t, cfg)
	eventually(t, "published", drained(t, pool))
	stop()
	if n := len(messages(t, js, stream)); n != 1 {
		t.Errorf("%d messages in the stream, want 1", n)
	}
	cfg.Now = func() time.Time { return time.Now().AddDate(0, 0, 8) }
	run(t, cfg)
	eventually(t, "removed after its retention", func() bool { return count(t, pool, "true") == 0 })
}

// A secret that could not be told in time is blanked, not kept.
func TestRelay_GivesUpOldSecrets(t *testing.T) {
	t.Parallel()
	pool := newPool(t)
	server := natstest.NewServer(t)
	js := connect(t, server)
	add(t, pool, outbox.Raw{Subject: "healthmed.test.secret", Data: []byte("token"), Secret: true})
	if _, err := pool.Exec(t.Context(), "UPDATE outbox SET created_at = now() - interval '25 hours', quarantined_at = now()"); err != nil {
		t.Fatal(err)
	}
	run(t, relayConfig(pool, js))
	eventually(t, "blanked", func() bool { return count(t, pool, "data = '' AND published_at IS NOT NULL") == 1 })
}

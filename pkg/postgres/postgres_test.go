package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/healthmed/healthmed/pkg/config"
	"github.com/healthmed/healthmed/pkg/pgtest"
	"github.com/healthmed/healthmed/pkg/postgres"
)

func open(t *testing.T, cfg postgres.Config) *pgxpool.Pool {
	t.Helper()
	pool, err := postgres.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	return pool
}

func TestOpen_SetsTheLimitsOnTheConnection(t *testing.T) {
	t.Parallel()
	cfg := pgtest.New(t)
	cfg.StatementTimeout, cfg.LockTimeout, cfg.IdleInTransactionTimeout = 1500*time.Millisecond, 250*time.Millisecond, 3*time.Second
	pool := open(t, cfg)
	got := map[string]string{}
	for _, name := range []string{"statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout", "TimeZone"} {
		var v string
		if err := pool.QueryRow(t.Context(), "SELECT current_setting($1)", name).Scan(&v); err != nil {
			t.Fatal(err)
		}
		got[name] = v
	}
	want := map[string]string{"statement_timeout": "1500ms", "lock_timeout": "250ms",
		"idle_in_transaction_session_timeout": "3s", "TimeZone": "UTC"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("settings (-want +got):\n%s", diff)
	}
}

func TestOpen_NeedsNoDatabase_QueriesSayThatItIsUnavailable(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	_ = l.Close() // nobody listens there now
	pool := open(t, postgres.Config{URL: config.Secret("postgres://u:p@" + address + "/d")})
	if err := pool.Ping(t.Context()); !postgres.IsUnavailable(err) {
		t.Errorf("error %v, want one that is an outage", err)
	}
}

func TestOpen_NeverShowsTheURL(t *testing.T) {
	t.Parallel()
	// The last is a password of base64 that nobody has encoded.
	for _, url := range []string{"postgres://u:hunter2@host:port/d", "hunter2", "postgres://u:hunter2@h/d?pool_max_conns=many", "postgres://u:hunter2/+@h/d"} {
		if _, err := postgres.Open(t.Context(), postgres.Config{URL: config.Secret(url)}); err == nil || strings.Contains(err.Error(), "hunter2") || !strings.Contains(err.Error(), "percent-encoded") {
			t.Errorf("error %v, want one without the URL that says what may be wrong with it", err)
		}
	}
}

func TestOpen_BoundsTheWaitForAConnection(t *testing.T) {
	t.Parallel()
	cfg := pgtest.New(t)
	cfg.MaxConns, cfg.AcquireTimeout = 1, time.Second // making the first connection counts too
	for name, provider := range map[string]*sdktrace.TracerProvider{"with traces": sdktrace.NewTracerProvider(), "without": nil} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := cfg
			if provider != nil {
				cfg.Tracer = provider
			}
			pool := open(t, cfg)
			conn, err := pool.Acquire(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			began := time.Now()
			if _, err := pool.Exec(t.Context(), "SELECT 1"); !postgres.IsUnavailable(err) {
				t.Errorf("error %v, want one that is an outage", err)
			}
			if took := time.Since(began); took > 5*time.Second {
				t.Errorf("waited %s", took)
			}
			conn.Release()
			// The bound is for the wait alone, not for the query that follows.
			if _, err := pool.Exec(t.Context(), "SELECT pg_sleep(1.5)"); err != nil {
				t.Errorf("a query longer than the bound: %v", err)
			}
		})
	}
}

func TestOpen_TracesQueriesWithoutTheirValues(t *testing.T) {
	t.Parallel()
	spans := tracetest.NewInMemoryExporter()
	cfg := pgtest.New(t)
	provider := sdktrace.NewTracerProvider(sdktrace.WithSyncer(spans))
	cfg.Tracer = provider
	pool := open(t, cfg)
	// A query is traced as part of something, such as a request.
	ctx, request := provider.Tracer("test").Start(t.Context(), "request")
	defer request.End()
	if _, err := pool.Exec(ctx, "SELECT $1::text", "390.533.447-05"); err != nil {
		t.Fatal(err)
	}
	text := fmt.Sprintf("%+v", spans.GetSpans())
	if !strings.Contains(text, "SELECT $1::text") {
		t.Errorf("no span of the query in %s", text)
	}
	if strings.Contains(text, "390.533") {
		t.Error("a span carries a value")
	}
}

func TestIsUnavailable(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		err  error
		want bool
	}{
		{"none", nil, false},
		{"no rows", pgx.ErrNoRows, false},
		{"the caller went away", context.Canceled, false},
		{"a passed deadline", fmt.Errorf("x: %w", context.DeadlineExceeded), true},
		{"connection reset", fmt.Errorf("x: %w", &net.OpError{Op: "read", Err: errors.New("reset")}), true},
		{"connection closed", io.ErrUnexpectedEOF, true},
		{"unique violation", &pgconn.PgError{Code: "23505"}, false},
		{"exclusion violation", &pgconn.PgError{Code: "23P01"}, false},
		{"syntax error", &pgconn.PgError{Code: "42601"}, false},
		{"statement timeout", &pgconn.PgError{Code: "57014"}, true},
		{"lock timeout", &pgconn.PgError{Code: "55P03"}, true},
		{"shutting down", &pgconn.PgError{Code: "57P01"}, true},
		{"starting up", &pgconn.PgError{Code: "57P03"}, true},
		{"too many connections", &pgconn.PgError{Code: "53300"}, true},
		{"disk full", &pgconn.PgError{Code: "53100"}, true},
		{"fail-over to a standby", &pgconn.PgError{Code: "25006"}, true},
		{"deadlock after its retries", &pgconn.PgError{Code: "40P01"}, true},
		{"anything else", errors.New("bug"), false},
	} {
		if got := postgres.IsUnavailable(c.err); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

func TestIsUnavailable_StatementsAndLocksThatTakeTooLong(t *testing.T) {
	t.Parallel()
	cfg := pgtest.New(t)
	cfg.StatementTimeout, cfg.LockTimeout = 300*time.Millisecond, 50*time.Millisecond
	pool := open(t, cfg)
	if _, err := pool.Exec(t.Context(), "SELECT pg_sleep(10)"); !postgres.IsUnavailable(err) {
		t.Errorf("a slow statement: %v", err)
	}
	if _, err := pool.Exec(t.Context(), "CREATE TABLE t (id int)"); err != nil {
		t.Fatal(err)
	}
	err := pgx.BeginFunc(t.Context(), pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(t.Context(), "LOCK TABLE t"); err != nil {
			return err
		}
		_, err := pool.Exec(t.Context(), "SELECT FROM t")
		return err
	})
	if postgres.Code(err) != "55P03" || !postgres.IsUnavailable(err) {
		t.Errorf("a locked table: %v", err)
	}
}

func TestRetry_TriesConflictsThreeTimesMore_AndNothingElse(t *testing.T) {
	t.Parallel()
	conflict, other := &pgconn.PgError{Code: "40P01"}, errors.New("no")
	for _, c := range []struct {
		name    string
		results []error // of the calls, in order; the last for good
		calls   int
		want    error
	}{
		{"success", []error{nil}, 1, nil},
		{"another error", []error{other}, 1, other},
		{"a conflict that passes", []error{conflict, fmt.Errorf("x: %w", &pgconn.PgError{Code: "40001"}), nil}, 3, nil},
		{"a conflict that stays", []error{conflict}, 4, conflict},
	} {
		calls := 0
		err := postgres.Retry(t.Context(), func(context.Context) error {
			calls++
			return c.results[min(calls, len(c.results))-1]
		})
		if !errors.Is(err, c.want) || calls != c.calls {
			t.Errorf("%s: %d calls and %v, want %d and %v", c.name, calls, err, c.calls, c.want)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	calls := 0
	err := postgres.Retry(ctx, func(context.Context) error { calls++; cancel(); return conflict })
	if calls != 1 || !errors.Is(err, conflict) {
		t.Errorf("after the caller left: %d calls, %v", calls, err)
	}
}

func set(table string, files ...string) postgres.Migrations {
	fs := fstest.MapFS{}
	for i, sql := range files {
		fs[fmt.Sprintf("%d_x.sql", i+1)] = &fstest.MapFile{Data: []byte("-- +goose Up\n" + sql)}
	}
	return postgres.Migrations{Table: table, FS: fs}
}

func TestMigrate_AppliesEachSetOnce_ThoughManyReplicasStartTogether(t *testing.T) {
	t.Parallel()
	cfg := pgtest.New(t)
	cfg.StatementTimeout = 50 * time.Millisecond // of the service; a migration may take longer
	sets := []postgres.Migrations{
		set("migrations_a", "CREATE TABLE a (n int);", "INSERT INTO a VALUES (1); SELECT pg_sleep(0.2);"),
		set("migrations_b", "CREATE TABLE b AS SELECT n FROM a;"),
	}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			if err := postgres.Migrate(t.Context(), cfg, sets...); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	pool := open(t, cfg)
	var a, b int
	if err := pool.QueryRow(t.Context(), "SELECT (SELECT count(*) FROM a), (SELECT count(*) FROM b)").Scan(&a, &b); err != nil {
		t.Fatal(err)
	}
	if a != 1 || b != 1 {
		t.Errorf("%d and %d rows, want 1 and 1", a, b)
	}
}

func TestMigrate_FailureNamesTheSet_AndLeavesNoHalf(t *testing.T) {
	t.Parallel()
	cfg := pgtest.New(t)
	err := postgres.Migrate(t.Context(), cfg, set("migrations_bad", "CREATE TABLE half (n int);\nSELECT 1/0;"))
	if err == nil || !strings.Contains(err.Error(), "migrations_bad") {
		t.Errorf("error %v, want one that names the set", err)
	}
	var exists bool
	if err := open(t, cfg).QueryRow(t.Context(), "SELECT to_regclass('half') IS NOT NULL").Scan(&exists); err != nil || exists {
		t.Errorf("a table of the failed migration exists: %v %v", exists, err)
	}
	// And the lock is free again.
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := postgres.Migrate(ctx, cfg, set("migrations_good", "SELECT 1;")); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

func TestCollector_TellsThePoolsState(t *testing.T) {
	t.Parallel()
	cfg := pgtest.New(t)
	cfg.MaxConns = 7
	pool := open(t, cfg)
	conn, err := pool.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Release()
	reg := prometheus.NewPedanticRegistry()
	reg.MustRegister(postgres.Collector(pool))
	want := `
# HELP db_pool_acquired_connections Connections in use now.
# TYPE db_pool_acquired_connections gauge
db_pool_acquired_connections 1
# HELP db_pool_max_connections Connections the pool may open.
# TYPE db_pool_max_connections gauge
db_pool_max_connections 7
`
	if err := testutil.GatherAndCompare(reg, strings.NewReader(want), "db_pool_acquired_connections", "db_pool_max_connections"); err != nil {
		t.Error(err)
	}
	if problems, err := testutil.GatherAndLint(reg); err != nil || len(problems) > 0 {
		t.Errorf("metrics: %v %v", problems, err)
	}
}

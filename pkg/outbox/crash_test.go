package outbox_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/healthmed/healthmed/pkg/config"
	"github.com/healthmed/healthmed/pkg/natstest"
	"github.com/healthmed/healthmed/pkg/outbox"
	"github.com/healthmed/healthmed/pkg/postgres"
)

// A relay in a process of its own, so that it can be killed as a machine's failure would.
const (
	relayDatabase = "OUTBOX_TEST_DATABASE"
	relayNATS     = "OUTBOX_TEST_NATS"
)

func TestMain(m *testing.M) {
	if url := os.Getenv(relayDatabase); url != "" {
		if err := relayProcess(url, os.Getenv(relayNATS)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

func relayProcess(database, natsURL string) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	go func() { // gone with the test, however that ends
		_, _ = os.Stdin.Read(make([]byte, 1))
		stop()
	}()
	pool, err := postgres.Open(ctx, postgres.Config{URL: config.Secret(database), MaxConns: 4})
	if err != nil {
		return err
	}
	defer pool.Close()
	nc, err := nats.Connect(natsURL, nats.MaxReconnects(-1))
	if err != nil {
		return err
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		return err
	}
	relay, err := outbox.NewRelay(outbox.RelayConfig{Pool: pool, JS: js, Stream: stream, Poll: 10 * time.Millisecond, Batch: 100})
	if err != nil {
		return err
	}
	return relay.Run(ctx)
}

// startRelay starts a relay process and returns its process id.
func startRelay(t *testing.T, database postgres.Config, server *natstest.Server) {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program)
	cmd.Env = append(os.Environ(), relayDatabase+"="+database.URL.Reveal(), relayNATS+"="+server.Config().URL)
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = stdin.Close()
		_ = cmd.Wait() // those that were killed say so
	})
}

// killLeader kills the process that leads, as kill -9 does, and returns when another leads.
func killLeader(t *testing.T, pool *pgxpool.Pool) time.Duration {
	t.Helper()
	leader := leaderOf(t, pool, "")
	pid, err := strconv.Atoi(leader[strings.LastIndex(leader, "/")+1:])
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	leaderOf(t, pool, leader)
	return time.Since(began)
}

func leaderOf(t *testing.T, pool *pgxpool.Pool, not string) (leader string) {
	t.Helper()
	eventually(t, "a new leader", func() bool {
		state, err := outbox.Status(context.Background(), pool)
		if err != nil {
			t.Fatal(err)
		}
		leader = state.Leader
		return leader != "" && leader != not
	})
	return leader
}

// Sixteen writers append to shared aggregates in transactions that last 0 to 50 ms and so commit in another order than
// they began, while the leader is killed five times. OUTBOX_TEST_EVENTS sets how many events (default 2,000).
func TestRelay_LosesNothing_RepeatsNothing_KeepsOrder_ThoughLeadersAreKilled(t *testing.T) {
	t.Parallel()
	const writers, kills = 16, 5
	total := 2_000
	if s := os.Getenv("OUTBOX_TEST_EVENTS"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil {
			t.Fatal(err)
		}
		total = n
	}
	database := postgresConfig(t)
	database.MaxConns = writers + 4
	database.StatementTimeout, database.LockTimeout = patient, patient
	pool := openPool(t, database)
	server := natstest.NewServer(t)
	js := connect(t, server)
	if _, err := pool.Exec(t.Context(), "CREATE TABLE things (id uuid PRIMARY KEY, version bigint NOT NULL)"); err != nil {
		t.Fatal(err)
	}
	things := make([]uuid.UUID, total/10)
	for i := range things {
		things[i] = uuid.New()
	}
	if _, err := pool.Exec(t.Context(), "INSERT INTO things SELECT unnest($1::uuid[]), 0", things); err != nil {
		t.Fatal(err)
	}
	startRelay(t, database, server)
	startRelay(t, database, server)

	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for range total / writers {
				if err := change(pool, things[rand.IntN(len(things))]); err != nil {
					t.Errorf("writer %d: %v", w, err)
					return
				}
			}
		})
	}
	for k := range kills {
		eventually(t, "enough published for another kill", func() bool {
			return count(t, pool, "published_at IS NOT NULL") >= total*(k+1)/(kills+2)
		})
		took := killLeader(t, pool)
		t.Logf("kill %d: another leader after %s", k+1, took)
		if took > 15*time.Second {
			t.Errorf("hand-over after a crash took %s, want under 15 s", took)
		}
		startRelay(t, database, server)
	}
	wg.Wait()
	eventually(t, "drained", drained(t, pool))

	want := map[string][]int64{}
	rows, _ := pool.Query(t.Context(), "SELECT id, version FROM things WHERE version > 0")
	var id uuid.UUID
	var version int64
	if _, err := pgx.ForEachRow(rows, []any{&id, &version}, func() error {
		for v := range version {
			want[id.String()] = append(want[id.String()], v+1)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	// Equal lists mean: none lost, none twice, none out of order.
	if diff := cmp.Diff(want, versions(t, js)); diff != "" {
		t.Errorf("versions in the stream (-want +got):\n%s", diff)
	}
}

// change is a business transaction: it takes the aggregate's next version and appends its event.
func change(pool *pgxpool.Pool, id uuid.UUID) error {
	ctx := context.Background()
	return pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
		var version int64
		if err := tx.QueryRow(ctx, "UPDATE things SET version = version + 1 WHERE id = $1 RETURNING version", id).Scan(&version); err != nil {
			return err
		}
		if err := outbox.AppendRaw(ctx, tx, thing(id, version)); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, "SELECT pg_sleep($1)", rand.Float64()*0.05)
		return err
	})
}

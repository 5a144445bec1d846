package outbox_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/healthmed/healthmed/pkg/natstest"
	"github.com/healthmed/healthmed/pkg/outbox"
)

func TestRelay_PublishesAnEventAsItWasAppended(t *testing.T) {
	t.Parallel()
	pool := newPool(t)
	js := dial(t, natstest.NewServer(t).Config().URL)
	addStream(t, js, "SCHEDULING", "healthmed.scheduling.>")
	cfg := relayConfig(pool, js)
	cfg.Stream = "SCHEDULING"
	cfg.Poll = time.Hour // so that only the nudge can wake it
	relay, _ := run(t, cfg)
	eventually(t, "leading", relay.Leading)

	env := changed(t, uuid.New(), 1)
	body, err := env.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if err := outbox.Append(t.Context(), pool, env); err != nil {
		t.Fatal(err)
	}
	relay.Nudge()
	eventually(t, "marked", drained(t, pool))

	got := messages(t, js, "SCHEDULING")
	if len(got) != 1 {
		t.Fatalf("%d messages in the stream, want 1", len(got))
	}
	if got[0].Subject() != env.Data.Subject() || string(got[0].Data()) != string(body) {
		t.Errorf("got %s on %s, want %s on %s", got[0].Data(), got[0].Subject(), body, env.Data.Subject())
	}
	for name, want := range env.Headers() {
		if v := got[0].Headers().Get(name); v != want {
			t.Errorf("header %s is %q, want %q", name, v, want)
		}
	}
}

func TestRelay_FindsRowsThatNobodyNudgedFor(t *testing.T) {
	t.Parallel()
	pool := newPool(t)
	cfg := relayConfig(pool, connect(t, natstest.NewServer(t)))
	cfg.Poll = 20 * time.Millisecond
	relay, _ := run(t, cfg)
	eventually(t, "leading", relay.Leading)
	add(t, pool, thing(uuid.New(), 1))
	eventually(t, "published", drained(t, pool))
}

func TestRelay_IsNudgedFromOtherReplicas(t *testing.T) {
	t.Parallel()
	pool := newPool(t)
	server := natstest.NewServer(t)
	cfg := relayConfig(pool, connect(t, server))
	cfg.Poll, cfg.NudgeSubject = time.Hour, "healthmed.nudge.test"
	leader, _ := run(t, cfg)
	eventually(t, "leading", leader.Leading)
	cfg.JS = dial(t, server.Config().URL)
	standby, _ := run(t, cfg)
	add(t, pool, thing(uuid.New(), 1))
	// Nudged again and again, because the standby may not be listening yet.
	eventually(t, "published", func() bool { standby.Nudge(); return drained(t, pool)() })
	if standby.Leading() {
		t.Error("two leaders")
	}
}

func TestRelay_KeepsTheOrderOfEachAggregate(t *testing.T) {
	t.Parallel()
	pool := newPool(t)
	js := connect(t, natstest.NewServer(t))
	want := map[string][]int64{}
	ids := []uuid.UUID{uuid.New(), uuid.New(), uuid.New()}
	for v := range int64(300) {
		for _, id := range ids {
			add(t, pool, thing(id, v+1))
			want[id.String()] = append(want[id.String()], v+1)
		}
	}
	cfg := relayConfig(pool, js)
	cfg.Batch = 50
	run(t, cfg)
	eventually(t, "published", drained(t, pool))
	if diff := cmp.Diff(want, versions(t, js)); diff != "" {
		t.Errorf("versions in the stream (-want +got):\n%s", diff)
	}
}

// The rows of a transaction that is open while others commit come after theirs, though their numbers come before.
func TestRelay_DoesNotPassOverATransactionThatCommitsLate(t *testing.T) {
	t.Parallel()
	pool := newPool(t)
	js := connect(t, natstest.NewServer(t))
	relay, _ := run(t, relayConfig(pool, js))
	eventually(t, "leading", relay.Leading)
	early, late := uuid.New(), uuid.New()
	err := pgx.BeginFunc(t.Context(), pool, func(tx pgx.Tx) error {
		if err := outbox.AppendRaw(t.Context(), tx, thing(early, 1)); err != nil {
			return err
		}
		add(t, pool, thing(late, 1))
		relay.Nudge()
		eventually(t, "the later row published", func() bool { return count(t, pool, "published_at IS NOT NULL") == 1 })
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	relay.Nudge()
	eventually(t, "published", drained(t, pool))
	if diff := cmp.Diff(map[string][]int64{early.String(): {1}, late.String(): {1}}, versions(t, js)); diff != "" {
		t.Errorf("versions in the stream (-want +got):\n%s", diff)
	}
}

// A transaction that is open for long keeps PostgreSQL from cleaning up behind the relay, and must not slow it down.
func TestRelay_IsNotStalledByALongTransaction(t *testing.T) {
	t.Parallel()
	cfg := postgresConfig(t)
	cfg.IdleInTransactionTimeout = 0
	pool := openPool(t, cfg)
	js := connect(t, natstest.NewServer(t))
	tx, err := pool.BeginTx(t.Context(), pgx.TxOptions{IsoLevel: pgx.RepeatableRead})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(t.Context())) }()
	// It reads and writes, so that it holds a snapshot and a transaction id.
	if err := outbox.AppendRaw(t.Context(), tx, thing(uuid.New(), 1)); err != nil {
		t.Fatal(err)
	}
	relay, _ := run(t, relayConfig(pool, js))
	const rounds, size = 20, 500
	for range rounds {
		msgs := make([]outbox.Raw, size)
		for i := range msgs {
			msgs[i] = thing(uuid.New(), 1)
		}
		add(t, pool, msgs...)
		relay.Nudge()
		eventually(t, "published in spite of the open transaction", drained(t, pool))
	}
	// The slowest part is what comes last, when the most is left lying about.
	began := time.Now()
	add(t, pool, thing(uuid.New(), 1))
	relay.Nudge()
	eventually(t, "published", drained(t, pool))
	if took := time.Since(began); took > time.Second {
		t.Errorf("the last event took %s, after %d others under a long transaction", took, rounds*size)
	}
}

func TestRelay_HandsOverWithinTwoSecondsWhenStopped(t *testing.T) {
	t.Parallel()
	pool := newPool(t)
	server := natstest.NewServer(t)
	cfg := relayConfig(pool, connect(t, server))
	first, stop := run(t, cfg)
	eventually(t, "the first leads", first.Leading)
	cfg.JS = dial(t, server.Config().URL)
	second, _ := run(t, cfg)
	began := time.Now()
	stop()
	eventually(t, "the second leads", second.Leading)
	if took := time.Since(began); took > 2*time.Second {
		t.Errorf("hand-over took %s, want under 2 s", took)
	}
	if first.Leading() {
		t.Error("the first still leads")
	}
}

// What the last request of a stopping service committed leaves with it, although nobody has nudged and no poll is due.
func TestRelay_PublishesBeforeItStops(t *testing.T) {
	t.Parallel()
	pool := newPool(t)
	cfg := relayConfig(pool, connect(t, natstest.NewServer(t)))
	cfg.Poll = time.Hour
	relay, stop := run(t, cfg)
	add(t, pool, thing(uuid.New(), 1))
	eventually(t, "published, and waiting for a nudge", func() bool { relay.Nudge(); return drained(t, pool)() })
	chain := make([]outbox.Raw, 10) // each waits for the one before it
	for i, id := 0, uuid.New(); i < len(chain); i++ {
		chain[i] = thing(id, int64(i+1))
	}
	sub, err := cfg.JS.Conn().SubscribeSync(chain[0].Subject)
	if err != nil {
		t.Fatal(err)
	}
	add(t, pool, chain...)
	relay.Nudge()
	if _, err := sub.NextMsg(patient); err != nil { // so one of them is most likely in flight when it is stopped
		t.Fatal(err)
	}
	stop()
	if left := count(t, pool, "published_at IS NULL"); left > 0 {
		t.Errorf("%d events are not published", left)
	}
}

func TestRelay_StopsLeadingAtOnceWhenItsConnectionIsLost(t *testing.T) {
	t.Parallel()
	pool := newPool(t)
	cfg := relayConfig(pool, connect(t, natstest.NewServer(t)))
	cfg.Poll = time.Hour // it has no other reason to look at its connection
	relay, _ := run(t, cfg)
	eventually(t, "leading", relay.Leading)
	began := time.Now()
	tag, err := pool.Exec(t.Context(), "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'outbox-relay%' AND datname = current_database()")
	if err != nil || tag.RowsAffected() != 1 {
		t.Fatalf("%d relay connections ended, want 1: %v", tag.RowsAffected(), err)
	}
	eventually(t, "no longer leading", func() bool { return !relay.Leading() })
	if took := time.Since(began); took > time.Second {
		t.Errorf("noticed after %s", took)
	}
	eventually(t, "leading again", relay.Leading)
	add(t, pool, thing(uuid.New(), 1))
	relay.Nudge()
	eventually(t, "published", drained(t, pool))
}

func TestNewRelay_SaysWhatIsMissing(t *testing.T) {
	t.Parallel()
	pool := newPool(t)
	js := connect(t, natstest.NewServer(t))
	for want, cfg := range map[string]outbox.RelayConfig{
		"Pool":   {JS: js, Stream: stream},
		"JS":     {Pool: pool, Stream: stream},
		"Stream": {Pool: pool, JS: js},
	} {
		if _, err := outbox.NewRelay(cfg); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("without %s: error %v", want, err)
		}
	}
}

// The relay must come up before the database does, and lead when it is there.
func TestRelay_SurvivesADatabaseThatIsDown(t *testing.T) {
	t.Parallel()
	cfg := postgresConfig(t)
	good := openPool(t, cfg)
	gone := cfg
	gone.URL = "postgres://nobody@127.0.0.1:1/none"
	js := connect(t, natstest.NewServer(t))
	relay, stop := run(t, relayConfig(openPool(t, gone), js))
	relay.Nudge()
	stop() // returns nil though it never had a connection
	again, _ := run(t, relayConfig(good, js))
	eventually(t, "leading", again.Leading)
}

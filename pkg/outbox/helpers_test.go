package outbox_test

import (
	"context"
	"encoding/binary"
	"log/slog"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/healthmed/healthmed/pkg/natstest"
	"github.com/healthmed/healthmed/pkg/outbox"
)

const (
	stream  = "TEST"
	subject = "healthmed.test.thing.happened.v1."
	patient = 30 * time.Second // how long a test waits for what must come
)

// connect gives a connection that outlives restarts of the server, and a stream on it.
func connect(t testing.TB, server *natstest.Server) jetstream.JetStream {
	t.Helper()
	js := dial(t, server.Config().URL)
	addStream(t, js, stream, "healthmed.test.>")
	return js
}

func dial(t testing.TB, url string) jetstream.JetStream {
	t.Helper()
	nc, err := nats.Connect(url, nats.MaxReconnects(-1), nats.ReconnectWait(50*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	return js
}

func addStream(t testing.TB, js jetstream.JetStream, name string, subjects ...string) {
	t.Helper()
	_, err := js.CreateStream(context.Background(), jetstream.StreamConfig{Name: name, Subjects: subjects,
		Duplicates: time.Hour, MaxAge: 24 * time.Hour})
	if err != nil {
		t.Fatal(err)
	}
}

func relayConfig(pool *pgxpool.Pool, js jetstream.JetStream) outbox.RelayConfig {
	return outbox.RelayConfig{Pool: pool, JS: js, Stream: stream}
}

// run starts a relay; the returned function stops it and waits.
func run(t testing.TB, cfg outbox.RelayConfig) (*outbox.Relay, func()) {
	t.Helper()
	if testing.Verbose() {
		cfg.Log = slog.New(slog.NewTextHandler(t.Output(), nil))
	}
	relay, err := outbox.NewRelay(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- relay.Run(ctx) }()
	stop := func() {
		cancel()
		if err, ok := <-done; ok {
			close(done)
			if err != nil {
				t.Errorf("Run: %v, want nil after a clean stop", err)
			}
		}
	}
	t.Cleanup(stop)
	return relay, stop
}

// thing is a message of one aggregate: its data are the version, so that a reader can check the order.
func thing(aggregate uuid.UUID, version int64) outbox.Raw {
	return outbox.Raw{Subject: subject + aggregate.String(), AggregateID: aggregate, AggregateVersion: version,
		Data: binary.BigEndian.AppendUint64(nil, uint64(version))}
}

func add(t testing.TB, pool *pgxpool.Pool, msgs ...outbox.Raw) {
	t.Helper()
	if err := outbox.AppendRaw(t.Context(), pool, msgs...); err != nil {
		t.Fatal(err)
	}
}

// eventually waits until a question is answered with yes.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(patient)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("not within %s: %s", patient, what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func count(t testing.TB, pool *pgxpool.Pool, where string) int {
	t.Helper()
	var n int
	if err := pool.QueryRow(context.Background(), "SELECT count(*) FROM outbox WHERE "+where).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

func drained(t testing.TB, pool *pgxpool.Pool) func() bool {
	return func() bool { return count(t, pool, "published_at IS NULL") == 0 }
}

// versions reads the stream: by aggregate, the versions in the order in which they were stored.
func versions(t testing.TB, js jetstream.JetStream) map[string][]int64 {
	t.Helper()
	got := map[string][]int64{}
	for _, m := range messages(t, js, stream) {
		id := m.Subject()[len(subject):]
		got[id] = append(got[id], int64(binary.BigEndian.Uint64(m.Data())))
	}
	return got
}

func messages(t testing.TB, js jetstream.JetStream, stream string) []jetstream.Msg {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patient)
	defer cancel()
	s, err := js.Stream(ctx, stream)
	if err != nil {
		t.Fatal(err)
	}
	n := int(s.CachedInfo().State.Msgs)
	c, err := s.OrderedConsumer(ctx, jetstream.OrderedConsumerConfig{})
	if err != nil {
		t.Fatal(err)
	}
	var all []jetstream.Msg
	for len(all) < n {
		batch, err := c.Fetch(min(n-len(all), 1000), jetstream.FetchMaxWait(patient))
		if err != nil {
			t.Fatal(err)
		}
		before := len(all)
		for m := range batch.Messages() {
			all = append(all, m)
		}
		if err := batch.Error(); err != nil || len(all) == before {
			t.Fatalf("read %d of %d messages: %v", len(all), n, err)
		}
	}
	return all
}

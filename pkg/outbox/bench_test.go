package outbox_test

import (
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/healthmed/healthmed/pkg/natstest"
	"github.com/healthmed/healthmed/pkg/outbox"
)

const (
	backlogRows       = 100_000
	backlogAggregates = 20_000
	eventSize         = 700 // bytes, about what a booking's event has
)

// BenchmarkRelay_Drain publishes a backlog of 100,000 events, five of each aggregate. Target: 10,000 events/s.
func BenchmarkRelay_Drain(b *testing.B) {
	b.Run("healthy", func(b *testing.B) { drain(b, 0) })
	b.Run("10 poison rows", func(b *testing.B) { drain(b, 10) })
}

func drain(b *testing.B, poison int) {
	pool := newPool(b)
	js := connect(b, natstest.NewServer(b, natstest.WithOptions(func(o *server.Options) { o.MaxPayload = 64 << 10 })))
	b.ReportAllocs()
	for b.Loop() {
		b.StopTimer()
		for range poison {
			bad := thing(uuid.New(), 1)
			bad.Data = make([]byte, 100<<10)
			add(b, pool, bad)
		}
		backlog(b, func(msgs []outbox.Raw) { add(b, pool, msgs...) })
		b.StartTimer()
		began := time.Now()
		_, stop := run(b, relayConfig(pool, js))
		eventually(b, "backlog drained", func() bool { return count(b, pool, "published_at IS NULL") == poison })
		b.ReportMetric(backlogRows/time.Since(began).Seconds(), "events/s")
		b.StopTimer()
		stop()
		if got := emptied(b, js); got != backlogRows {
			b.Fatalf("%d messages in the stream, want %d", got, backlogRows)
		}
		if _, err := pool.Exec(b.Context(), "TRUNCATE outbox"); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
}

func backlog(b *testing.B, add func([]outbox.Raw)) {
	b.Helper()
	data := make([]byte, eventSize)
	ids := make([]uuid.UUID, backlogAggregates)
	for i := range ids {
		ids[i] = uuid.New()
	}
	for v := range backlogRows / backlogAggregates {
		msgs := make([]outbox.Raw, 0, len(ids))
		for _, id := range ids {
			m := thing(id, int64(v))
			m.Data = data
			msgs = append(msgs, m)
		}
		add(msgs)
	}
}

// emptied counts the stream's messages and empties it.
func emptied(b *testing.B, js jetstream.JetStream) uint64 {
	b.Helper()
	s, err := js.Stream(b.Context(), stream)
	if err != nil {
		b.Fatal(err)
	}
	if err := s.Purge(b.Context()); err != nil {
		b.Fatal(err)
	}
	return s.CachedInfo().State.Msgs
}

// BenchmarkRelay_Delay measures from commit to the stream's acknowledgement, at 200 events per second for five
// seconds. Targets with default sync: p50 under 5 ms, p99 under 100 ms.
func BenchmarkRelay_Delay(b *testing.B) {
	b.Run("default sync", func(b *testing.B) { delay(b, false) })
	b.Run("sync always", func(b *testing.B) { delay(b, true) })
}

func delay(b *testing.B, sync bool) {
	const rate, n = 200, 1000
	for b.Loop() {
		pool := newPool(b)
		js := connect(b, natstest.NewServer(b, natstest.WithOptions(func(o *server.Options) { o.SyncAlways = sync })))
		relay, stop := run(b, relayConfig(pool, js))
		eventually(b, "leading", relay.Leading)
		committed := map[string]time.Time{}
		tick := time.NewTicker(time.Second / rate)
		for range n {
			<-tick.C
			m := thing(uuid.New(), 1)
			m.Data = make([]byte, eventSize)
			add(b, pool, m)
			committed[m.Subject] = time.Now()
			relay.Nudge()
		}
		tick.Stop()
		eventually(b, "published", drained(b, pool))
		stop()
		// The mark's time is taken just after the acknowledgement, and so is a little more than what is asked.
		rows, _ := pool.Query(b.Context(), "SELECT subject, published_at FROM outbox")
		var subject string
		var published time.Time
		delays := make([]time.Duration, 0, n)
		if _, err := pgx.ForEachRow(rows, []any{&subject, &published}, func() error {
			delays = append(delays, max(0, published.Sub(committed[subject])))
			return nil
		}); err != nil {
			b.Fatal(err)
		}
		if len(delays) != n {
			b.Fatalf("%d messages in the stream, want %d", len(delays), n)
		}
		slices.Sort(delays)
		b.ReportMetric(float64(delays[n/2].Microseconds())/1000, "p50-ms")
		b.ReportMetric(float64(delays[n*99/100].Microseconds())/1000, "p99-ms")
		b.ReportMetric(0, "ns/op")
	}
}

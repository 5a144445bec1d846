package bus_test

import (
	"context"
	"sync/atomic"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/healthmed/healthmed/pkg/bus"
	"github.com/healthmed/healthmed/pkg/natstest"
)

// BenchmarkSubscribe is the time per event of the machinery alone: fetch, decode, an empty handler, confirmed
// acknowledgement.
func BenchmarkSubscribe(b *testing.B) {
	for name, workers := range map[string]int{"one at once, in order": 1, "eight at once": 8} {
		b.Run(name, func(b *testing.B) {
			conn, err := bus.Connect(b.Context(), natstest.New(b), "bench", nil, nil)
			if err != nil {
				b.Fatal(err)
			}
			b.Cleanup(conn.Close)
			if err := conn.EnsureStreams(b.Context(), bus.Scheduling, bus.DeadLetters); err != nil {
				b.Fatal(err)
			}
			env := booked(b, 1)
			body, err := env.Encode()
			if err != nil {
				b.Fatal(err)
			}
			for range b.N {
				if _, err := conn.JS.PublishAsync(env.Data.Subject(), body, jetstream.WithExpectStream(bus.Scheduling)); err != nil {
					b.Fatal(err)
				}
			}
			<-conn.JS.PublishAsyncComplete()
			ctx, cancel := context.WithCancel(b.Context())
			defer cancel()
			var handled atomic.Int64
			done, stopped := make(chan struct{}), make(chan error, 1)
			b.ResetTimer()
			go func() {
				stopped <- conn.Subscribe(ctx, bus.Subscription{Stream: bus.Scheduling, Durable: "bench", InFlight: workers, Handle: func(context.Context, bus.Message) error {
					if handled.Add(1) == int64(b.N) {
						close(done)
					}
					return nil
				}})
			}()
			<-done
			b.StopTimer()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
			cancel()
			if err := <-stopped; err != nil {
				b.Error(err)
			}
		})
	}
}

package bus_test

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/healthmed/healthmed/pkg/bus"
	"github.com/healthmed/healthmed/pkg/events"
	"github.com/healthmed/healthmed/pkg/natstest"
)

const soon = 10 * time.Second // within which what a test waits for must have happened

// connect opens a connection of its own to the server.
func connect(t *testing.T, cfg bus.Config, reg prometheus.Registerer) *bus.Conn {
	t.Helper()
	log := slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))
	conn, err := bus.Connect(t.Context(), cfg, "test", log, reg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	return conn
}

// started opens a connection to a fresh server with all streams.
func started(t *testing.T) (*natstest.Server, *bus.Conn) {
	t.Helper()
	srv := natstest.NewServer(t)
	conn := connect(t, srv.Config(), nil)
	ensure(t, conn, bus.Streams()...)
	return srv, conn
}

func ensure(t *testing.T, conn *bus.Conn, names ...string) {
	t.Helper()
	if err := conn.EnsureStreams(t.Context(), names...); err != nil {
		t.Fatal(err)
	}
}

// background runs something until the test ends or stop is called; it fails the test if that returns an error.
func background(t *testing.T, run func(context.Context) error) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := run(ctx); err != nil {
			t.Errorf("returned %v, want nil", err)
		}
	}()
	stop = func() { cancel(); <-done }
	t.Cleanup(stop)
	return stop
}

func booked(t testing.TB, version int64) events.Envelope {
	t.Helper()
	env, err := events.New(&events.AppointmentBooked{Appointment: events.Appointment{
		AppointmentID: uuid.Must(uuid.NewV7()), DoctorID: uuid.Must(uuid.NewV7()), PatientID: uuid.Must(uuid.NewV7()),
		StartsAt: time.Date(2026, 12, 1, 12, 0, 0, 0, time.UTC), EndsAt: time.Date(2026, 12, 1, 12, 30, 0, 0, time.UTC),
		TimeZone: "America/Sao_Paulo", Status: "booked", Version: version,
		Actor: events.Actor{Role: "system"}, OccurredAt: time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC),
	}}, version)
	if err != nil {
		t.Fatal(err)
	}
	return env
}

// publish stores an event as the outbox would.
func publish(t *testing.T, conn *bus.Conn, env events.Envelope) uint64 {
	t.Helper()
	body, err := env.Encode()
	if err != nil {
		t.Fatal(err)
	}
	msg := nats.NewMsg(env.Data.Subject())
	msg.Header.Set("Content-Type", "application/cloudevents+json; charset=utf-8")
	if env.TraceParent != "" {
		msg.Header.Set("traceparent", env.TraceParent)
	}
	msg.Data = body
	return publishRaw(t, conn, msg, jetstream.WithMsgID(env.ID.String()))
}

func publishRaw(t *testing.T, conn *bus.Conn, msg *nats.Msg, opts ...jetstream.PublishOpt) uint64 {
	t.Helper()
	ack, err := conn.JS.PublishMsg(t.Context(), msg, opts...)
	if err != nil {
		t.Fatal(err)
	}
	return ack.Sequence
}

// receive waits for a value.
func receive[T any](t *testing.T, ch <-chan T) T {
	t.Helper()
	select {
	case v := <-ch:
		return v
	case <-time.After(soon):
		t.Fatalf("nothing of type %T arrived within %s", *new(T), soon)
		panic("unreachable")
	}
}

// eventually waits until a condition holds.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(soon); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within %s", what, soon)
		}
	}
}

// settled waits until a durable has been given everything, at least one message, and has acknowledged it. (A consumer that
// is just being made says for a moment that nothing is pending.)
func settled(t *testing.T, conn *bus.Conn, stream, durable string) {
	t.Helper()
	eventually(t, durable+" has handled all", func() bool {
		cons, err := conn.JS.Consumer(t.Context(), stream, durable)
		if err != nil {
			return false
		}
		info := cons.CachedInfo()
		return info.NumPending == 0 && info.NumAckPending == 0 && info.Delivered.Consumer > 0
	})
}

func maintain(conn *bus.Conn, names ...string) func(context.Context) error {
	return func(ctx context.Context) error { return conn.MaintainStreams(ctx, names...) }
}

func mustEncode(t *testing.T, env events.Envelope) []byte {
	t.Helper()
	body, err := env.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return body
}

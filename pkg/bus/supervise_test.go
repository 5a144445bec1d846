package bus_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/healthmed/healthmed/pkg/bus"
	"github.com/healthmed/healthmed/pkg/natstest"
)

// reader subscribes and gives the ids of what it handled.
func reader(t *testing.T, conn *bus.Conn, change ...func(*bus.Subscription)) <-chan uuid.UUID {
	t.Helper()
	ids := make(chan uuid.UUID, 1000)
	subscribe(t, conn, func(_ context.Context, m bus.Message) error { ids <- m.ID; return nil }, change...)
	return ids
}

func wantNext(t *testing.T, ids <-chan uuid.UUID, want uuid.UUID) {
	t.Helper()
	if got := receive(t, ids); got != want {
		t.Errorf("got event %s, want %s", got, want)
	}
}

func TestSubscribe_WaitsForItsStreamToExist(t *testing.T) {
	t.Parallel()
	conn := connect(t, natstest.New(t), nil)
	ids := reader(t, conn)
	if _, err := conn.JS.Stream(t.Context(), bus.Scheduling); err == nil {
		t.Fatal("subscribing made a stream")
	}
	ensure(t, conn, bus.Scheduling)
	env := booked(t, 1)
	publish(t, conn, env)
	wantNext(t, ids, env.ID)
}

func TestSubscribe_SurvivesTheDeletionOfItsConsumer(t *testing.T) {
	t.Parallel()
	for name, workers := range map[string]int{"one at once": 1, "three at once": 3} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, conn := started(t)
			seen := make(chan bus.Message, 100)
			subscribe(t, conn, func(_ context.Context, m bus.Message) error { seen <- m; return nil }, inFlight(workers),
				func(s *bus.Subscription) { s.AckWait = time.Second }) // what was on its way to a worker that was just lost comes again after it
			publish(t, conn, booked(t, 1))
			receive(t, seen)
			settled(t, conn, bus.Scheduling, "reader")
			if err := conn.JS.DeleteConsumer(t.Context(), bus.Scheduling, "reader"); err != nil {
				t.Fatal(err)
			}
			env := booked(t, 1)
			publish(t, conn, env)
			for receive(t, seen).ID != env.ID { // the new consumer begins at the beginning: at least once
			}
			settled(t, conn, bus.Scheduling, "reader")
		})
	}
}

func TestSubscribe_SurvivesTheLossOfItsStream(t *testing.T) {
	t.Parallel()
	_, conn := started(t)
	ids := reader(t, conn)
	first := booked(t, 1)
	publish(t, conn, first)
	wantNext(t, ids, first.ID)
	if err := conn.JS.DeleteStream(t.Context(), bus.Scheduling); err != nil {
		t.Fatal(err)
	}
	ensure(t, conn, bus.Scheduling)
	second := booked(t, 1)
	publish(t, conn, second)
	wantNext(t, ids, second.ID)
}

func TestSubscribe_SurvivesARestartOfTheServerAndLosesNothing(t *testing.T) {
	t.Parallel()
	srv, conn := started(t)
	ids := reader(t, conn)
	before := booked(t, 1)
	publish(t, conn, before)
	wantNext(t, ids, before.ID)
	settled(t, conn, bus.Scheduling, "reader")

	srv.Restart()
	// IsConnected alone is still true of the old connection for a moment.
	eventually(t, "reconnected", func() bool { return conn.NATS.Stats().Reconnects > 0 && conn.NATS.IsConnected() })
	after := booked(t, 1)
	publish(t, conn, after)
	wantNext(t, ids, after.ID)
	settled(t, conn, bus.Scheduling, "reader")
	if len(ids) != 0 {
		t.Errorf("%d events were given again", len(ids))
	}
}

// The handler finishes while the server is away. Its acknowledgement cannot get through at that moment.
func TestSubscribe_FinishesAMessageWhoseServerWentAway(t *testing.T) {
	t.Parallel()
	srv, conn := started(t)
	var handled atomic.Int32
	began, release := make(chan struct{}, 10), make(chan struct{})
	subscribe(t, conn, func(context.Context, bus.Message) error {
		began <- struct{}{}
		<-release
		handled.Add(1)
		return nil
	}, func(s *bus.Subscription) { s.AckWait = 2 * time.Second })
	publish(t, conn, booked(t, 1))
	receive(t, began)
	srv.Stop()
	eventually(t, "the connection is lost", func() bool { return !conn.NATS.IsConnected() })
	close(release)
	eventually(t, "handled", func() bool { return handled.Load() > 0 })
	srv.Start()
	settled(t, conn, bus.Scheduling, "reader")
	if n := handled.Load(); n > 2 {
		t.Errorf("handled %d times", n)
	}
}

func TestSubscribe_BeginsBeforeTheServerDoes(t *testing.T) {
	t.Parallel()
	srv := natstest.NewServer(t)
	ensure(t, connect(t, srv.Config(), nil), bus.Scheduling)
	srv.Stop()
	began := time.Now()
	conn := connect(t, srv.Config(), nil)
	if took := time.Since(began); took > 2*time.Second {
		t.Errorf("connecting to nobody took %s", took)
	}
	ids := reader(t, conn)
	srv.Start()
	eventually(t, "connected", conn.NATS.IsConnected)
	env := booked(t, 1)
	publish(t, conn, env)
	wantNext(t, ids, env.ID)
}

func TestSubscribe_StoppingFinishesWhatIsInHand(t *testing.T) {
	t.Parallel()
	_, conn := started(t)
	began, release, finished := make(chan struct{}, 10), make(chan struct{}), make(chan error, 1)
	stop := subscribe(t, conn, func(ctx context.Context, _ bus.Message) error {
		began <- struct{}{}
		<-release
		finished <- ctx.Err()
		return nil
	})
	publish(t, conn, booked(t, 1))
	publish(t, conn, booked(t, 1))
	receive(t, began)
	stopped := make(chan struct{})
	go func() { defer close(stopped); stop() }()
	select {
	case <-stopped:
		t.Fatal("stopped with a message in hand")
	case <-time.After(50 * time.Millisecond):
	}
	close(release)
	if err := receive(t, finished); err != nil {
		t.Errorf("the handler was cut off: %v", err)
	}
	receive(t, stopped)
	cons, err := conn.JS.Consumer(t.Context(), bus.Scheduling, "reader")
	if err != nil {
		t.Fatal(err)
	}
	if got := cons.CachedInfo(); got.AckFloor.Stream != 1 || got.NumAckPending != 0 || len(began) != 0 {
		t.Errorf("acknowledged up to %d, %d pending, %d more begun", got.AckFloor.Stream, got.NumAckPending, len(began))
	}
}

// What a stopping replica cannot finish is given to another at once, long before AckWait (30 s).
func TestSubscribe_StoppingHandsBackWhatTakesTooLong(t *testing.T) {
	t.Parallel()
	srv, conn := started(t)
	began := make(chan struct{}, 1)
	stop := subscribe(t, conn, func(ctx context.Context, _ bus.Message) error {
		began <- struct{}{}
		<-ctx.Done()
		return ctx.Err()
	}, maxDeliver(1), func(s *bus.Subscription) { s.StopWithin = 100 * time.Millisecond })
	env := booked(t, 1)
	publish(t, conn, env)
	receive(t, began)
	at := time.Now()
	stop()
	if took := time.Since(at); took > 2*time.Second {
		t.Errorf("stopping took %s", took)
	}
	wantNext(t, reader(t, connect(t, srv.Config(), nil)), env.ID)
	settled(t, conn, bus.Scheduling, "reader")
	if n := info(t, conn, bus.DeadLetters).State.Msgs; n != 0 {
		t.Errorf("%d dead letters", n)
	}
}

func TestSubscribe_StoppingDoesNotWaitForAHandlerThatIgnoresIt(t *testing.T) {
	t.Parallel()
	_, conn := started(t)
	began, release := make(chan struct{}, 1), make(chan struct{})
	defer close(release)
	ctx, cancel := context.WithCancel(t.Context())
	result := make(chan error, 1)
	go func() {
		result <- conn.Subscribe(ctx, bus.Subscription{
			Stream: bus.Scheduling, Durable: "reader", StopWithin: 50 * time.Millisecond,
			Handle: func(context.Context, bus.Message) error { began <- struct{}{}; <-release; return nil },
		})
	}()
	publish(t, conn, booked(t, 1))
	receive(t, began)
	cancel()
	if err := receive(t, result); err == nil {
		t.Error("it claims to have stopped cleanly")
	}
}

func TestSubscribe_StoppingIsCleanWhileTheServerIsAway(t *testing.T) {
	t.Parallel()
	srv, conn := started(t)
	began, release := make(chan struct{}, 1), make(chan struct{})
	stop := subscribe(t, conn, func(context.Context, bus.Message) error { began <- struct{}{}; <-release; return nil },
		func(s *bus.Subscription) { s.StopWithin = 200 * time.Millisecond })
	publish(t, conn, booked(t, 1))
	receive(t, began)
	srv.Stop()
	eventually(t, "the connection is lost", func() bool { return !conn.NATS.IsConnected() })
	close(release) // it is handled, and cannot be acknowledged
	at := time.Now()
	stop()
	if took := time.Since(at); took > 2*time.Second {
		t.Errorf("stopping took %s", took)
	}
}

func TestSubscribe_StoppingDuringAnOutageHandsTheMessageBack(t *testing.T) {
	t.Parallel()
	srv, conn := started(t)
	outage := errors.New("database is down")
	began := make(chan struct{}, 1000)
	stop := subscribe(t, conn, func(context.Context, bus.Message) error { began <- struct{}{}; return outage }, func(s *bus.Subscription) {
		s.Unavailable, s.RetryDelay = func(err error) bool { return errors.Is(err, outage) }, time.Hour
	})
	env := booked(t, 1)
	publish(t, conn, env)
	receive(t, began)
	stop()
	wantNext(t, reader(t, connect(t, srv.Config(), nil)), env.ID)
}

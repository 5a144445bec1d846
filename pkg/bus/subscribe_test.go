package bus_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/nats-io/nats.go"

	"github.com/healthmed/healthmed/pkg/bus"
	"github.com/healthmed/healthmed/pkg/events"
)

// subscribe runs a subscription to SCHEDULING called "reader" in the background; change may set more of it.
func subscribe(t *testing.T, conn *bus.Conn, handle bus.Handler, change ...func(*bus.Subscription)) (stop func()) {
	t.Helper()
	s := bus.Subscription{Stream: bus.Scheduling, Durable: "reader", RetryDelay: 10 * time.Millisecond, Handle: handle}
	for _, c := range change {
		c(&s)
	}
	return background(t, func(ctx context.Context) error { return conn.Subscribe(ctx, s) })
}

func inFlight(n int) func(*bus.Subscription)   { return func(s *bus.Subscription) { s.InFlight = n } }
func maxDeliver(n int) func(*bus.Subscription) { return func(s *bus.Subscription) { s.MaxDeliver = n } }

func TestSubscribe_GivesTheEventAsItWasPublished(t *testing.T) {
	t.Parallel()
	_, conn := started(t)
	got := make(chan bus.Message, 1)
	subscribe(t, conn, func(_ context.Context, m bus.Message) error { got <- m; return nil })
	env := booked(t, 1)
	seq := publish(t, conn, env)
	m := receive(t, got)
	want := bus.Message{Envelope: env, Stream: bus.Scheduling, StreamSeq: seq, Subject: env.Data.Subject(), Delivered: 1, Stored: m.Stored}
	if diff := cmp.Diff(want, m); diff != "" {
		t.Error(diff)
	}
	if age := time.Since(m.Stored); age < 0 || age > soon {
		t.Errorf("stored %s ago", age)
	}
	settled(t, conn, bus.Scheduling, "reader")
}

func TestSubscribe_GivesWhatWasPublishedBeforeAndOnlyWhatWasAskedFor(t *testing.T) {
	t.Parallel()
	_, conn := started(t)
	doctor := uuid.Must(uuid.NewV7())
	env, err := events.New(&events.AvailabilityChanged{DoctorID: doctor, Version: 1, OccurredAt: time.Now().UTC()}, 1)
	if err != nil {
		t.Fatal(err)
	}
	publish(t, conn, booked(t, 1))
	publish(t, conn, env)
	publish(t, conn, booked(t, 1))
	got := make(chan string, 3)
	subscribe(t, conn, func(_ context.Context, m bus.Message) error { got <- m.Data.Type(); return nil },
		func(s *bus.Subscription) { s.Subjects = []string{"healthmed.scheduling.availability.changed.v1.>"} })
	if g := receive(t, got); g != env.Data.Type() {
		t.Errorf("got %s", g)
	}
	settled(t, conn, bus.Scheduling, "reader")
	if len(got) > 0 {
		t.Errorf("and then %s", <-got)
	}
}

func TestSubscribe_AFutureVersionOfAnEventIsTheHandlersToIgnore(t *testing.T) {
	t.Parallel()
	_, conn := started(t)
	got := make(chan events.Event, 1)
	subscribe(t, conn, func(_ context.Context, m bus.Message) error { got <- m.Data; return nil })
	const body = `{"specversion":"1.0","id":"0193b5a1-7c2e-7bb3-9d6a-0123456789ab","source":"/healthmed/scheduling",
		"type":"br.com.healthmed.scheduling.appointment.booked.v2","subject":"0193b5a0-0000-7000-8000-000000000a99",
		"time":"2026-11-24T10:00:00Z","datacontenttype":"application/json","sequence":"00000000000000000001","data":{"new":true}}`
	publishRaw(t, conn, &nats.Msg{Subject: "healthmed.scheduling.appointment.booked.v2.x.y", Data: []byte(body)})
	if _, ok := receive(t, got).(*events.Unknown); !ok {
		t.Error("not Unknown")
	}
	settled(t, conn, bus.Scheduling, "reader")
}

func TestSubscribe_TriesAgainUntilTheHandlerSucceeds(t *testing.T) {
	t.Parallel()
	_, conn := started(t)
	tries := make(chan uint64, 10)
	subscribe(t, conn, func(_ context.Context, m bus.Message) error {
		tries <- m.Delivered
		if m.Delivered < 3 {
			return errors.New("not yet")
		}
		return nil
	})
	publish(t, conn, booked(t, 1))
	for want := uint64(1); want <= 3; want++ {
		if got := receive(t, tries); got != want {
			t.Errorf("delivery %d, want %d", got, want)
		}
	}
	settled(t, conn, bus.Scheduling, "reader")
}

// Two replicas of a service share a durable; one event fails now and then. The diary is still told in order.
func TestSubscribe_KeepsTheOrderOverReplicasAndFailures(t *testing.T) {
	t.Parallel()
	srv, conn := started(t)
	const events = 60
	var mu sync.Mutex
	var order []uint64
	handle := func(_ context.Context, m bus.Message) error {
		if m.StreamSeq%7 == 0 && m.Delivered < 3 {
			return errors.New("not yet")
		}
		mu.Lock()
		defer mu.Unlock()
		order = append(order, m.StreamSeq)
		return nil
	}
	subscribe(t, conn, handle)
	subscribe(t, connect(t, srv.Config(), nil), handle)
	for range events {
		publish(t, conn, booked(t, 1))
	}
	settled(t, conn, bus.Scheduling, "reader")
	mu.Lock()
	defer mu.Unlock()
	want := make([]uint64, events)
	for i := range want {
		want[i] = uint64(i + 1)
	}
	if diff := cmp.Diff(want, order); diff != "" {
		t.Error(diff)
	}
}

func TestSubscribe_HandlesSeveralAtOnceAndNeverMoreThanAsked(t *testing.T) {
	t.Parallel()
	_, conn := started(t)
	const workers = 4
	var running, most atomic.Int32
	arrived, release := make(chan struct{}, 100), make(chan struct{})
	subscribe(t, conn, func(context.Context, bus.Message) error {
		now := running.Add(1)
		defer running.Add(-1)
		for seen := most.Load(); now > seen && !most.CompareAndSwap(seen, now); seen = most.Load() {
		}
		arrived <- struct{}{}
		<-release
		return nil
	}, inFlight(workers))
	for range 3 * workers {
		publish(t, conn, booked(t, 1))
	}
	for range workers {
		receive(t, arrived) // all of them together, or this would wait for ever
	}
	close(release)
	settled(t, conn, bus.Scheduling, "reader")
	if got := most.Load(); got != workers {
		t.Errorf("%d ran at once, want %d", got, workers)
	}
}

func TestSubscribe_WithSeveralAtOnceAFailingEventDelaysNobodyElse(t *testing.T) {
	t.Parallel()
	_, conn := started(t)
	var handled atomic.Int32
	bad := booked(t, 1)
	subscribe(t, conn, func(_ context.Context, m bus.Message) error {
		if m.ID == bad.ID {
			return errors.New("not now")
		}
		handled.Add(1)
		return nil
	}, inFlight(2), func(s *bus.Subscription) { s.RetryDelay = time.Hour })
	publish(t, conn, bad)
	for range 10 {
		publish(t, conn, booked(t, 1))
	}
	eventually(t, "the others are handled", func() bool { return handled.Load() == 10 })
}

func TestSubscribe_ALongHandlerKeepsItsMessage(t *testing.T) {
	t.Parallel()
	_, conn := started(t)
	var calls atomic.Int32
	done := make(chan struct{})
	subscribe(t, conn, func(context.Context, bus.Message) error {
		calls.Add(1)
		time.Sleep(1200 * time.Millisecond) // what the test is about: work that takes four times AckWait
		close(done)
		return nil
	}, inFlight(2), func(s *bus.Subscription) { s.AckWait = 300 * time.Millisecond })
	publish(t, conn, booked(t, 1))
	receive(t, done)
	settled(t, conn, bus.Scheduling, "reader")
	if got := calls.Load(); got != 1 {
		t.Errorf("handled %d times", got)
	}
}

// A handler that hangs loses its message to another worker once its time is up.
func TestSubscribe_AHangingHandlerIsToldToStopAndLosesItsMessage(t *testing.T) {
	t.Parallel()
	_, conn := started(t)
	release, calls := make(chan struct{}), make(chan error, 10)
	subscribe(t, conn, func(ctx context.Context, m bus.Message) error {
		if m.Delivered == 1 {
			<-ctx.Done()
			calls <- ctx.Err()
			<-release // ignores it
		}
		calls <- nil
		return nil
	}, inFlight(2), func(s *bus.Subscription) { s.AckWait, s.Timeout = 300*time.Millisecond, 100*time.Millisecond })
	publish(t, conn, booked(t, 1))
	if err := receive(t, calls); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the context ended with %v", err)
	}
	if err := receive(t, calls); err != nil {
		t.Error(err)
	}
	settled(t, conn, bus.Scheduling, "reader")
	close(release)
}

func TestSubscribe_AnOutageOfADependencyIsWaitedOutAndCostsNoTries(t *testing.T) {
	t.Parallel()
	_, conn := started(t)
	outage := errors.New("database is down")
	var calls atomic.Int32
	delivered := make(chan uint64, 1)
	subscribe(t, conn, func(_ context.Context, m bus.Message) error {
		if calls.Add(1) <= 5 {
			return fmt.Errorf("store: %w", outage)
		}
		delivered <- m.Delivered
		return nil
	}, maxDeliver(2), func(s *bus.Subscription) {
		s.AckWait = 200 * time.Millisecond // shorter than the outage: the message must stay in hand
		s.RetryDelay = 50 * time.Millisecond
		s.Unavailable = func(err error) bool { return errors.Is(err, outage) }
	})
	publish(t, conn, booked(t, 1))
	if got := receive(t, delivered); got != 1 {
		t.Errorf("handled at delivery %d, want 1", got)
	}
	settled(t, conn, bus.Scheduling, "reader")
	if got := info(t, conn, bus.DeadLetters).State.Msgs; got != 0 {
		t.Errorf("%d dead letters", got)
	}
}

func TestSubscribe_RefusesAWrongSubscriptionAtOnce(t *testing.T) {
	t.Parallel()
	_, conn := started(t)
	handle := func(context.Context, bus.Message) error { return nil }
	for name, s := range map[string]bus.Subscription{
		"no stream":      {Durable: "reader", Handle: handle},
		"no durable":     {Stream: bus.Users, Handle: handle},
		"durable.dotted": {Stream: bus.Users, Durable: "a.b", Handle: handle},
		"no handler":     {Stream: bus.Users, Durable: "reader"},
		"negative":       {Stream: bus.Users, Durable: "reader", Handle: handle, InFlight: -1},
	} {
		if err := conn.Subscribe(t.Context(), s); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}

func TestReplay_GivesTheWholeStreamInOrderAndDisturbsNoSubscription(t *testing.T) {
	t.Parallel()
	_, conn := started(t)
	live := make(chan uint64, 10)
	subscribe(t, conn, func(_ context.Context, m bus.Message) error { live <- m.StreamSeq; return nil })
	replay := func(subjects ...string) (got []uint64) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second) // it must not wait for more to come
		defer cancel()
		done, err := conn.Replay(ctx, bus.Scheduling, subjects, 0, func(_ context.Context, m bus.Message) error {
			got = append(got, m.StreamSeq)
			return nil
		})
		if err != nil || done.Events != len(got) {
			t.Errorf("counted %d of %d: %v", done.Events, len(got), err)
		}
		return got
	}
	if got := replay(); got != nil {
		t.Errorf("an empty stream gave %v", got)
	}
	publish(t, conn, booked(t, 1))
	publishRaw(t, conn, &nats.Msg{Subject: "healthmed.scheduling.availability.changed.v1.x", Data: []byte("not an event")})
	publish(t, conn, booked(t, 1))
	if diff := cmp.Diff([]uint64{1, 3}, replay()); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]uint64{1, 3}, replay("healthmed.scheduling.appointment.booked.v1.>")); diff != "" {
		t.Error(diff)
	}
	if got := replay("healthmed.scheduling.waitlist.>"); got != nil {
		t.Errorf("a filter that matches nothing gave %v", got)
	}
	settled(t, conn, bus.Scheduling, "reader")
	if a, b := receive(t, live), receive(t, live); a != 1 || b != 3 {
		t.Errorf("the subscription got %d, %d", a, b)
	}
	stop := errors.New("stop")
	done, err := conn.Replay(t.Context(), bus.Scheduling, nil, 0, func(_ context.Context, m bus.Message) error {
		if m.StreamSeq == 3 {
			return stop
		}
		return nil
	})
	if done.Events != 1 || done.LastSeq != 2 || !errors.Is(err, stop) {
		t.Errorf("ended after %+v with %v", done, err)
	}
	done, err = conn.Replay(t.Context(), bus.Scheduling, nil, done.LastSeq, func(_ context.Context, m bus.Message) error {
		if m.StreamSeq != 3 {
			t.Errorf("went on with %d", m.StreamSeq)
		}
		return nil
	})
	if done.Events != 1 || done.LastSeq != 3 || err != nil {
		t.Errorf("went on to %+v: %v", done, err)
	}
}

func TestReplay_GoesOnAcrossARestartOfTheServer(t *testing.T) {
	t.Parallel()
	srv, conn := started(t)
	const n = 1200 // more than one batch
	for range n {
		publish(t, conn, booked(t, 1))
	}
	var last uint64
	done, err := conn.Replay(t.Context(), bus.Scheduling, nil, 0, func(_ context.Context, m bus.Message) error {
		if m.StreamSeq != last+1 {
			t.Fatalf("%d came after %d", m.StreamSeq, last)
		}
		if last = m.StreamSeq; last == 700 {
			srv.Restart()
			eventually(t, "connected again", conn.NATS.IsConnected)
		}
		return nil
	})
	if err != nil || done.Events != n {
		t.Errorf("%+v: %v", done, err)
	}
}

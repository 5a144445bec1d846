package bus_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/healthmed/healthmed/pkg/bus"
)

// collector is a batch handler that keeps what it was given.
type collector struct {
	mu     sync.Mutex
	calls  [][]uuid.UUID
	refuse func(ms []bus.Message) error
}

func (c *collector) handle(_ context.Context, ms []bus.Message) error {
	ids := make([]uuid.UUID, len(ms))
	for i, m := range ms {
		ids[i] = m.ID
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.calls = append(c.calls, ids)
	if c.refuse != nil {
		return c.refuse(ms)
	}
	return nil
}

// counts is how often each event was given to the handler, and the largest batch.
func (c *collector) counts() (times map[uuid.UUID]int, largest int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	times = map[uuid.UUID]int{}
	for _, call := range c.calls {
		largest = max(largest, len(call))
		for _, id := range call {
			times[id]++
		}
	}
	return times, largest
}

func subscribeBatch(t *testing.T, conn *bus.Conn, c *collector, change ...func(*bus.Subscription)) (stop func()) {
	t.Helper()
	s := bus.Subscription{Stream: bus.Scheduling, Durable: "reader", RetryDelay: 10 * time.Millisecond}
	for _, ch := range change {
		ch(&s)
	}
	return background(t, func(ctx context.Context) error { return conn.SubscribeBatch(ctx, s, 10, c.handle) })
}

func publishMany(t *testing.T, conn *bus.Conn, n int) []uuid.UUID {
	t.Helper()
	ids := make([]uuid.UUID, n)
	for i := range ids {
		env := booked(t, 1)
		ids[i] = env.ID
		publish(t, conn, env)
	}
	return ids
}

func TestSubscribeBatch_HandlesWhatWaitsTogetherAndOnce(t *testing.T) {
	t.Parallel()
	_, conn := started(t)
	ids := publishMany(t, conn, 95)
	var c collector
	stop := subscribeBatch(t, conn, &c)
	settled(t, conn, bus.Scheduling, "reader")
	stop()
	times, largest := c.counts()
	for _, id := range ids {
		if times[id] != 1 {
			t.Errorf("%s was handled %d times", id, times[id])
		}
	}
	if largest != 10 {
		t.Errorf("at most %d were handled together, want 10", largest)
	}
}

// One event that can't be handled, one that isn't an event, and one that succeeds at the third try, among others.
func TestSubscribeBatch_OneBadMessageTakesNoOtherAlong(t *testing.T) {
	t.Parallel()
	_, conn := started(t)
	good := publishMany(t, conn, 5)
	poison, moody := booked(t, 1), booked(t, 1)
	publish(t, conn, poison)
	publishRaw(t, conn, &nats.Msg{Subject: moody.Data.Subject(), Data: []byte("rubbish")})
	publish(t, conn, moody)
	good = append(good, publishMany(t, conn, 5)...)
	tries := 0
	c := collector{refuse: func(ms []bus.Message) error {
		for _, m := range ms {
			if m.ID == poison.ID {
				return errors.New("never")
			}
			if m.ID == moody.ID {
				if tries++; tries < 3 {
					return errors.New("not yet")
				}
			}
		}
		return nil
	}}
	stop := subscribeBatch(t, conn, &c, maxDeliver(4))
	letters := make(chan bus.DeadLetter, 10)
	background(t, func(ctx context.Context) error {
		return conn.SubscribeDeadLetters(ctx, "letters", func(_ context.Context, d bus.DeadLetter) error { letters <- d; return nil })
	})
	subjects := map[string]bool{receive(t, letters).Subject: true, receive(t, letters).Subject: true}
	if !subjects[poison.Data.Subject()] || !subjects[moody.Data.Subject()] {
		t.Errorf("dead letters are %v", subjects)
	}
	settled(t, conn, bus.Scheduling, "reader")
	stop()
	times, _ := c.counts()
	for _, id := range good {
		if times[id] < 1 {
			t.Errorf("%s was not handled", id)
		}
	}
	if times[moody.ID] < 3 || len(letters) > 0 {
		t.Errorf("the moody event was tried %d times; %d more dead letters", times[moody.ID], len(letters))
	}
}

func TestSubscribeBatch_WaitsOutAnOutageAndStopsInIt(t *testing.T) {
	t.Parallel()
	_, conn := started(t)
	outage := errors.New("the database is away")
	ids := publishMany(t, conn, 25)
	c := collector{refuse: func([]bus.Message) error { return outage }}
	away := func(s *bus.Subscription) { s.Unavailable = func(err error) bool { return errors.Is(err, outage) } }
	stop := subscribeBatch(t, conn, &c, away, maxDeliver(2))
	eventually(t, "it was tried often", func() bool { times, _ := c.counts(); return times[ids[0]] > 3 })
	stop()
	c.mu.Lock()
	c.refuse = nil
	c.mu.Unlock()
	subscribeBatch(t, conn, &c, away, maxDeliver(2))
	settled(t, conn, bus.Scheduling, "reader")
	times, _ := c.counts()
	for _, id := range ids {
		if times[id] < 1 {
			t.Errorf("%s was not handled", id)
		}
	}
	if info, err := conn.JS.Stream(t.Context(), bus.DeadLetters); err != nil || info.CachedInfo().State.Msgs != 0 {
		t.Errorf("dead letters: %v, %v", info.CachedInfo().State.Msgs, err)
	}
}

// What was given to a process that died may be what killed it, so it is handled alone.
func TestSubscribeBatch_HandlesAloneWhatAnotherWasGiven(t *testing.T) {
	t.Parallel()
	_, conn := started(t)
	ids := publishMany(t, conn, 5)
	cons, err := conn.JS.CreateConsumer(t.Context(), bus.Scheduling, jetstream.ConsumerConfig{
		Durable: "reader", AckPolicy: jetstream.AckExplicitPolicy, AckWait: 200 * time.Millisecond,
	})
	if err != nil {
		t.Fatal(err)
	}
	lost, err := cons.Fetch(len(ids))
	if err != nil {
		t.Fatal(err)
	}
	for range lost.Messages() { // and never acknowledged
	}
	ids = append(ids, publishMany(t, conn, 10)...)
	var c collector
	subscribeBatch(t, conn, &c, func(s *bus.Subscription) { s.AckWait = 200 * time.Millisecond })
	settled(t, conn, bus.Scheduling, "reader")
	times, _ := c.counts()
	if len(times) != len(ids) {
		t.Errorf("%d events were handled, want %d", len(times), len(ids))
	}
	for _, call := range c.calls {
		for _, id := range call {
			if slices.Contains(ids[:5], id) && len(call) > 1 {
				t.Errorf("%s was handled together with %d others", id, len(call)-1)
			}
		}
	}
}

// A handler that panics brings nothing down, and a message in hand is kept alive beyond AckWait.
func TestSubscribeBatch_SurvivesAPanicAndSlowWork(t *testing.T) {
	t.Parallel()
	_, conn := started(t)
	ids := publishMany(t, conn, 10)
	first := true
	c := collector{refuse: func(ms []bus.Message) error {
		if first {
			first = false
			panic("a fault of ours")
		}
		if len(ms) == 1 && ms[0].ID == ids[0] {
			time.Sleep(900 * time.Millisecond) // what the test is about: work that takes three times AckWait
		}
		return nil
	}}
	subscribeBatch(t, conn, &c, func(s *bus.Subscription) { s.AckWait = 300 * time.Millisecond })
	settled(t, conn, bus.Scheduling, "reader")
	times, _ := c.counts()
	for _, id := range ids {
		if times[id] < 1 || times[id] > 2 { // together with the panic, then alone
			t.Errorf("%s was handled %d times", id, times[id])
		}
	}
}

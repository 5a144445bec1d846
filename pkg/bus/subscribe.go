package bus

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/healthmed/healthmed/pkg/telemetry"
)

// Subscription is one durable consumer.
type Subscription struct {
	Stream     string
	Durable    string        // e.g. "notifier-scheduling"
	Subjects   []string      // filters; empty is all
	MaxDeliver int           // default 10
	AckWait    time.Duration // default 30 s
	InFlight   int           // messages handled at once, default 1 (keeps stream order)
	Handle     Handler

	// Timeout bounds one call of the handler through its context; default 5 min. AckWait doesn't: a message in
	// hand is kept alive at the server.
	Timeout time.Duration
	// RetryDelay is the wait after a first failure; it doubles with each, to at most 30 s. Default 500 ms, so that
	// ten tries take about two minutes.
	RetryDelay time.Duration
	// StopWithin bounds how long a message in hand may take once ctx has ended; default 5 s. It is then delivered again.
	StopWithin time.Duration
	// Unavailable tells that an error is a dependency's outage, not the message's fault (postgres.IsUnavailable).
	// Such a message is tried again in place for as long as it takes; it never becomes a dead letter. Optional.
	Unavailable func(error) bool
}

func (s Subscription) withDefaults() Subscription {
	s.MaxDeliver = orDefault(s.MaxDeliver, 10)
	s.AckWait = orDefault(s.AckWait, 30*time.Second)
	s.InFlight = orDefault(s.InFlight, 1)
	s.Timeout = orDefault(s.Timeout, 5*time.Minute)
	s.RetryDelay = orDefault(s.RetryDelay, 500*time.Millisecond)
	s.StopWithin = orDefault(s.StopWithin, 5*time.Second)
	return s
}

func orDefault[T int | time.Duration](v, def T) T {
	if v == 0 {
		return def
	}
	return v
}

func (s Subscription) validate() error {
	var faults []error
	if s.Stream == "" {
		faults = append(faults, errors.New("stream is missing"))
	}
	if s.Durable == "" || strings.ContainsAny(s.Durable, " .*>/\\\t\r\n") {
		faults = append(faults, fmt.Errorf("durable %q must be one subject token", s.Durable))
	}
	if s.MaxDeliver < 0 || s.InFlight < 0 || s.AckWait < 0 || s.Timeout < 0 || s.RetryDelay < 0 || s.StopWithin < 0 {
		faults = append(faults, errors.New("limits can't be negative"))
	}
	if len(faults) == 0 {
		return nil
	}
	return fmt.Errorf("bus: subscription %s/%s: %w", s.Stream, s.Durable, errors.Join(faults...))
}

// Subscribe creates the durable consumer (waiting for its stream to exist), then handles messages until ctx ends;
// it survives reconnects and the consumer's deletion. Undecodable messages go to DEAD_LETTERS. What Redrive hands
// back to this durable arrives at the same handler.
//
// It returns nil when ctx ends and what was in hand is finished, and an error at once if the subscription itself
// is wrong. The handler's context carries the event's trace and, as request id, its correlation id; it outlives ctx
// by StopWithin.
func (c *Conn) Subscribe(ctx context.Context, s Subscription) error {
	if s.Handle == nil {
		return fmt.Errorf("bus: subscription %s/%s: handler is missing", s.Stream, s.Durable)
	}
	return c.SubscribeRaw(ctx, s, eventHandler(s.Handle))
}

// eventHandler decodes for a handler, and gives its context what the event says of its request.
func eventHandler(handle Handler) RawHandler {
	return func(ctx context.Context, raw RawMessage) error {
		m, err := decode(raw)
		if err != nil {
			return Permanent(fmt.Errorf("undecodable: %w", err))
		}
		if m.TraceParent != "" && raw.Header.Get(headerTraceParent) == "" {
			ctx = telemetry.WithTraceParent(ctx, m.TraceParent)
		}
		if m.CorrelationID != "" {
			ctx = telemetry.WithRequestID(ctx, m.CorrelationID)
		}
		return handle(ctx, m)
	}
}

// SubscribeRaw is Subscribe for messages that are not events; s.Handle is not used.
func (c *Conn) SubscribeRaw(ctx context.Context, s Subscription, handle RawHandler) error {
	return c.subscribe(ctx, s, handle, nil)
}

// subscribe runs a durable and its redrives; those are always handled one by one.
func (c *Conn) subscribe(ctx context.Context, s Subscription, handle RawHandler, together *batch) error {
	if err := s.validate(); err != nil {
		return err
	}
	s = s.withDefaults()
	c.metrics.prepare(s.Stream, s.Durable)
	redrives := s
	redrives.Stream, redrives.InFlight = Redrives, 1
	return c.run(ctx,
		&consumer{conn: c, sub: s, filters: s.Subjects, retryLimit: maxSupervise, handle: handle, batch: together},
		&consumer{
			conn: c, sub: redrives, filters: []string{subjectRedrives + s.Durable}, retryLimit: 30 * time.Second,
			handle: handle, redrives: true,
		})
}

// run runs the consumers' workers until ctx ends and what they have in hand is finished. A handler that ignores
// the end of its context is left behind, with an error.
func (c *Conn) run(ctx context.Context, consumers ...*consumer) error {
	var group errgroup.Group
	for _, co := range consumers {
		c.metrics.prepare(co.sub.Stream, co.sub.Durable)
		co.log = c.log.With("stream", co.sub.Stream, "durable", co.sub.Durable)
		for range co.sub.InFlight {
			group.Go(func() error { return co.supervise(ctx) })
		}
		group.Go(func() error { return co.watchLag(ctx) })
	}
	finished := make(chan error, 1)
	go func() { finished <- group.Wait() }()
	select {
	case err := <-finished:
		return err
	case <-ctx.Done():
	}
	sub := consumers[0].sub
	select {
	case err := <-finished:
		return err
	case <-time.After(sub.StopWithin + stopGrace):
		return fmt.Errorf("bus: subscription %s/%s: a handler did not stop within %s", sub.Stream, sub.Durable, sub.StopWithin)
	}
}

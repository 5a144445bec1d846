// Package worker is what runs by the clock: it claims due deliveries and sends them, settles those in doubt, and
// shares the account's sending rate with the other replicas.
package worker

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"
	"golang.org/x/sync/errgroup"

	"github.com/healthmed/healthmed/services/notifier/internal/mail"
	"github.com/healthmed/healthmed/services/notifier/internal/notice"
	"github.com/healthmed/healthmed/services/notifier/internal/postgres"
)

// Service is the mail service. Tests give it faults.
type Service interface {
	// Send makes one attempt.
	Send(ctx context.Context, e mail.Envelope) notice.Outcome
	// Quota is the account's maximum rate of messages a second.
	Quota(ctx context.Context) (float64, error)
}

// Config of a Worker.
type Config struct {
	Store    *postgres.Store
	Service  Service
	Composer *mail.Composer
	Timing   notice.Timing
	Log      *slog.Logger
	Metrics  prometheus.Registerer
	Tracer   trace.TracerProvider // default: none
	Now      func() time.Time
	// Published is called after delivery events were committed: the outbox relay's nudge.
	Published func()
	// Concurrency bounds the calls to the mail service under way, default 64.
	Concurrency int
	// SendTimeout is the mail service's, default 8 s. A lease outlasts it by LeaseMargin, default 30 s.
	SendTimeout, LeaseMargin time.Duration
	// FallbackRate, messages a second, where the account doesn't tell its own. Default 1, the sandbox's.
	FallbackRate float64
	// Poll is the backstop of the nudge, default 1 s. Sweep is how often what waits for the clock is looked at, default 2 s.
	Poll, Sweep time.Duration
	// Heartbeat is how often a replica says that it is alive, default 2 s.
	Heartbeat time.Duration
	// Retention of inbox and deliveries; 0 keeps them for ever.
	Retention time.Duration
}

// Worker sends what is due.
type Worker struct {
	cfg     Config
	id      uuid.UUID
	nudge   chan struct{}
	results chan postgres.Result
	slots   chan struct{}
	limit   *limiter
	circuit *circuit
	metrics *metrics
}

const (
	tracerName = "github.com/healthmed/healthmed/services/notifier/internal/worker"

	maxClaim = 64
	grace    = 5 * time.Second // for calls under way when stopping

	// A claim and a record cost about as much for one delivery as for many. With a queue to work off, the next claim
	// waits until a quarter of the senders are free, though no longer than this, because a sender may hang.
	gatherSlots = 20 * time.Millisecond
	// Where they come one after another, a claim or a record that found several lets some more come.
	gather  = 10 * time.Millisecond
	several = 2
)

// New makes a worker; Run starts it.
func New(cfg Config) (*Worker, error) {
	id, err := uuid.NewV7()
	if err != nil {
		return nil, err
	}
	cfg.Timing = cfg.Timing.WithDefaults()
	if cfg.Concurrency == 0 {
		cfg.Concurrency = 64
	}
	if cfg.FallbackRate == 0 {
		cfg.FallbackRate = 1
	}
	for _, d := range []struct {
		field *time.Duration
		value time.Duration
	}{{&cfg.SendTimeout, 8 * time.Second}, {&cfg.LeaseMargin, 30 * time.Second}, {&cfg.Poll, time.Second}, {&cfg.Sweep, 2 * time.Second}, {&cfg.Heartbeat, 2 * time.Second}} {
		if *d.field == 0 {
			*d.field = d.value
		}
	}
	if cfg.Tracer == nil {
		cfg.Tracer = noop.NewTracerProvider()
	}
	if cfg.Published == nil {
		cfg.Published = func() {}
	}
	w := &Worker{
		cfg: cfg, id: id, nudge: make(chan struct{}, 1), results: make(chan postgres.Result, cfg.Concurrency),
		slots: make(chan struct{}, cfg.Concurrency), limit: newLimiter(time.Now), circuit: &circuit{},
	}
	if w.metrics, err = newMetrics(cfg.Metrics); err != nil {
		return nil, fmt.Errorf("worker: metrics: %w", err)
	}
	return w, nil
}

// Nudge says that deliveries were committed. It never blocks.
func (w *Worker) Nudge() {
	select {
	case w.nudge <- struct{}{}:
	default:
	}
}

// Run sends until ctx ends, then lets the calls under way finish and records what came of them.
func (w *Worker) Run(ctx context.Context) error {
	group, gctx := errgroup.WithContext(ctx)
	group.Go(func() error { return w.keepRate(gctx) })
	group.Go(func() error { return w.sweep(gctx) })
	group.Go(func() error {
		defer close(w.results)
		return w.dispatch(gctx)
	})
	group.Go(func() error { return w.record(gctx) })
	return group.Wait()
}

// dispatch claims what is due and hands it to senders, as far as slots, rate and circuit allow.
func (w *Worker) dispatch(ctx context.Context) error {
	// A claim and calls under way outlive ctx, for a while.
	calls, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	var senders sync.WaitGroup
	defer senders.Wait()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(grace, stop) })()

	poll := time.NewTicker(w.cfg.Poll)
	defer poll.Stop()
	more := false
	for ctx.Err() == nil {
		var found int
		var err error
		found, more, err = w.round(ctx, calls, &senders, more)
		if err != nil && ctx.Err() == nil {
			w.cfg.Log.WarnContext(ctx, "deliveries could not be claimed", "error", err)
		}
		if more && err == nil {
			continue
		}
		if found >= several {
			pause(ctx, gather)
		}
		select {
		case <-ctx.Done():
		case <-w.nudge:
		case <-poll.C:
		}
	}
	return nil
}

// round makes one claim. queued says that there is a queue; found is how many due deliveries were looked at; more says
// that others are probably due as well.
func (w *Worker) round(ctx, calls context.Context, senders *sync.WaitGroup, queued bool) (found int, more bool, err error) {
	allowed, probe := w.circuit.enter(maxClaim, w.cfg.Now())
	if allowed == 0 {
		return 0, false, nil // the poll comes by, and a probe's end nudges
	}
	least := 1
	if queued {
		least = min(allowed, max(1, w.cfg.Concurrency/4))
	}
	slots := w.acquire(ctx, least, allowed)
	tokens := w.limit.take(ctx, slots)
	w.release(slots - tokens)
	var claimed postgres.Claimed
	if tokens > 0 {
		// Not by ctx: to give up a commit under way is not to know whether it was made, and leases that nobody works on
		// would have to run out.
		claimed, err = w.cfg.Store.Claim(calls, tokens, w.cfg.SendTimeout+w.cfg.LeaseMargin, w.cfg.Now())
	}
	unused := tokens - len(claimed.Jobs)
	w.release(unused)
	w.limit.giveBack(unused)
	if probe && len(claimed.Jobs) == 0 {
		w.circuit.leave()
	}
	for reason, count := range claimed.Skipped {
		w.metrics.skipped.WithLabelValues(reason).Add(float64(count))
	}
	w.CountFailed(claimed.Failed)
	for _, job := range claimed.Jobs {
		senders.Go(func() {
			defer w.release(1)
			w.results <- w.attempt(calls, job)
			if probe {
				w.circuit.leave()
				w.Nudge()
			}
		})
	}
	return claimed.Looked, err == nil && tokens > 0 && claimed.Looked == tokens, err
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// acquire waits for one slot, then gatherSlots at most for least, and takes as many more as are free, up to n.
func (w *Worker) acquire(ctx context.Context, least, n int) (got int) {
	var late <-chan time.Time
	for got < n {
		switch {
		case got == 0:
			select {
			case w.slots <- struct{}{}:
			case <-ctx.Done():
				return 0
			}
			late = time.After(gatherSlots)
		case got < least:
			select {
			case w.slots <- struct{}{}:
			case <-late:
				return got
			case <-ctx.Done():
				return got
			}
		default:
			select {
			case w.slots <- struct{}{}:
			default:
				return got
			}
		}
		got++
	}
	return got
}

func (w *Worker) release(n int) {
	for range n {
		<-w.slots
	}
}

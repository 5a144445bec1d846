// Package outbox is a transactional outbox: events are appended in the transaction that changes state, and a
// relay, one leader per service, publishes them to JetStream in order per aggregate.
//
// # Delivery
//
// Each row is published with its id as Nats-Msg-Id, so that JetStream drops what is sent twice (after a crash between
// acknowledgement and mark, or by two leaders during a hand-over). Rows of one aggregate leave in the order of their
// numbers, and the next only when the one before was acknowledged; so even two leaders cannot swap them. Rows are found
// by "not published yet" through a partial index, never by a position: transactions commit in another order than they
// take numbers, and a position would pass over the late ones.
//
// # Leadership
//
// The leader holds a session advisory lock on a connection of its own, reads and marks through that very connection,
// and watches it while it publishes: when it is lost, publishing stops at once. It needs a direct connection or a
// session pooler (PgBouncer's transaction mode loses the lock). The others try for the lock every half second.
//
// # Faults
//
// When NATS cannot be reached, rows wait and lose nothing. When a stream doesn't answer, its rows are put off without
// counting an attempt. When the fault is the row's own (refused, or unanswered while its stream answered others) it is
// tried again after growing pauses and quarantined after MaxAttempts. Meanwhile it holds back its own aggregate alone.
//
// # Retention
//
// The table is partitioned by day. The leader makes partitions ahead and drops those whose rows are all published and
// older than Retention. Until then Replay can publish them again.
package outbox

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"
)

// RelayConfig of a relay. Zero values of the optional fields mean the documented defaults.
type RelayConfig struct {
	Pool    *pgxpool.Pool
	JS      jetstream.JetStream
	Stream  string // stream expected to take every message
	Log     *slog.Logger
	Metrics prometheus.Registerer
	Tracer  trace.TracerProvider // of traces that are kept, the time from the row to the acknowledgement is a span
	Poll    time.Duration        // backstop, default 1 s
	// Gather is how long a round that found several rows waits for more, default 3 ms, and up to four times as long the more
	// it found: a round costs about the same for one row and for ten.
	Gather    time.Duration
	Batch     int // rows per round, default 500
	Now       func() time.Time
	Retention time.Duration // published rows, default 7 days
	// StreamFor says which stream is expected to take a subject, for a service with several (bus.StreamOf); it goes before
	// Stream. A subject for which it returns "" is refused.
	StreamFor func(subject string) string
	// MaxAttempts after which a row is quarantined, default 8 (about a minute of growing pauses).
	MaxAttempts int
	// NudgeSubject carries nudges from other replicas to the leader over core NATS, e.g. "healthmed.nudge.scheduling".
	// Empty, or without permission to use it, the poll finds their rows instead.
	NudgeSubject string
}

const (
	defaultPoll        = time.Second
	defaultGather      = 3 * time.Millisecond
	defaultBatch       = 500
	defaultRetention   = 7 * 24 * time.Hour
	defaultMaxAttempts = 8
	reconnectPause     = 500 * time.Millisecond
)

// Relay publishes what the outbox holds.
type Relay struct {
	cfg     RelayConfig
	nudge   chan struct{}
	metrics *metrics
	leading atomic.Bool
}

// NewRelay makes a relay; Run starts it.
func NewRelay(cfg RelayConfig) (*Relay, error) {
	switch {
	case cfg.Pool == nil:
		return nil, errors.New("outbox: relay: no Pool")
	case cfg.JS == nil:
		return nil, errors.New("outbox: relay: no JS")
	case cfg.Stream == "" && cfg.StreamFor == nil:
		return nil, errors.New("outbox: relay: neither Stream nor StreamFor")
	}
	if cfg.StreamFor == nil {
		stream := cfg.Stream
		cfg.StreamFor = func(string) string { return stream }
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Tracer == nil {
		cfg.Tracer = noop.NewTracerProvider()
	}
	setDefault(&cfg.Poll, defaultPoll)
	setDefault(&cfg.Gather, defaultGather)
	setDefault(&cfg.Batch, defaultBatch)
	setDefault(&cfg.Retention, defaultRetention)
	setDefault(&cfg.MaxAttempts, defaultMaxAttempts)
	r := &Relay{cfg: cfg, nudge: make(chan struct{}, 1)}
	r.metrics = newMetrics(r)
	if cfg.Metrics != nil {
		if err := cfg.Metrics.Register(r.metrics); err != nil {
			return nil, err
		}
	}
	return r, nil
}

func setDefault[T int | time.Duration](v *T, d T) {
	if *v <= 0 {
		*v = d
	}
}

// Nudge says that rows were committed. It never blocks.
func (r *Relay) Nudge() {
	select {
	case r.nudge <- struct{}{}:
	default: // one is waiting already, and will find these rows too
	}
}

// Leading tells whether this relay is the leader now.
func (r *Relay) Leading() bool { return r.leading.Load() }

// Run competes for leadership, publishes while leader, and returns when ctx ends, leadership released.
func (r *Relay) Run(ctx context.Context) error {
	for ctx.Err() == nil {
		if err := r.term(ctx); err != nil && ctx.Err() == nil {
			r.cfg.Log.WarnContext(ctx, "outbox relay: starting over", "error", err)
			pause(ctx, reconnectPause)
		}
	}
	return nil
}

// pause waits for d or until ctx ends.
func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

package bus

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/healthmed/healthmed/pkg/telemetry"
)

const (
	// ackTimeout bounds the wait for the server's answer to an acknowledgement, ackTry one attempt at it: the answer never
	// comes when the consumer goes away in between, and a second attempt finds that out.
	ackTimeout   = 10 * time.Second
	ackTry       = 2 * time.Second
	longestRetry = 30 * time.Second
	// stopGrace is for settling the message after its handler was told to stop.
	stopGrace = 2 * time.Second
)

const tracerName = "github.com/healthmed/healthmed/pkg/bus"

// errStopping is why a handler's context ended when the service is stopping.
var errStopping = errors.New("bus: the service is stopping")

// delivery is one message in hand.
type delivery struct {
	msg     jetstream.Msg
	meta    *jetstream.MsgMetadata
	raw     RawMessage
	ackWait time.Duration
	limit   uint64 // deliveries before it becomes a dead letter
}

// process sees one message through: handled and acknowledged, to be delivered again, or a dead letter.
func (co *consumer) process(ctx context.Context, msg jetstream.Msg, cfg jetstream.ConsumerConfig) {
	meta, err := msg.Metadata()
	if err != nil {
		co.log.ErrorContext(ctx, "message without metadata", "error", err)
		return
	}
	d := delivery{msg: msg, meta: meta, raw: rawMessage(msg, meta), ackWait: ackWait(cfg), limit: uint64(co.sub.MaxDeliver)}
	co.setLag(meta.NumPending)
	if cfg.MaxDeliver > 0 {
		d.limit = min(d.limit, uint64(cfg.MaxDeliver))
	}
	if meta.NumDelivered > 1 {
		co.conn.metrics.redeliveries.WithLabelValues(co.sub.Stream, co.sub.Durable).Inc()
	}
	hctx, done := co.handling(ctx)
	defer done()
	co.settle(hctx, &d, co.attempt(ctx, hctx, &d))
}

// ackWait is how long the server waits for an acknowledgement.
func ackWait(cfg jetstream.ConsumerConfig) time.Duration {
	if len(cfg.BackOff) > 0 {
		return cfg.BackOff[0] // the server then ignores AckWait
	}
	return cfg.AckWait
}

// handling is a context for what is in hand. It outlives ctx by StopWithin.
func (co *consumer) handling(ctx context.Context) (hctx context.Context, done func()) {
	hctx, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() { time.AfterFunc(co.sub.StopWithin, func() { cancel(errStopping) }) })
	return hctx, func() { stop(); cancel(nil) }
}

// attempt handles the message; through an outage of a dependency it tries again in place, until ctx ends.
func (co *consumer) attempt(ctx, hctx context.Context, d *delivery) error {
	if !co.final && d.meta.NumDelivered > 2*d.limit {
		// It was never refused, yet it keeps coming: each time its process died, or hung, or could not answer.
		return Permanent(fmt.Errorf("delivered %d times without an outcome", d.meta.NumDelivered-1))
	}
	if co.redrives && !d.raw.Redriven {
		raw, err := co.conn.unpack(hctx, d.raw)
		if errors.Is(err, errGone) {
			co.log.WarnContext(hctx, "nothing to redrive", "subject", raw.Subject, "stream_seq", raw.StreamSeq, "error", err)
			return nil
		}
		if err != nil {
			return err
		}
		d.raw = raw
	}
	for try := 1; ; try++ {
		err := co.call(hctx, d)
		if err == nil || co.sub.Unavailable == nil || IsPermanent(err) || !co.sub.Unavailable(err) {
			return err
		}
		co.log.WarnContext(hctx, "a dependency is unavailable; the message waits", "stream_seq", d.raw.StreamSeq, "error", err)
		whileAlive(ctx, []jetstream.Msg{d.msg}, d.ackWait, func() { pause(ctx, growing(try, co.sub.RetryDelay, longestRetry)) })
		if ctx.Err() != nil {
			return errStopping
		}
	}
}

// call runs the handler once, with its context, time limit and span, and turns a panic into an error.
func (co *consumer) call(ctx context.Context, d *delivery) (err error) {
	ctx, cancel := context.WithTimeout(ctx, co.sub.Timeout)
	defer cancel()
	ctx = telemetry.WithTraceParent(ctx, d.raw.Header.Get(headerTraceParent))
	if id := d.raw.Header.Get(HeaderCorrelationID); id != "" {
		ctx = telemetry.WithRequestID(ctx, id)
	}
	if tracer := co.conn.cfg.Tracer; tracer != nil {
		var span trace.Span
		ctx, span = tracer.Tracer(tracerName).Start(ctx, "process "+d.raw.Stream,
			trace.WithSpanKind(trace.SpanKindConsumer), trace.WithAttributes(
				attribute.String("messaging.system", "nats"),
				attribute.String("messaging.destination.name", d.raw.Stream),
				attribute.String("messaging.consumer.group.name", co.sub.Durable),
				attribute.Int64("messaging.nats.stream_seq", int64(d.raw.StreamSeq)),
				attribute.Int64("messaging.nats.delivered", int64(d.raw.Delivered))))
		defer func() {
			if err != nil {
				span.SetStatus(codes.Error, "handler failed")
			}
			span.End()
		}()
	}
	began := time.Now()
	defer func() {
		co.conn.metrics.seconds.WithLabelValues(co.sub.Stream, co.sub.Durable).Observe(time.Since(began).Seconds())
	}()
	whileAlive(ctx, []jetstream.Msg{d.msg}, d.ackWait, func() {
		defer func() {
			if p := recover(); p != nil {
				err = fmt.Errorf("handler panicked: %v", p)
				co.log.ErrorContext(ctx, "handler panicked", "stream_seq", d.raw.StreamSeq, "panic", p, "stack", string(debug.Stack()))
			}
		}()
		err = co.handle(ctx, d.raw)
	})
	return err
}

// whileAlive does something while the server is told, three times per AckWait, that messages are in hand. It stops
// telling when ctx ends, so that a handler which hangs beyond its time limit doesn't keep them from others.
func whileAlive(ctx context.Context, msgs []jetstream.Msg, ackWait time.Duration, do func()) {
	done, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		beat := time.NewTicker(max(ackWait/3, time.Millisecond))
		defer beat.Stop()
		for {
			select {
			case <-done:
				return
			case <-ctx.Done():
				return
			case <-beat.C:
				for _, msg := range msgs {
					_ = msg.InProgress() // if it is lost, the next one will do; settled messages refuse
				}
			}
		}
	}()
	defer func() { close(done); <-stopped }()
	do()
}

// settle tells the server what became of the message.
func (co *consumer) settle(ctx context.Context, d *delivery, err error) {
	log := co.log.With("subject", d.raw.Subject, "stream_seq", d.raw.StreamSeq, "delivered", d.meta.NumDelivered)
	wait := growing(int(min(d.meta.NumDelivered, 100)), co.sub.RetryDelay, longestRetry)
	count := func(outcome string) {
		co.conn.metrics.messages.WithLabelValues(co.sub.Stream, co.sub.Durable, outcome).Inc()
	}
	switch {
	case err == nil:
		count(outcomeHandled)
		if err := acknowledge(ctx, d.msg); err != nil {
			log.WarnContext(ctx, "handled, but not acknowledged; it will come again", "error", err)
		}
	case errors.Is(err, errStopping) || errors.Is(context.Cause(ctx), errStopping):
		count(outcomeReturned)
		d.again(0)
	case co.final && IsPermanent(err):
		count(outcomeFailed)
		log.ErrorContext(ctx, "dead letter refused by its reader; it stays in the stream", "error", err)
		d.terminate("refused")
	case !co.final && (IsPermanent(err) || d.meta.NumDelivered >= d.limit):
		id, dlErr := co.conn.bury(ctx, co.sub.Durable, d, err)
		if dlErr != nil {
			count(outcomeFailed)
			log.ErrorContext(ctx, "could not be dead-lettered; it stays and is tried again", "error", dlErr, "cause", err)
			d.again(wait)
			return
		}
		count(outcomeDeadLettered)
		log.ErrorContext(ctx, "dead-lettered", "dead_letter_id", id, "error", err)
		d.terminate("dead letter " + id.String())
	default:
		count(outcomeFailed)
		log.WarnContext(ctx, "handler failed; it will be tried again", "error", err, "after", wait)
		d.again(wait)
	}
}

// acknowledge returns when the server has confirmed that the message is done with.
func acknowledge(ctx context.Context, msg jetstream.Msg) error {
	ctx, cancel := settling(ctx, ackTimeout)
	defer cancel()
	for {
		try, cancel := context.WithTimeout(ctx, ackTry)
		err := msg.DoubleAck(try)
		cancel()
		if err == nil || !errors.Is(err, context.DeadlineExceeded) || ctx.Err() != nil {
			return err
		}
	}
}

// settling bounds what is left to do for a message after its handler: it ends with the handler's context, and when that
// has ended already there is a second left.
func settling(ctx context.Context, limit time.Duration) (context.Context, context.CancelFunc) {
	if ctx.Err() != nil {
		return context.WithTimeout(context.WithoutCancel(ctx), stopGrace/2)
	}
	return context.WithTimeout(ctx, limit)
}

// again asks for another delivery after a delay. If the request is lost, AckWait does the same.
func (d *delivery) again(after time.Duration) { _ = d.msg.NakWithDelay(after) }

// terminate ends the message for this durable. If the request is lost, it comes again and ends the same way.
func (d *delivery) terminate(reason string) { _ = d.msg.TermWithReason(reason) }

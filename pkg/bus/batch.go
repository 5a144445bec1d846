package bus

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/healthmed/healthmed/pkg/telemetry"
)

// linger is how long a first message waits for others to be handled with it.
const linger = 5 * time.Millisecond

// BatchHandler acts on several messages, all or nothing. It must be idempotent.
type BatchHandler func(ctx context.Context, ms []Message) error

// batch is how a consumer handles several messages in one call.
type batch struct {
	size   int // at most
	handle func(ctx context.Context, raws []RawMessage) error
}

// SubscribeBatch is Subscribe for a handler that takes in up to size messages at the price of one, such as a
// projection that writes them in one transaction; s.Handle is not used. Messages that come within 5 ms of one another
// are handled together. Where that fails they are handled one by one, by the same handler and under the rules of
// Subscribe, so that one bad message costs the others nothing but time.
//
// Messages may overtake one another, whatever s.InFlight. The handler's context carries neither the trace nor the
// request id of a single message when it is given several; its span links to their traces.
func (c *Conn) SubscribeBatch(ctx context.Context, s Subscription, size int, handle BatchHandler) error {
	if handle == nil || size < 1 {
		return fmt.Errorf("bus: subscription %s/%s: handler or size is missing", s.Stream, s.Durable)
	}
	single := eventHandler(func(ctx context.Context, m Message) error { return handle(ctx, []Message{m}) })
	return c.subscribe(ctx, s, single, &batch{size: size, handle: func(ctx context.Context, raws []RawMessage) error {
		ms := make([]Message, len(raws))
		for i, raw := range raws {
			var err error
			if ms[i], err = decode(raw); err != nil {
				return fmt.Errorf("undecodable: %w", err)
			}
		}
		return handle(ctx, ms)
	}})
}

// gather adds to a first message what follows it closely. An error means that the iterator is lost.
func gather(iter jetstream.MessagesContext, first jetstream.Msg, size int) ([]jetstream.Msg, error) {
	msgs := []jetstream.Msg{first}
	until := time.Now().Add(linger)
	for len(msgs) < size {
		wait := time.Until(until)
		if wait <= 0 {
			break
		}
		msg, err := iter.Next(jetstream.NextMaxWait(wait))
		if errors.Is(err, nats.ErrTimeout) {
			break
		}
		if err != nil {
			return msgs, fmt.Errorf("next: %w", err)
		}
		msgs = append(msgs, msg)
	}
	return msgs, nil
}

// processTogether sees messages through in one call of the handler. Those that were delivered before, and all when the
// call fails, are processed one by one: a message that brings its process down must be found out, and take no other
// along.
func (co *consumer) processTogether(ctx context.Context, msgs []jetstream.Msg, cfg jetstream.ConsumerConfig) {
	fresh, raws, alone := sortOut(msgs)
	if len(fresh) == 1 || len(fresh) > 1 && !co.handleTogether(ctx, fresh, raws, ackWait(cfg)) {
		alone = append(alone, fresh...)
	}
	whileAlive(context.WithoutCancel(ctx), alone, ackWait(cfg), func() {
		for _, msg := range alone {
			if ctx.Err() != nil {
				_ = msg.Nak() // another replica takes it; if it is lost, AckWait does the same
				continue
			}
			co.process(ctx, msg, cfg)
		}
	})
}

// sortOut tells first deliveries, with what they carry, from others.
func sortOut(msgs []jetstream.Msg) (fresh []jetstream.Msg, raws []RawMessage, others []jetstream.Msg) {
	for _, msg := range msgs {
		meta, err := msg.Metadata()
		if err != nil || meta.NumDelivered > 1 {
			others = append(others, msg)
			continue
		}
		fresh, raws = append(fresh, msg), append(raws, rawMessage(msg, meta))
	}
	return fresh, raws, others
}

// handleTogether tells whether the messages are handled. An outage of a dependency is waited out, as for one message.
func (co *consumer) handleTogether(ctx context.Context, msgs []jetstream.Msg, raws []RawMessage, ackWait time.Duration) bool {
	hctx, done := co.handling(ctx)
	defer done()
	var err error
	for try := 1; ; try++ {
		whileAlive(hctx, msgs, ackWait, func() { err = co.callTogether(hctx, raws) })
		if err == nil || ctx.Err() != nil || co.sub.Unavailable == nil || !co.sub.Unavailable(err) {
			break
		}
		co.log.WarnContext(hctx, "a dependency is unavailable; the messages wait", "messages", len(msgs), "error", err)
		whileAlive(hctx, msgs, ackWait, func() { pause(ctx, growing(try, co.sub.RetryDelay, longestRetry)) })
	}
	if err != nil {
		co.log.InfoContext(hctx, "not handled together; one by one now", "messages", len(msgs), "error", err)
		return false
	}
	co.conn.metrics.messages.WithLabelValues(co.sub.Stream, co.sub.Durable, outcomeHandled).Add(float64(len(msgs)))
	if meta, err := msgs[len(msgs)-1].Metadata(); err == nil {
		co.setLag(meta.NumPending)
	}
	if err := acknowledgeAll(hctx, msgs); err != nil {
		co.log.WarnContext(hctx, "handled, but not acknowledged; they will come again", "messages", len(msgs), "error", err)
	}
	return true
}

// acknowledgeAll returns when the server has confirmed the last acknowledgement. It reads them in the order of sending, so
// it has then seen the others too; a lost one is delivered again.
func acknowledgeAll(ctx context.Context, msgs []jetstream.Msg) error {
	last := len(msgs) - 1
	for _, msg := range msgs[:last] {
		if err := msg.Ack(); err != nil {
			return err
		}
	}
	return acknowledge(ctx, msgs[last])
}

// callTogether runs the handler once, with a time limit and a span that links to the messages' traces.
func (co *consumer) callTogether(ctx context.Context, raws []RawMessage) (err error) {
	ctx, cancel := context.WithTimeout(ctx, co.sub.Timeout)
	defer cancel()
	if tracer := co.conn.cfg.Tracer; tracer != nil {
		links := make([]trace.Link, 0, len(raws))
		for _, raw := range raws {
			links = append(links, trace.LinkFromContext(telemetry.WithTraceParent(ctx, raw.Header.Get(headerTraceParent))))
		}
		var span trace.Span
		ctx, span = tracer.Tracer(tracerName).Start(ctx, "process "+co.sub.Stream,
			trace.WithSpanKind(trace.SpanKindConsumer), trace.WithLinks(links...), trace.WithAttributes(
				attribute.String("messaging.system", "nats"),
				attribute.String("messaging.destination.name", co.sub.Stream),
				attribute.String("messaging.consumer.group.name", co.sub.Durable),
				attribute.Int("messaging.batch.message_count", len(raws))))
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
		if p := recover(); p != nil {
			err = fmt.Errorf("handler panicked: %v", p)
			co.log.ErrorContext(ctx, "handler panicked", "messages", len(raws), "panic", p, "stack", string(debug.Stack()))
		}
	}()
	return co.batch.handle(ctx, raws)
}

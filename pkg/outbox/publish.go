package outbox

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"github.com/healthmed/healthmed/pkg/telemetry"
)

const (
	maxInFlight  = 2048
	ackTimeout   = 5 * time.Second
	stragglerAge = 100 * time.Millisecond // without any answer for so long, the window goes on without the rest
	putOff       = 2 * time.Second        // rows of a stream that doesn't answer
	firstBackoff = 500 * time.Millisecond // rows at fault, doubled with each attempt
	maxBackoff   = time.Minute
	maxReason    = 500 // bytes of last_error
	traceParent  = "traceparent"
	sampled      = "-01" // ends the traceparent of a trace that is kept
)

// answer is what became of a message: acknowledged or not.
type answer struct {
	msg *nats.Msg
	ack *jetstream.PubAck
	err error
}

// sent is a message in flight.
type sent struct {
	row    *row
	stream string
	number uint64 // in the order of sending
}

// publisher sends rows, asynchronously and with one message in flight per aggregate. It belongs to one term of
// leadership and one goroutine.
type publisher struct {
	cfg      RelayConfig
	metrics  *metrics
	tracer   trace.Tracer
	js       jetstream.JetStream
	answers  chan answer
	inFlight map[*nats.Msg]sent
	number   uint64
	answered map[string]uint64 // by stream: the latest-sent message that it acknowledged

	outcomes     outcomes
	acked        int  // in this window
	unanswered   int  // in this window: the stream's silence or refusal
	disconnected bool // in this window
}

func newPublisher(cfg RelayConfig, m *metrics) (*publisher, error) {
	// Every message in flight has room for its answer, so that the library's goroutine never waits, not even when
	// the term is over and nobody listens.
	answers := make(chan answer, maxInFlight)
	js, err := jetstream.New(cfg.JS.Conn(),
		jetstream.WithPublishAsyncMaxPending(2*maxInFlight), jetstream.WithPublishAsyncTimeout(ackTimeout),
		jetstream.WithPublishAsyncAckHandler(func(_ jetstream.JetStream, m *nats.Msg, a *jetstream.PubAck) {
			answers <- answer{msg: m, ack: a}
		}),
		jetstream.WithPublishAsyncErrHandler(func(_ jetstream.JetStream, m *nats.Msg, err error) {
			answers <- answer{msg: m, err: err}
		}))
	if err != nil {
		return nil, fmt.Errorf("outbox: %w", err)
	}
	return &publisher{cfg: cfg, metrics: m, tracer: cfg.Tracer.Tracer("github.com/healthmed/healthmed/pkg/outbox"), js: js, answers: answers,
		inFlight: map[*nats.Msg]sent{}, answered: map[string]uint64{}}, nil
}

// publish sends the rows and returns when all are answered, when only stragglers are not (they stay in flight), or
// when ctx ends or NATS is lost. What became of them is in p.outcomes.
func (p *publisher) publish(ctx context.Context, rows []*row) {
	p.acked, p.unanswered, p.disconnected = 0, 0, false
	later := map[[16]byte][]*row{} // rows that wait for the one before them in their aggregate
	ready := make([]*row, 0, len(rows))
	for _, r := range rows {
		if waiting, ok := later[r.AggregateID]; ok {
			later[r.AggregateID] = append(waiting, r)
			continue
		}
		later[r.AggregateID] = nil
		ready = append(ready, r)
	}
	patience := time.NewTimer(stragglerAge)
	defer patience.Stop()
	for {
		for len(ready) > 0 && len(p.inFlight) < maxInFlight && !p.disconnected && ctx.Err() == nil {
			p.send(ctx, ready[0])
			ready = ready[1:]
		}
		if len(p.inFlight) == 0 {
			return
		}
		select {
		case a := <-p.answers:
			r, ok := p.settle(ctx, a)
			if next := later[r.AggregateID]; ok && len(next) > 0 {
				ready, later[r.AggregateID] = append(ready, next[0]), next[1:]
			}
			patience.Reset(stragglerAge)
		case <-patience.C:
			return
		case <-ctx.Done():
			return
		}
	}
}

// send hands a message to the library. A row that cannot even be sent is set back at once.
func (p *publisher) send(ctx context.Context, r *row) {
	if !p.cfg.JS.Conn().IsConnected() {
		p.disconnected = true // sent now, it would be buffered and fail later all the same
		return
	}
	p.number++
	s := sent{row: r, stream: p.cfg.StreamFor(r.Subject), number: p.number}
	msg, err := message(r, s.stream)
	if err != nil {
		p.setBack(ctx, s, err)
		return
	}
	p.inFlight[msg] = s
	if _, err := p.js.PublishMsgAsync(msg); err != nil {
		p.settle(ctx, answer{msg: msg, err: err})
	}
}

// message refuses a row that was not appended through this package and cannot be sent.
func message(r *row, stream string) (*nats.Msg, error) {
	var headers map[string]string
	if err := json.Unmarshal(r.Headers, &headers); err != nil {
		return nil, fmt.Errorf("%w: headers: %w", ErrRefused, err)
	}
	if !publishable(r.Subject) {
		return nil, fmt.Errorf("%w: subject", ErrRefused)
	}
	if stream == "" {
		return nil, fmt.Errorf("%w: no stream takes the subject", ErrRefused)
	}
	msg := &nats.Msg{Subject: r.Subject, Header: make(nats.Header, len(headers)+2), Data: r.Data}
	for k, v := range headers {
		msg.Header.Set(k, v)
	}
	msg.Header.Set(jetstream.MsgIDHeader, uuid.UUID(r.ID).String())
	msg.Header.Set(jetstream.ExpectedStreamHeader, stream)
	return msg, nil
}

// settle takes an answer in and tells whether the row is published.
func (p *publisher) settle(ctx context.Context, a answer) (*row, bool) {
	s, ok := p.inFlight[a.msg]
	if !ok {
		return &row{}, false
	}
	delete(p.inFlight, a.msg)
	if a.err != nil {
		p.setBack(ctx, s, a.err)
		return s.row, false
	}
	p.answered[s.stream] = max(p.answered[s.stream], s.number)
	p.acked++
	p.outcomes.published = append(p.outcomes.published, s.row)
	now := p.cfg.Now()
	p.metrics.sent(s.stream, a.ack.Duplicate, now.Sub(s.row.CreatedAt))
	p.trace(ctx, a.msg, s, now)
	return s.row, true
}

// drain takes in the answers that are there.
func (p *publisher) drain(ctx context.Context) {
	for {
		select {
		case a := <-p.answers:
			p.settle(ctx, a)
		default:
			return
		}
	}
}

// trace adds what is behind a published message to its trace.
func (p *publisher) trace(ctx context.Context, msg *nats.Msg, s sent, now time.Time) {
	parent := msg.Header.Get(traceParent)
	if !strings.HasSuffix(parent, sampled) {
		return
	}
	_, span := p.tracer.Start(telemetry.WithTraceParent(ctx, parent), "publish "+s.stream,
		trace.WithSpanKind(trace.SpanKindProducer), trace.WithTimestamp(s.row.CreatedAt), trace.WithAttributes(
			attribute.String("messaging.system", "nats"),
			attribute.String("messaging.destination.name", s.stream),
			attribute.String("messaging.message.id", uuid.UUID(s.row.ID).String())))
	span.End(trace.WithTimestamp(now))
}

// setBack decides whose fault it was. Silence is the row's own fault when its stream has acknowledged something that
// was sent after it: a subject that no stream takes, or that this service may not publish to.
func (p *publisher) setBack(ctx context.Context, s sent, err error) {
	b := setback{row: s.row, attempts: s.row.Attempts, reason: shorten(err.Error())}
	fault := blame(err)
	if fault == faultSilence && p.answered[s.stream] > s.number {
		fault = faultRow
	}
	p.metrics.failures.WithLabelValues(fault).Inc()
	switch fault {
	case faultConnection:
		p.disconnected = true // and the row stays as it is
		return
	case faultSilence:
		p.unanswered++
		b.next = p.cfg.Now().Add(putOff)
	case faultRow:
		b.attempts++
		b.next = p.cfg.Now().Add(backoff(b.attempts))
		b.quarantine = b.attempts >= p.cfg.MaxAttempts
		p.cfg.Log.WarnContext(ctx, "outbox relay: message refused", "event_id", uuid.UUID(s.row.ID).String(),
			"attempts", b.attempts, "quarantined", b.quarantine, "error", b.reason)
	}
	p.outcomes.setbacks = append(p.outcomes.setbacks, b)
}

// Whose fault it is that a message wasn't acknowledged.
const (
	faultConnection = "connection"
	faultSilence    = "stream"
	faultRow        = "row"
)

func blame(err error) string {
	for _, lost := range []error{nats.ErrDisconnected, nats.ErrConnectionClosed, nats.ErrConnectionDraining,
		nats.ErrConnectionReconnecting, nats.ErrReconnectBufExceeded, nats.ErrInvalidConnection, nats.ErrStaleConnection} {
		if errors.Is(err, lost) {
			return faultConnection
		}
	}
	for _, silent := range []error{jetstream.ErrAsyncPublishTimeout, jetstream.ErrNoStreamResponse,
		jetstream.ErrTooManyStalledMsgs, nats.ErrNoResponders, nats.ErrTimeout} {
		if errors.Is(err, silent) {
			return faultSilence
		}
	}
	var api *jetstream.APIError
	if errors.As(err, &api) && api.Code >= 500 { // stream full, no leader, out of space: it will pass
		return faultSilence
	}
	return faultRow
}

func backoff(attempts int) time.Duration {
	return min(firstBackoff<<min(attempts-1, 20), maxBackoff)
}

func shorten(s string) string { return s[:min(len(s), maxReason)] }

// busy lists the aggregates that have a message in flight.
func (p *publisher) busy() [][16]byte {
	ids := make([][16]byte, 0, len(p.inFlight))
	for _, s := range p.inFlight {
		ids = append(ids, s.row.AggregateID)
	}
	return ids
}

// take hands over the outcomes so far.
func (p *publisher) take() outcomes {
	o := p.outcomes
	p.outcomes = outcomes{}
	return o
}

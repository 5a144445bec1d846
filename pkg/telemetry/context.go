package telemetry

import (
	"context"
	"log/slog"

	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

type requestIDKey struct{}

// WithRequestID and RequestID carry the request id, which becomes the events' correlation id. Log records made
// with a context carry request id and trace id.
func WithRequestID(ctx context.Context, id string) context.Context {
	return context.WithValue(ctx, requestIDKey{}, id)
}

// RequestID returns "" when there is none.
func RequestID(ctx context.Context) string {
	id, _ := ctx.Value(requestIDKey{}).(string)
	return id
}

// TraceParent is the W3C traceparent of the context's span, or "". WithTraceParent starts from one.
func TraceParent(ctx context.Context) string {
	span := trace.SpanContextFromContext(ctx)
	if !span.IsValid() {
		return ""
	}
	flags := "-00"
	if span.IsSampled() {
		flags = "-01"
	}
	return "00-" + span.TraceID().String() + "-" + span.SpanID().String() + flags
}

// WithTraceParent makes the remote span of the header value the context's parent; a malformed value is ignored.
func WithTraceParent(ctx context.Context, traceparent string) context.Context {
	if traceparent == "" {
		return ctx
	}
	return propagation.TraceContext{}.Extract(ctx, propagation.MapCarrier{"traceparent": traceparent})
}

// Origin is the request that began it all, as far as a context knows it: kept with work that is done later, so that what
// comes of it still tells. Both parts may be empty.
type Origin struct {
	RequestID   string
	TraceParent string
}

// OriginOf takes the origin from a context.
func OriginOf(ctx context.Context) Origin {
	return Origin{RequestID: RequestID(ctx), TraceParent: TraceParent(ctx)}
}

// Context goes on from the origin. What is empty stays as ctx has it.
func (o Origin) Context(ctx context.Context) context.Context {
	if o.RequestID != "" {
		ctx = WithRequestID(ctx, o.RequestID)
	}
	return WithTraceParent(ctx, o.TraceParent)
}

// contextHandler adds what the context knows to each record.
type contextHandler struct{ slog.Handler }

func (h contextHandler) Handle(ctx context.Context, r slog.Record) error {
	if id := RequestID(ctx); id != "" {
		r.AddAttrs(slog.String("request_id", id))
	}
	if span := trace.SpanContextFromContext(ctx); span.IsValid() {
		r.AddAttrs(slog.String("trace_id", span.TraceID().String()), slog.String("span_id", span.SpanID().String()))
	}
	return h.Handler.Handle(ctx, r)
}

func (h contextHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return contextHandler{h.Handler.WithAttrs(attrs)}
}

func (h contextHandler) WithGroup(name string) slog.Handler {
	return contextHandler{h.Handler.WithGroup(name)}
}

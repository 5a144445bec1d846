package postgres

import (
	"context"
	"time"

	"github.com/exaring/otelpgx"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// tracer bounds the wait for a connection and, if asked to, records spans. The bound is set here because the
// pool waits under the context that TraceAcquireStart returns, and has no setting of its own for it.
type tracer struct {
	acquire time.Duration
	spans   *otelpgx.Tracer
}

// spanTracer adds otelpgx's spans to the bound.
type spanTracer struct {
	tracer
	*otelpgx.Tracer
}

// Both embedded types have these; the bound is the one that is meant.
func (t spanTracer) TraceAcquireStart(ctx context.Context, p *pgxpool.Pool, d pgxpool.TraceAcquireStartData) context.Context {
	return t.tracer.TraceAcquireStart(ctx, p, d)
}

func (t spanTracer) TraceAcquireEnd(ctx context.Context, p *pgxpool.Pool, d pgxpool.TraceAcquireEndData) {
	t.tracer.TraceAcquireEnd(ctx, p, d)
}

func (t spanTracer) TraceQueryStart(ctx context.Context, c *pgx.Conn, d pgx.TraceQueryStartData) context.Context {
	return t.Tracer.TraceQueryStart(ctx, c, d)
}

func (t spanTracer) TraceQueryEnd(ctx context.Context, c *pgx.Conn, d pgx.TraceQueryEndData) {
	t.Tracer.TraceQueryEnd(ctx, c, d)
}

func (t tracer) asTracer() pgx.QueryTracer {
	if t.spans == nil {
		return t
	}
	return spanTracer{t, t.spans}
}

type cancelKey struct{}

func (t tracer) TraceAcquireStart(ctx context.Context, _ *pgxpool.Pool, _ pgxpool.TraceAcquireStartData) context.Context {
	if t.acquire <= 0 {
		return ctx
	}
	ctx, cancel := context.WithTimeout(ctx, t.acquire)
	return context.WithValue(ctx, cancelKey{}, cancel)
}

func (t tracer) TraceAcquireEnd(ctx context.Context, _ *pgxpool.Pool, _ pgxpool.TraceAcquireEndData) {
	if cancel, ok := ctx.Value(cancelKey{}).(context.CancelFunc); ok {
		cancel()
	}
}

// A tracer must be a pgx.QueryTracer to be installed at all.
func (t tracer) TraceQueryStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceQueryStartData) context.Context {
	return ctx
}

func (t tracer) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

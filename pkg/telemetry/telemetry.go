// Package telemetry gives each service its logger, metrics registry and tracer: no globals.
//
// Log records are JSON lines on standard error that carry the request id and trace id of their context. What
// identifies a person or opens a door (e-mail addresses, CPFs, passwords, tokens) is masked on the way out, by key and
// by look; that is a safety net under the rule that logs carry ids only, never a reason to log such a value.
package telemetry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"os"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"
)

// Config of logs and traces. Embed it in a service's Config.
type Config struct {
	LogLevel  slog.Level `env:"LOG_LEVEL" envDefault:"INFO"`  // least severe level that is written
	LogFormat string     `env:"LOG_FORMAT" envDefault:"json"` // JSON lines for machines, or text
	// OTLPEndpoint of a collector (OTLP over HTTP); empty turns traces off.
	OTLPEndpoint string `env:"OTEL_EXPORTER_OTLP_ENDPOINT"`
	// TraceRatio is the share of traces that are kept, above 0 and up to 1. All services must have the same, so that they
	// keep the same traces.
	TraceRatio float64 `env:"TRACE_RATIO" envDefault:"1"`
	// LogOutput receives the log lines; nil is standard error.
	LogOutput io.Writer `env:"-"`
}

// Telemetry of one service.
type Telemetry struct {
	Log     *slog.Logger
	Metrics *prometheus.Registry
	Tracer  trace.TracerProvider
}

// New makes a service's telemetry, with Go and process metrics registered. A collector that cannot be reached is no
// error: spans are dropped until it is back.
func New(ctx context.Context, service string, cfg Config) (*Telemetry, error) {
	log, err := newLogger(service, cfg)
	if err != nil {
		return nil, err
	}
	tracer, err := newTracer(ctx, service, cfg)
	if err != nil {
		return nil, err
	}
	metrics := prometheus.NewRegistry()
	metrics.MustRegister(
		newBuildInfo(),
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	return &Telemetry{Log: log, Metrics: metrics, Tracer: tracer}, nil
}

// Discard is telemetry that goes nowhere, for tests and short-lived commands.
func Discard() *Telemetry {
	return &Telemetry{
		Log:     slog.New(slog.DiscardHandler),
		Metrics: prometheus.NewRegistry(),
		Tracer:  noop.NewTracerProvider(),
	}
}

// Shutdown flushes traces. It gives up when ctx ends.
func (t *Telemetry) Shutdown(ctx context.Context) error {
	p, ok := t.Tracer.(interface{ Shutdown(context.Context) error })
	if !ok {
		return nil
	}
	if err := p.Shutdown(ctx); err != nil {
		return fmt.Errorf("telemetry: flush traces: %w", err)
	}
	return nil
}

func newLogger(service string, cfg Config) (*slog.Logger, error) {
	out := cfg.LogOutput
	if out == nil {
		out = os.Stderr
	}
	opts := &slog.HandlerOptions{Level: cfg.LogLevel, ReplaceAttr: new(masker).replace}
	var h slog.Handler
	switch cfg.LogFormat {
	case "json", "":
		h = slog.NewJSONHandler(out, opts)
	case "text":
		h = slog.NewTextHandler(out, opts)
	default:
		return nil, fmt.Errorf("telemetry: LOG_FORMAT is %q, want json or text", cfg.LogFormat)
	}
	return slog.New(contextHandler{Handler: h}).With("service", service), nil
}

func newTracer(ctx context.Context, service string, cfg Config) (trace.TracerProvider, error) {
	if cfg.TraceRatio < 0 || cfg.TraceRatio > 1 {
		return nil, errors.New("telemetry: TRACE_RATIO must be above 0 and at most 1")
	}
	if cfg.TraceRatio == 0 {
		cfg.TraceRatio = 1
	}
	if cfg.OTLPEndpoint == "" {
		// Kept nowhere, but still with ids: every event carries a traceparent that its subscribers may continue.
		return sdktrace.NewTracerProvider(sdktrace.WithSampler(sdktrace.NeverSample())), nil
	}
	u, err := url.Parse(cfg.OTLPEndpoint)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, errors.New("telemetry: OTEL_EXPORTER_OTLP_ENDPOINT must be an http or https URL")
	}
	// The variable names the collector's base address; traces go to /v1/traces under it (OTLP exporter specification).
	exporter, err := otlptracehttp.New(ctx, otlptracehttp.WithEndpointURL(u.JoinPath("v1", "traces").String()))
	if err != nil {
		return nil, fmt.Errorf("telemetry: trace exporter: %w", err)
	}
	// The ratio decides by the trace's id, so each service that a trace passes decides alike. A caller's wish to be
	// sampled (the flag in traceparent) counts for nothing: it would let anyone fill the trace store.
	share := sdktrace.TraceIDRatioBased(cfg.TraceRatio)
	return sdktrace.NewTracerProvider(
		sdktrace.WithBatcher(exporter),
		sdktrace.WithSampler(sdktrace.ParentBased(share,
			sdktrace.WithRemoteParentSampled(share), sdktrace.WithRemoteParentNotSampled(share))),
		sdktrace.WithResource(resource.NewSchemaless(
			attribute.String("service.name", service),
			attribute.String("service.namespace", "healthmed"),
			attribute.String("service.version", version),
		)),
	), nil
}

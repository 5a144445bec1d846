package bus_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/healthmed/healthmed/pkg/bus"
	"github.com/healthmed/healthmed/pkg/natstest"
	"github.com/healthmed/healthmed/pkg/telemetry"
)

const parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

func TestSubscribe_TheHandlerContinuesThePublishersTraceAndRequest(t *testing.T) {
	t.Parallel()
	_, conn := started(t)
	type seen struct{ parent, request string }
	got := make(chan seen, 10)
	subscribe(t, conn, func(ctx context.Context, _ bus.Message) error {
		got <- seen{telemetry.TraceParent(ctx), telemetry.RequestID(ctx)}
		return nil
	})
	env := booked(t, 1)
	env.TraceParent, env.CorrelationID = parent, "req-1"
	publish(t, conn, env)
	if s := receive(t, got); s != (seen{parent, "req-1"}) {
		t.Errorf("with header: %+v", s)
	}
	env = booked(t, 1)
	env.TraceParent = parent
	body, err := env.Encode()
	if err != nil {
		t.Fatal(err)
	}
	publishRaw(t, conn, &nats.Msg{Subject: env.Data.Subject(), Data: body})
	if s := receive(t, got); s != (seen{parent, ""}) {
		t.Errorf("without header: %+v", s)
	}
	publishRaw(t, conn, &nats.Msg{Subject: env.Data.Subject(), Data: mustEncode(t, booked(t, 1)), Header: nats.Header{"traceparent": {"garbage"}}})
	if s := receive(t, got); s != (seen{}) {
		t.Errorf("garbage: %+v", s)
	}
}

func TestSubscribe_EachTryIsASpanOfThePublishersTrace(t *testing.T) {
	t.Parallel()
	exporter := tracetest.NewInMemoryExporter()
	provider := sdktrace.NewTracerProvider(sdktrace.WithSyncer(exporter))
	cfg := natstest.New(t)
	cfg.Tracer = provider
	conn := connect(t, cfg, nil)
	ensure(t, conn, bus.Streams()...)
	inHandler := make(chan trace.SpanContext, 10)
	subscribe(t, conn, func(ctx context.Context, m bus.Message) error {
		inHandler <- trace.SpanContextFromContext(ctx)
		if m.Delivered == 1 {
			return errors.New("a text that may name a person")
		}
		return nil
	})
	env := booked(t, 1)
	env.TraceParent = parent
	publish(t, conn, env)
	first, second := receive(t, inHandler), receive(t, inHandler)
	settled(t, conn, bus.Scheduling, "reader")
	spans := exporter.GetSpans()
	if len(spans) != 2 {
		t.Fatalf("%d spans, want 2", len(spans))
	}
	for i, handler := range []trace.SpanContext{first, second} {
		span := spans[i]
		if span.Name != "process SCHEDULING" || span.SpanKind != trace.SpanKindConsumer {
			t.Errorf("span %s of kind %s", span.Name, span.SpanKind)
		}
		if span.SpanContext.SpanID() != handler.SpanID() || span.SpanContext.TraceID().String() != "4bf92f3577b34da6a3ce929d0e0e4736" || span.Parent.SpanID().String() != "00f067aa0ba902b7" {
			t.Errorf("try %d is not in the trace: %s under %s", i+1, span.SpanContext.TraceID(), span.Parent.SpanID())
		}
	}
	if spans[0].Status.Code != codes.Error || spans[1].Status.Code != codes.Unset {
		t.Errorf("statuses %v, %v", spans[0].Status, spans[1].Status)
	}
	if len(spans[0].Events) != 0 || strings.Contains(spans[0].Status.Description, "person") {
		t.Error("the error's text went into the trace")
	}
}

func TestMetrics_CountWhatBecameOfEachDelivery(t *testing.T) {
	t.Parallel()
	reg := prometheus.NewPedanticRegistry()
	cfg := natstest.New(t)
	conn := connect(t, cfg, reg)
	ensure(t, conn, bus.Streams()...)
	bad := booked(t, 1)
	subscribe(t, conn, func(_ context.Context, m bus.Message) error {
		if m.ID == bad.ID {
			return errors.New("never works")
		}
		return nil
	}, maxDeliver(3))
	publish(t, conn, booked(t, 1))
	publish(t, conn, bad)
	publish(t, conn, booked(t, 1))
	settled(t, conn, bus.Scheduling, "reader")
	const want = `
# HELP bus_connected 1 while connected to NATS.
# TYPE bus_connected gauge
bus_connected{connection="test"} 1
# HELP bus_messages_total Deliveries by outcome: handled, failed (will come again), dead_lettered, returned (service stopping).
# TYPE bus_messages_total counter
bus_messages_total{durable="reader",outcome="dead_lettered",stream="REDRIVES"} 0
bus_messages_total{durable="reader",outcome="dead_lettered",stream="SCHEDULING"} 1
bus_messages_total{durable="reader",outcome="failed",stream="REDRIVES"} 0
bus_messages_total{durable="reader",outcome="failed",stream="SCHEDULING"} 2
bus_messages_total{durable="reader",outcome="handled",stream="REDRIVES"} 0
bus_messages_total{durable="reader",outcome="handled",stream="SCHEDULING"} 2
bus_messages_total{durable="reader",outcome="returned",stream="REDRIVES"} 0
bus_messages_total{durable="reader",outcome="returned",stream="SCHEDULING"} 0
# HELP bus_redeliveries_total Deliveries that were not the message's first.
# TYPE bus_redeliveries_total counter
bus_redeliveries_total{durable="reader",stream="REDRIVES"} 0
bus_redeliveries_total{durable="reader",stream="SCHEDULING"} 2
`
	if err := testutil.GatherAndCompare(reg, strings.NewReader(want), "bus_connected", "bus_messages_total", "bus_redeliveries_total"); err != nil {
		t.Error(err)
	}
}

func TestMetrics_LagIsWhatIsStillToCome(t *testing.T) {
	t.Parallel()
	reg := prometheus.NewPedanticRegistry()
	conn := connect(t, natstest.New(t), reg)
	ensure(t, conn, bus.Streams()...)
	for range 5 {
		publish(t, conn, booked(t, 1))
	}
	release := make(chan struct{})
	subscribe(t, conn, func(context.Context, bus.Message) error { <-release; return nil })
	t.Cleanup(func() { close(release) })
	lag := func() (lag float64) {
		families, err := reg.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range families {
			if f.GetName() != "bus_lag_messages" {
				continue
			}
			for _, m := range f.GetMetric() {
				lag += m.GetGauge().GetValue()
			}
		}
		return lag
	}
	eventually(t, "the lag shows", func() bool { return lag() == 4 }) // one is in hand
	release <- struct{}{}
	eventually(t, "the lag falls", func() bool { return lag() == 3 })
}

func TestMetrics_SeveralConnectionsShareARegistry(t *testing.T) {
	t.Parallel()
	reg := prometheus.NewPedanticRegistry()
	cfg := natstest.New(t)
	connect(t, cfg, reg)
	connect(t, cfg, reg)
	if _, err := reg.Gather(); err != nil {
		t.Error(err)
	}
}

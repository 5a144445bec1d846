package telemetry

import (
	"runtime"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace"
)

// version is the release, which the image's build stamps here by the linker: it cannot be a constant.
var version = "dev"

// newBuildInfo is a gauge that is always 1 and tells by its labels what runs.
func newBuildInfo() prometheus.Collector {
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "build_info", Help: "1, with the release and the Go version that built it.",
		ConstLabels: prometheus.Labels{"version": version, "go_version": runtime.Version()},
	}, func() float64 { return 1 })
}

// Observe adds a value to a histogram, and the trace as its exemplar if the trace is kept.
func Observe(span trace.SpanContext, h prometheus.Observer, value float64) {
	if e, ok := h.(prometheus.ExemplarObserver); ok && span.IsSampled() {
		e.ObserveWithExemplar(value, prometheus.Labels{"trace_id": span.TraceID().String()})
		return
	}
	h.Observe(value)
}

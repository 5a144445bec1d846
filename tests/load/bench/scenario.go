// Package bench is the load program's framework: the system under test, loads, what they measure, and how processes'
// use of the machine is read. It knows no scenario; those are in package scenario, a file each.
package bench

import (
	"context"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Scenario is one question that the program answers with figures.
type Scenario struct {
	Name string // what -only selects, and the first half of its rows' names: "slots"
	What string // one sentence for the report: what is asked, of what, and what the limit beside it is
	// Without names services that are stopped while it runs ("notifier").
	Without []string
	// Run prepares, warms up and measures. It leaves the system as it found it, but for more appointments. An error means
	// that nothing could be measured; wrong answers are counted in the row.
	Run func(ctx context.Context, w *World) ([]Row, error)
}

// Row is one line of the table.
type Row struct {
	Name string `json:"name"` // "slots/one doctor": scenario, slash, case; floors refer to it
	Load string `json:"load"` // "closed, 32 connections", "open, 200/s over 64 connections"

	Done       int64            `json:"done"`
	PerSecond  float64          `json:"per_second"`
	Latency    *Latency         `json:"latency,omitempty"` // nil where there is none to speak of
	Errors     int64            `json:"errors"`
	ErrorKinds map[string]int64 `json:"error_kinds,omitempty"`

	Usage []Usage `json:"usage,omitempty"` // by process, while it ran

	Limit *Limit `json:"limit,omitempty"`
	// Figures are others that the case is about, by name with its unit: "lost_events", "kib_per_connection".
	Figures map[string]float64 `json:"figures,omitempty"`
	Note    string             `json:"note,omitempty"`

	// Curve names the line of the chart that the row is a point of, at Offered requests a second.
	Curve   string  `json:"curve,omitempty"`
	Offered float64 `json:"offered,omitempty"`
}

// Latency in milliseconds.
type Latency struct {
	P50 float64 `json:"p50_ms"`
	P95 float64 `json:"p95_ms"`
	P99 float64 `json:"p99_ms"`
	Max float64 `json:"max_ms"`
}

// Limit is what the same machine reached in the same run without this system, or with as little of it as the work needs.
type Limit struct {
	What      string  `json:"what"`
	PerSecond float64 `json:"per_second"`
	Ratio     float64 `json:"ratio"` // the row's throughput to it
}

// LatencyOf reads a histogram of microseconds.
func LatencyOf(h *hdrhistogram.Histogram) *Latency {
	if h == nil || h.TotalCount() == 0 {
		return nil
	}
	at := func(q float64) float64 { return float64(h.ValueAtQuantile(q)) / 1000 }
	return &Latency{P50: at(50), P95: at(95), P99: at(99), Max: float64(h.Max()) / 1000}
}

// RowOf makes a row of a measurement.
func RowOf(name, load string, m Measured) Row {
	return Row{
		Name: name, Load: load, Done: m.Done, PerSecond: m.PerSecond(), Latency: LatencyOf(m.Latency),
		Errors: m.Failed(), ErrorKinds: m.Errors,
	}
}

// Beside sets the limit that was measured in the same run, and the ratio to it.
func (r Row) Beside(what string, perSecond float64) Row {
	r.Limit = &Limit{What: what, PerSecond: perSecond}
	if perSecond > 0 {
		r.Limit.Ratio = r.PerSecond / perSecond
	}
	return r
}

// With adds a figure.
func (r Row) With(name string, value float64) Row {
	figures := map[string]float64{name: value}
	for n, v := range r.Figures {
		figures[n] = v
	}
	r.Figures = figures
	return r
}

// Figure is one number of a row by the name that floors use: per_second, p50_ms, p95_ms, p99_ms, max_ms, errors, done, ratio,
// generator_cpu, NAME_cpu and NAME_mib of a process, or one of Figures.
func (r Row) Figure(name string) (float64, bool) {
	switch name {
	case "per_second":
		return r.PerSecond, true
	case "errors":
		return float64(r.Errors), true
	case "done":
		return float64(r.Done), true
	case "ratio":
		if r.Limit == nil {
			return 0, false
		}
		return r.Limit.Ratio, true
	}
	if r.Latency != nil {
		switch name {
		case "p50_ms":
			return r.Latency.P50, true
		case "p95_ms":
			return r.Latency.P95, true
		case "p99_ms":
			return r.Latency.P99, true
		case "max_ms":
			return r.Latency.Max, true
		}
	}
	for _, u := range r.Usage {
		switch name {
		case u.Process + "_cpu":
			return u.CPU, true
		case u.Process + "_mib":
			return u.MiB, true
		}
	}
	value, ok := r.Figures[name]
	return value, ok
}

// Seconds is d, or a small part of it in a quick run.
func (w *World) Seconds(d time.Duration) time.Duration {
	if w.Config.Quick {
		return max(d/4, 500*time.Millisecond)
	}
	return d
}

package bus

import (
	"errors"

	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"
)

// Outcomes of handling a message.
const (
	outcomeHandled      = "handled"
	outcomeFailed       = "failed" // will be delivered again
	outcomeDeadLettered = "dead_lettered"
	outcomeReturned     = "returned" // handed back unhandled because the service stops
)

type metrics struct {
	messages     *prometheus.CounterVec
	redeliveries *prometheus.CounterVec
	lag          *prometheus.GaugeVec
	seconds      *prometheus.HistogramVec
}

// newMetrics registers on reg, or shares what an earlier connection registered there. A nil reg counts for nobody.
func newMetrics(reg prometheus.Registerer, name string, nc *nats.Conn) (*metrics, error) {
	labels := []string{"stream", "durable"}
	m := &metrics{
		messages: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "bus_messages_total",
			Help: "Deliveries by outcome: handled, failed (will come again), dead_lettered, returned (service stopping).",
		}, append(labels, "outcome")),
		redeliveries: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "bus_redeliveries_total",
			Help: "Deliveries that were not the message's first.",
		}, labels),
		lag: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "bus_lag_messages",
			Help: "Messages of the stream that the durable has not been given yet.",
		}, labels),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "bus_handle_seconds",
			Help:    "Time that a handler took.",
			Buckets: prometheus.ExponentialBuckets(0.001, 4, 8),
		}, labels),
	}
	if reg == nil {
		return m, nil
	}
	connected := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name:        "bus_connected",
		Help:        "1 while connected to NATS.",
		ConstLabels: prometheus.Labels{"connection": name},
	}, func() float64 {
		if nc.IsConnected() {
			return 1
		}
		return 0
	})
	var err error
	m.messages = register(reg, m.messages, &err)
	m.redeliveries = register(reg, m.redeliveries, &err)
	m.lag = register(reg, m.lag, &err)
	m.seconds = register(reg, m.seconds, &err)
	register[prometheus.Collector](reg, connected, &err)
	return m, err
}

// register adds a collector, or gives back the same one that is registered already.
func register[C prometheus.Collector](reg prometheus.Registerer, c C, failed *error) C {
	err := reg.Register(c)
	var already prometheus.AlreadyRegisteredError
	if errors.As(err, &already) {
		if same, ok := already.ExistingCollector.(C); ok {
			return same
		}
	}
	*failed = errors.Join(*failed, err)
	return c
}

// prepare makes the series of a durable exist at zero, so that an alert sees the first increase.
func (m *metrics) prepare(stream, durable string) {
	for _, outcome := range []string{outcomeHandled, outcomeFailed, outcomeDeadLettered, outcomeReturned} {
		m.messages.WithLabelValues(stream, durable, outcome)
	}
	m.redeliveries.WithLabelValues(stream, durable)
	m.lag.WithLabelValues(stream, durable)
}

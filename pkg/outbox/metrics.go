package outbox

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

const (
	measureEvery = 5 * time.Second
	// Counting may take at most one part in so many of the time.
	measureShare   = 50
	measureTimeout = 5 * time.Second
)

// backlog is what the leader measured last.
type backlog struct {
	rows, quarantined int64
	seconds           float64
}

// metrics is a prometheus.Collector. The backlog is reported by the leader alone; take the maximum over replicas.
type metrics struct {
	published, duplicates, failures *prometheus.CounterVec
	delay                           prometheus.Histogram
	relay                           *Relay
	backlog                         atomic.Pointer[backlog]
	leader, rows, seconds, held     *prometheus.Desc
}

func newMetrics(r *Relay) *metrics {
	desc := func(name, help string) *prometheus.Desc { return prometheus.NewDesc(name, help, nil, nil) }
	return &metrics{
		relay: r,
		published: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "outbox_published_total",
			Help: "Messages that a stream acknowledged."}, []string{"stream"}),
		duplicates: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "outbox_duplicates_total",
			Help: "Of those, messages that the stream had already and dropped."}, []string{"stream"}),
		failures: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "outbox_failures_total",
			Help: "Messages not acknowledged, by fault: connection, stream (it did not answer), row (counts as an attempt)."},
			[]string{"fault"}),
		delay: prometheus.NewHistogram(prometheus.HistogramOpts{Name: "outbox_publish_delay_seconds",
			Help:    "From the start of the transaction that wrote the row to the stream's acknowledgement.",
			Buckets: []float64{.002, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 15, 60, 300, 3600}}),
		leader:  desc("outbox_leader", "1 while this process is the service's relay leader."),
		rows:    desc("outbox_lag_rows", "Rows not published yet, without those in quarantine (leader only; counts to 1,000,000)."),
		seconds: desc("outbox_lag_seconds", "Age of the oldest row that is to be published, without those that quarantine holds back (leader only)."),
		held:    desc("outbox_quarantined_rows", "Rows in quarantine: each holds back its aggregate (leader only)."),
	}
}

// Describe implements prometheus.Collector.
func (m *metrics) Describe(out chan<- *prometheus.Desc) {
	for _, c := range []prometheus.Collector{m.published, m.duplicates, m.failures, m.delay} {
		c.Describe(out)
	}
	for _, d := range []*prometheus.Desc{m.leader, m.rows, m.seconds, m.held} {
		out <- d
	}
}

// Collect implements prometheus.Collector.
func (m *metrics) Collect(out chan<- prometheus.Metric) {
	for _, c := range []prometheus.Collector{m.published, m.duplicates, m.failures, m.delay} {
		c.Collect(out)
	}
	gauge := func(d *prometheus.Desc, v float64) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v)
	}
	leading := 0.0
	if m.relay.Leading() {
		leading = 1
	}
	gauge(m.leader, leading)
	if b := m.backlog.Load(); b != nil {
		gauge(m.rows, float64(b.rows))
		gauge(m.seconds, b.seconds)
		gauge(m.held, float64(b.quarantined))
	}
}

func (m *metrics) sent(stream string, duplicate bool, delay time.Duration) {
	m.published.WithLabelValues(stream).Inc()
	if duplicate {
		m.duplicates.WithLabelValues(stream).Inc()
	}
	m.delay.Observe(delay.Seconds())
}

// forget stops reporting a backlog that another leader measures now.
func (m *metrics) forget() { m.backlog.Store(nil) }

// countBacklog looks at unpublished rows only. The oldest is sought among those that can go.
const countBacklog = `
SELECT count(*) FILTER (WHERE quarantined_at IS NULL), count(*) FILTER (WHERE quarantined_at IS NOT NULL),
	(SELECT created_at FROM outbox
		WHERE published_at IS NULL AND quarantined_at IS NULL AND aggregate_id <> ALL (ARRAY(
			SELECT aggregate_id FROM outbox
			WHERE published_at IS NULL AND (quarantined_at IS NOT NULL OR next_attempt_at IS NOT NULL)
				AND quarantined_at IS NOT NULL))
		ORDER BY seq LIMIT 1)
FROM (SELECT quarantined_at FROM outbox WHERE published_at IS NULL LIMIT 1000000) AS pending`

// measure keeps the backlog's figures fresh, so that a scrape costs the database nothing.
func (r *Relay) measure(ctx context.Context) {
	for ctx.Err() == nil {
		began := time.Now()
		var b backlog
		var oldest *time.Time
		err := withTimeout(ctx, measureTimeout, func(ctx context.Context) error {
			return r.cfg.Pool.QueryRow(ctx, countBacklog).Scan(&b.rows, &b.quarantined, &oldest)
		})
		switch {
		case err == nil:
			if oldest != nil {
				b.seconds = max(0, r.cfg.Now().Sub(*oldest).Seconds())
			}
			r.metrics.backlog.Store(&b)
		case ctx.Err() == nil:
			r.cfg.Log.WarnContext(ctx, "outbox relay: backlog not measured", "error", err)
		}
		pause(ctx, max(measureEvery, measureShare*time.Since(began)))
	}
}

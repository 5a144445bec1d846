package postgres

import (
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"
)

// Collector reports a pool's state as metrics named db_pool_*. Register it once per pool.
func Collector(pool *pgxpool.Pool) prometheus.Collector {
	desc := func(name, help string) *prometheus.Desc {
		return prometheus.NewDesc("db_pool_"+name, help, nil, nil)
	}
	return &collector{
		pool:     pool,
		max:      desc("max_connections", "Connections the pool may open."),
		acquired: desc("acquired_connections", "Connections in use now."),
		idle:     desc("idle_connections", "Connections open and free now."),
		acquires: desc("acquires_total", "Connections handed out."),
		waited:   desc("empty_acquires_total", "Times a caller had to wait because the pool was empty."),
		wait:     desc("acquire_seconds_total", "Time spent waiting for connections."),
		gaveUp:   desc("canceled_acquires_total", "Times a caller gave up waiting."),
	}
}

type collector struct {
	pool                                                *pgxpool.Pool
	max, acquired, idle, acquires, waited, wait, gaveUp *prometheus.Desc
}

// Describe implements prometheus.Collector.
func (c *collector) Describe(out chan<- *prometheus.Desc) { prometheus.DescribeByCollect(c, out) }

// Collect implements prometheus.Collector.
func (c *collector) Collect(out chan<- prometheus.Metric) {
	s := c.pool.Stat()
	gauge := func(d *prometheus.Desc, v float64) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v)
	}
	counter := func(d *prometheus.Desc, v float64) {
		out <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, v)
	}
	gauge(c.max, float64(s.MaxConns()))
	gauge(c.acquired, float64(s.AcquiredConns()))
	gauge(c.idle, float64(s.IdleConns()))
	counter(c.acquires, float64(s.AcquireCount()))
	counter(c.waited, float64(s.EmptyAcquireCount()))
	counter(c.wait, s.AcquireDuration().Seconds())
	counter(c.gaveUp, float64(s.CanceledAcquireCount()))
}

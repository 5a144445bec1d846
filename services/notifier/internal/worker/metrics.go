package worker

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/smithy-go"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/healthmed/healthmed/services/notifier/internal/notice"
	"github.com/healthmed/healthmed/services/notifier/internal/postgres"
)

type metrics struct {
	outcomes, skipped, ended              *prometheus.CounterVec
	lost, resent, gaveUp                  prometheus.Counter
	latency                               *prometheus.HistogramVec
	due, oldest, waiting, inDoubt, failed prometheus.Gauge
	suppressed, circuitOpen, rate         prometheus.Gauge
	overdue                               *prometheus.GaugeVec
}

func newMetrics(reg prometheus.Registerer) (*metrics, error) {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: "notifier_" + name, Help: help})
	}
	gauge := func(name, help string) prometheus.Gauge {
		return prometheus.NewGauge(prometheus.GaugeOpts{Name: "notifier_" + name, Help: help})
	}
	m := &metrics{
		outcomes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "notifier_send_outcomes_total", Help: "Attempts by class (accepted, retry, failed, circuit_open, unknown) and recipient (doctor, patient, account)."},
			[]string{"class", "recipient"}),
		skipped: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "notifier_skipped_total", Help: "Deliveries not sent or put off, by reason."}, []string{"reason"}),
		ended: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "notifier_failed_total", Help: "Deliveries that ended as failed, by recipient and reason (" + strings.Join(failures, ", ") + "). Refused is by the mail service or before it, for what the message or its address is."},
			[]string{"recipient", "reason"}),
		lost:   counter("leases_lost_total", "Leases that ended without a result: a worker died or could not record."),
		resent: counter("in_doubt_resent_total", "In-doubt attempts sent again: possible duplicates."),
		gaveUp: counter("in_doubt_failed_total", "In-doubt deliveries given up."),
		latency: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "notifier_event_to_accepted_seconds", Help: "From the event (or the planned time) to acceptance by the mail service.",
			Buckets: []float64{.01, .02, .05, .1, .2, .5, 1, 2, 5, 15, 30, 60, 300, 900, 3600, 21600}}, []string{"recipient"}),
		due:    gauge("deliveries_due", "Deliveries that were planned up to now and have no end yet: to be sent, waiting for the next attempt, being sent, in doubt."),
		oldest: gauge("oldest_due_seconds", "How long ago the oldest of notifier_deliveries_due was planned, however often it was tried since."),
		overdue: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "notifier_deliveries_overdue", Help: "Of notifier_deliveries_due, those planned over 30 s ago, by recipient (doctor, patient, account)."}, []string{"recipient"}),
		waiting:     gauge("deliveries_waiting", "Deliveries waiting for a person to become known; no part of notifier_deliveries_due."),
		inDoubt:     gauge("deliveries_in_doubt", "Deliveries whose last attempt is in doubt."),
		failed:      gauge("deliveries_failed", "Deliveries that have failed."),
		suppressed:  gauge("addresses_suppressed", "Addresses not written to after a hard bounce or a complaint."),
		circuitOpen: gauge("circuit_open", "1 while sending is paused because the mail service takes nothing."),
		rate:        gauge("send_rate_limit", "This replica's share of the account's rate, messages a second."),
	}
	for _, who := range recipients { // zeros, so that the first failure is an increase
		m.latency.WithLabelValues(who)
		m.outcomes.WithLabelValues(notice.Rejected.String(), who)
		m.overdue.WithLabelValues(who)
		for _, reason := range failures {
			m.ended.WithLabelValues(who, reason)
		}
	}
	if reg == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{m.outcomes, m.skipped, m.ended, m.lost, m.resent, m.gaveUp, m.latency, m.due, m.oldest,
		m.overdue, m.waiting, m.inDoubt, m.failed, m.suppressed, m.circuitOpen, m.rate} {
		if err := reg.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

func (m *metrics) measure(g postgres.Gauges, open bool, rate float64) {
	m.due.Set(float64(g.Due))
	m.oldest.Set(g.Oldest.Seconds())
	overdue := map[string]int{}
	for template, n := range g.Overdue {
		overdue[recipient(template)] += n
	}
	for _, who := range recipients {
		m.overdue.WithLabelValues(who).Set(float64(overdue[who]))
	}
	m.waiting.Set(float64(g.Waiting))
	m.inDoubt.Set(float64(g.InDoubt))
	m.failed.Set(float64(g.Failed))
	m.suppressed.Set(float64(g.Suppressed))
	m.rate.Set(rate)
	m.circuitOpen.Set(0)
	if open {
		m.circuitOpen.Set(1)
	}
}

// recipients are all that there are.
var recipients = []string{"doctor", "patient", "account"}

// recipient is whom a message is for, as its template's name begins.
func recipient(t notice.Template) string {
	who, _, _ := strings.Cut(string(t), "_")
	return who
}

// failures are all ways in which a delivery ends as failed, as metrics name them.
var failures = []string{refused, notice.ReasonUnknown, notice.ReasonExhausted, notice.ReasonInDoubt, notice.ReasonRejectedLater}

// refused stands for the reasons of which there are as many as the mail service has codes.
const refused = "refused"

// CountFailed counts deliveries that ended as failed, here or by feedback.
func (w *Worker) CountFailed(failed []postgres.Failed) {
	for _, f := range failed {
		reason, _, _ := strings.Cut(f.Reason, ":") // retries_exhausted says after a colon by what
		if !slices.Contains(failures, reason) {
			reason = refused
		}
		w.metrics.ended.WithLabelValues(recipient(f.Template), reason).Inc()
	}
}

// errorKind is an error's code or type: what a log may say of it.
func errorKind(err error) string {
	var api smithy.APIError
	if errors.As(err, &api) {
		return api.ErrorCode()
	}
	return fmt.Sprintf("%T", err)
}

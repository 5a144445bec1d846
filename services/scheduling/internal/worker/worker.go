// Package worker does what is due by the clock: lapsing requests and holds, cancelling for people who left, offering
// freed time to the waitlist, and forgetting what is kept for a while only. Any number of replicas may run it: rows
// are claimed in the transaction that deals with them.
package worker

import (
	"context"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/healthmed/healthmed/services/scheduling/internal/postgres"
)

const (
	poll      = time.Second // what is due is dealt with this late at most
	forgetAll = time.Minute
)

// Worker runs the tasks. Make it with New, give it its Store, then Run.
type Worker struct {
	Store *postgres.Store

	log    *slog.Logger
	nudged chan struct{}
	done   *prometheus.CounterVec
	failed *prometheus.CounterVec
}

// New makes a worker; it is nudged by the store that it is given afterwards.
func New(log *slog.Logger, metrics prometheus.Registerer) *Worker {
	w := &Worker{
		log: log, nudged: make(chan struct{}, 1),
		done: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "scheduling_worker_done_total", Help: "Rows dealt with, by task."}, []string{"task"}),
		failed: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "scheduling_worker_failed_total", Help: "Rounds that failed and are tried again, by task."}, []string{"task"}),
	}
	metrics.MustRegister(w.done, w.failed)
	return w
}

// Nudge says that time may have come free. It never blocks.
func (w *Worker) Nudge() {
	select {
	case w.nudged <- struct{}{}:
	default:
	}
}

// Run works until ctx ends.
func (w *Worker) Run(ctx context.Context) error {
	tick := time.NewTicker(poll)
	defer tick.Stop()
	var forgotten time.Time
	for {
		w.round(ctx)
		if time.Since(forgotten) > forgetAll {
			forgotten = time.Now()
			w.report(ctx, "forget", 0, w.Store.Forget(ctx))
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		case <-w.nudged:
		}
	}
}

// round does all that is due now. A task that fails waits for the next round; the others go on.
func (w *Worker) round(ctx context.Context) {
	for _, task := range []struct {
		name string
		run  func(context.Context) (int, error)
	}{
		{"lapse-requests", w.Store.LapseRequests},
		{"expire-holds", w.Store.ExpireHolds},
		{"settle-departures", w.Store.SettleDepartures},
		{"look-for-waiting", w.Store.LookForWaiting},
		{"offer-freed", w.Store.OfferFreed},
	} {
		for ctx.Err() == nil {
			n, err := task.run(ctx)
			w.report(ctx, task.name, n, err)
			if err != nil || n == 0 {
				break
			}
		}
	}
}

func (w *Worker) report(ctx context.Context, task string, n int, err error) {
	w.done.WithLabelValues(task).Add(float64(n))
	w.failed.WithLabelValues(task).Add(0) // exists before the first failure, so that it is an increase
	if err != nil && ctx.Err() == nil {
		w.failed.WithLabelValues(task).Inc()
		w.log.WarnContext(ctx, "background task failed; it is tried again", "task", task, "error", err)
	}
}

package worker

import (
	"context"
	"errors"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/healthmed/healthmed/services/notifier/internal/mail"
	"github.com/healthmed/healthmed/services/notifier/internal/notice"
	"github.com/healthmed/healthmed/services/notifier/internal/postgres"
)

// attempt sends one job and says how its delivery goes on.
func (w *Worker) attempt(ctx context.Context, job postgres.Job) postgres.Result {
	ctx, span := w.cfg.Tracer.Tracer(tracerName).Start(job.Origin.Context(ctx), "send e-mail",
		trace.WithSpanKind(trace.SpanKindClient), trace.WithAttributes(
			attribute.String("healthmed.template", string(job.Notice.Template)),
			attribute.String("healthmed.delivery_id", job.Notice.DeliveryID.String()),
			attribute.Int("healthmed.attempt", job.Attempt)))
	defer span.End()
	outcome := w.send(ctx, job.Notice)
	now := w.cfg.Now()
	switch outcome.Class {
	case notice.CircuitOpen:
		w.circuit.trip(now.Add(w.cfg.Timing.Circuit))
		w.cfg.Log.ErrorContext(ctx, "the mail service takes nothing; sending is paused", "reason", outcome.Reason)
	case notice.Accepted, notice.Rejected:
		w.circuit.heal()
	}
	who := recipient(job.Notice.Template)
	w.metrics.outcomes.WithLabelValues(outcome.Class.String(), who).Inc()
	if outcome.Class == notice.Accepted {
		w.metrics.latency.WithLabelValues(who).Observe(now.Sub(job.PlannedAt).Seconds())
	} else {
		span.SetStatus(codes.Error, outcome.Reason)
		w.cfg.Log.WarnContext(ctx, "delivery not accepted", "delivery_id", job.Notice.DeliveryID, "attempt", job.Attempt,
			"class", outcome.Class.String(), "reason", outcome.Reason)
	}
	return postgres.Result{Job: job, Outcome: outcome, At: now, Next: w.cfg.Timing.After(outcome, job.Attempt, job.PlannedAt, now)}
}

// send composes and sends. A message that can't be composed fails alone, whatever is in it.
func (w *Worker) send(ctx context.Context, n notice.Notice) (outcome notice.Outcome) {
	defer func() {
		if p := recover(); p != nil {
			w.cfg.Log.ErrorContext(ctx, "message could not be composed", "delivery_id", n.DeliveryID, "panic", p)
			outcome = notice.Outcome{Class: notice.Rejected, Reason: "compose"}
		}
	}()
	envelope, err := w.cfg.Composer.Seal(n)
	switch {
	case errors.Is(err, mail.ErrAddress):
		return notice.Outcome{Class: notice.Rejected, Reason: "invalid_address"}
	case err != nil:
		w.cfg.Log.ErrorContext(ctx, "message could not be composed", "delivery_id", n.DeliveryID, "template", n.Template)
		return notice.Outcome{Class: notice.Rejected, Reason: "compose"}
	}
	return w.cfg.Service.Send(ctx, envelope)
}

// record saves results as they come, as many at once as are there: one at a time when idle, in large batches under
// load. While the database is away it holds them, and with them new claims, back; a result that can't be saved before
// the worker stops leaves its lease to run out.
func (w *Worker) record(ctx context.Context) error {
	batch := make([]postgres.Result, 0, cap(w.results))
	for first := range w.results {
		if len(batch) >= several {
			pause(ctx, gather)
		}
		batch = append(batch[:0], first)
		for more := true; more && len(batch) < cap(batch); {
			select {
			case r, ok := <-w.results:
				if more = ok; ok {
					batch = append(batch, r)
				}
			default:
				more = false
			}
		}
		w.save(ctx, batch)
	}
	return nil
}

func (w *Worker) save(ctx context.Context, batch []postgres.Result) {
	for attempt := 1; ; attempt++ {
		saving, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
		changed, failed, err := w.cfg.Store.Record(saving, batch, w.cfg.Now())
		cancel()
		if err == nil {
			if changed > 0 {
				w.cfg.Published()
			}
			w.CountFailed(failed)
			return
		}
		w.cfg.Log.WarnContext(ctx, "results could not be recorded", "count", len(batch), "error", err)
		if ctx.Err() != nil && attempt >= 2 {
			return
		}
		select {
		case <-ctx.Done():
		case <-time.After(w.cfg.Timing.Backoff(min(attempt, 4)) / 4):
		}
	}
}

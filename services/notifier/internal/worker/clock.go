package worker

import (
	"context"
	"time"
)

// quotaEvery is how often the account's rate is read again.
const quotaEvery = 5 * time.Minute

// sweep looks after leases that ran out and attempts in doubt, measures the queue, and forgets what is old.
func (w *Worker) sweep(ctx context.Context) error {
	tick := time.NewTicker(w.cfg.Sweep)
	defer tick.Stop()
	var pruned time.Time
	for {
		now := w.cfg.Now()
		swept, err := w.cfg.Store.Sweep(ctx, w.cfg.Timing, now)
		if err != nil && ctx.Err() == nil {
			w.cfg.Log.WarnContext(ctx, "deliveries could not be swept", "error", err)
		}
		w.metrics.lost.Add(float64(swept.Lost))
		w.metrics.resent.Add(float64(swept.Resent))
		w.metrics.gaveUp.Add(float64(len(swept.Failed)))
		w.CountFailed(swept.Failed)
		if swept.Resent+swept.Lost+len(swept.Failed) > 0 {
			w.cfg.Log.WarnContext(ctx, "deliveries in doubt", "leases_lost", swept.Lost, "resent", swept.Resent, "gave_up", len(swept.Failed))
		}
		if swept.Resent > 0 {
			w.Nudge()
		}
		if len(swept.Failed) > 0 {
			w.cfg.Published()
		}
		if g, err := w.cfg.Store.Gauges(ctx, w.cfg.Timing, now); err == nil {
			w.metrics.measure(g, w.circuit.open(), w.limit.share())
		}
		if w.cfg.Retention > 0 && now.Sub(pruned) > time.Hour {
			pruned = now
			if _, err := w.cfg.Store.Prune(ctx, now.Add(-w.cfg.Retention)); err != nil && ctx.Err() == nil {
				w.cfg.Log.WarnContext(ctx, "old deliveries could not be forgotten", "error", err)
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// keepRate keeps this replica's share of the account's rate: the account's rate divided by the replicas alive. One
// that comes to others waits until they have all noticed before it sends, so that the sum never exceeds the whole.
func (w *Worker) keepRate(ctx context.Context) error {
	defer func() {
		leaving, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		_ = w.cfg.Store.Leave(leaving, w.id) // otherwise its share is free once it isn't seen any more
	}()
	tick := time.NewTicker(w.cfg.Heartbeat)
	defer tick.Stop()
	var rate float64
	var read time.Time
	beats, known := 0, 0
	for {
		if now := w.cfg.Now(); rate == 0 || now.Sub(read) >= quotaEvery {
			rate, read = w.quota(ctx, rate), now
		}
		live, err := w.cfg.Store.Heartbeat(ctx, w.id, 3*w.cfg.Heartbeat)
		switch {
		case err == nil:
			if beats++; beats == 1 && live > 1 {
				known = 0 // the others go on at the old share until their next beat
			} else {
				known = max(live, 1)
			}
		case ctx.Err() != nil:
			return nil
		default: // the last known share stays, none at first: don't send beside replicas that don't know of this one
			w.cfg.Log.WarnContext(ctx, "the sending rate can't be shared", "error", err)
		}
		w.limit.set(rate, known)
		if known > 0 && beats <= 2 {
			w.Nudge()
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// quota reads the account's rate. Where it is denied or can't be had, the last known rate stays, or else the
// configured one.
func (w *Worker) quota(ctx context.Context, last float64) float64 {
	rate, err := w.cfg.Service.Quota(ctx)
	if err == nil {
		return rate
	}
	if ctx.Err() == nil {
		w.cfg.Log.WarnContext(ctx, "the account's sending rate can't be read", "error_kind", errorKind(err), "rate", max(last, w.cfg.FallbackRate))
	}
	if last > 0 {
		return last
	}
	return w.cfg.FallbackRate
}

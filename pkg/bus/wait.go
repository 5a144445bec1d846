package bus

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

const (
	firstSupervise = 200 * time.Millisecond // between attempts to get a consumer or stream back
	maxSupervise   = 5 * time.Second
	maintainEvery  = 30 * time.Second
	repeatLog      = time.Minute
)

// growing is the delay after a number of attempts: first, doubled with each up to limit, give or take a tenth so
// that replicas don't move in step.
func growing(attempt int, first, limit time.Duration) time.Duration {
	d := first
	for i := 1; i < attempt && d < limit; i++ {
		d *= 2
	}
	d = min(d, limit)
	return d - d/10 + rand.N(d/5+1)
}

// pause waits, or returns early when ctx ends.
func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

// changes logs a condition when it begins, once a minute while it lasts, and when it ends.
type changes struct {
	log  *slog.Logger
	last string
	at   time.Time
}

func newChanges(log *slog.Logger) *changes { return &changes{log: log} }

// error reports err, or with nil that all is well again.
func (c *changes) error(ctx context.Context, what string, err error) {
	if err == nil {
		if c.last != "" {
			c.log.InfoContext(ctx, "mended: "+what)
		}
		c.last = ""
		return
	}
	text := err.Error()
	if text == c.last && time.Since(c.at) <= repeatLog {
		return
	}
	level := slog.LevelError
	if c.last == "" && errors.Is(err, jetstream.ErrStreamNotFound) {
		level = slog.LevelInfo // services start in any order; it is an error only if it lasts
	}
	c.last, c.at = text, time.Now()
	c.log.Log(ctx, level, what, "error", err)
}

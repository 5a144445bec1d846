// Package stages runs the parts of a program side by side and stops them one after another: what takes requests first,
// what publishes their events last. It knows none of them.
package stages

import (
	"context"
	"time"

	"golang.org/x/sync/errgroup"
)

// Part runs until ctx ends, and returns when it has stopped.
type Part func(ctx context.Context) error

// patience is how long the next part waits for the one before it to stop. A part that takes longer doesn't hold up the rest.
const patience = 5 * time.Second

// Together makes one part of several, which stop at the same time.
func Together(parts ...Part) Part {
	return func(ctx context.Context) error {
		group, ctx := errgroup.WithContext(ctx)
		for _, p := range parts {
			group.Go(func() error { return p(ctx) })
		}
		return group.Wait()
	}
}

// Run starts all parts. When ctx ends the first is stopped; each other one when the part before it has ended, or hasn't
// within 5 s. An error of one ends all of them at once. Run returns when all have ended, with the first error.
func Run(ctx context.Context, parts ...Part) error {
	group, failed := errgroup.WithContext(context.WithoutCancel(ctx))
	stop := ctx.Done()
	for _, p := range parts {
		own, cancel := context.WithCancel(failed)
		ended, next, before := make(chan struct{}), make(chan struct{}), stop
		group.Go(func() error {
			defer cancel()
			defer close(ended)
			return p(own)
		})
		group.Go(func() error {
			defer close(next)
			select {
			case <-before:
				cancel()
			case <-ended:
				return nil
			}
			select {
			case <-ended:
			case <-time.After(patience):
			}
			return nil
		})
		stop = next
	}
	return group.Wait()
}

package web

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"golang.org/x/sync/errgroup"
)

// drainTimeout bounds the wait for requests in flight when ctx ends. Together with what else stops, a service is down
// within 10 s.
const drainTimeout = 8 * time.Second

// Run serves public on pub and /livez, /startupz, /readyz, /metrics on ops (may be nil) until ctx ends, then drains: readiness
// says no, the listener closes, requests in flight are finished, and the ops listener closes last.
func (a *App) Run(ctx context.Context, pub, ops net.Listener) error {
	if err := a.checkHandlers(); err != nil {
		return errors.Join(err, pub.Close(), closeIf(ops))
	}
	public := newListener(pub)
	// The operator's port is served until the drain is over, or until either server fails.
	group, failed := errgroup.WithContext(context.WithoutCancel(ctx))
	drained, finish := context.WithCancel(failed)
	group.Go(func() error {
		if err := a.Fiber.Listener(public); err != nil && !a.draining.Load() {
			return fmt.Errorf("web: serve %s: %w", pub.Addr(), err)
		}
		return nil
	})
	group.Go(func() error {
		defer finish()
		select {
		case <-failed.Done():
		case <-ctx.Done():
		}
		return a.drain(context.WithoutCancel(ctx), public)
	})
	if ops != nil {
		a.runOps(drained, group, ops)
	}
	return group.Wait()
}

// drain lets requests in flight finish.
func (a *App) drain(ctx context.Context, pub *listener) error {
	a.draining.Store(true)
	pub.hurry()
	ctx, cancel := context.WithTimeout(ctx, drainTimeout)
	defer cancel()
	err := a.Fiber.ShutdownWithContext(ctx)
	pub.Close() // Shutdown doesn't know a listener that has not begun to serve yet
	if errors.Is(err, context.DeadlineExceeded) {
		a.log.WarnContext(ctx, "requests were cut off at shutdown", slog.Duration("after", drainTimeout))
		return nil
	}
	if err != nil && !errors.Is(err, net.ErrClosed) {
		return fmt.Errorf("web: shut down: %w", err)
	}
	return nil
}

// runOps serves the operator's port until drained ends.
func (a *App) runOps(drained context.Context, group *errgroup.Group, ops net.Listener) {
	server := &http.Server{Handler: a.opsHandler(), ReadTimeout: readTimeout, WriteTimeout: 30 * time.Second, IdleTimeout: idleTimeout}
	group.Go(func() error {
		if err := server.Serve(ops); !errors.Is(err, http.ErrServerClosed) {
			return fmt.Errorf("web: serve operations on %s: %w", ops.Addr(), err)
		}
		return nil
	})
	group.Go(func() error {
		<-drained.Done()
		ctx, cancel := context.WithTimeout(context.WithoutCancel(drained), time.Second)
		defer cancel()
		if err := server.Shutdown(ctx); err != nil {
			return errors.Join(server.Close())
		}
		return nil
	})
}

func closeIf(ln net.Listener) error {
	if ln == nil {
		return nil
	}
	return ln.Close()
}

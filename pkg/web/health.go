package web

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

const (
	// readyTimeout bounds one readiness check, so that a probe gets an answer and not a time-out.
	readyTimeout = 2 * time.Second
	// readyFor is how long its outcome is used again: anyone may ask, and a check asks the database.
	readyFor = 250 * time.Millisecond
)

// readiness is the last outcome of the service's check.
type readiness struct {
	mu    sync.Mutex // held while checking, so that callers share one check
	check func(context.Context) error
	err   error
	at    time.Time
}

func (r *readiness) outcome(ctx context.Context) error {
	if r.check == nil {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if time.Since(r.at) < readyFor {
		return r.err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), readyTimeout)
	defer cancel()
	r.err = r.check(ctx)
	r.at = time.Now()
	return r.err
}

var errDraining = errors.New("draining: the process is shutting down")

// up says what is missing until the process has been ready for the first time, nil from then on. It is for those who
// replace what isn't up: a process that has lost its database finds it again sooner than its successor would.
func (a *App) up(ctx context.Context) error {
	if a.started.Load() {
		return nil
	}
	return a.ready(ctx)
}

// ready says what is missing, nil when requests can be served.
func (a *App) ready(ctx context.Context) error {
	if a.draining.Load() {
		return errDraining
	}
	err := a.readiness.outcome(ctx)
	if err == nil {
		a.started.Store(true)
	}
	return err
}

// healthPages are the public ones: they say whether, never what.
func (a *App) healthPages() map[string]page {
	alive := func(c *fiber.Ctx, _ *request) error {
		c.Set(fiber.HeaderCacheControl, "no-store")
		return c.JSON(fiber.Map{"status": "ok"})
	}
	return map[string]page{
		"/livez": {"/livez", alive},
		"/readyz": {"/readyz", func(c *fiber.Ctx, r *request) error {
			if err := a.ready(c.UserContext()); err != nil {
				return fmt.Errorf("%w: %w", Unavailable(retryUnavailable), err)
			}
			return alive(c, r)
		}},
	}
}

// opsHandler serves the operator's port: health with the reasons, and metrics.
func (a *App) opsHandler() http.Handler {
	answer := func(w http.ResponseWriter, err error) {
		body, status := map[string]string{"status": "ok"}, http.StatusOK
		if err != nil {
			body, status = map[string]string{"status": "unavailable", "missing": err.Error()}, http.StatusServiceUnavailable
		}
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Cache-Control", "no-store")
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(body)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) { answer(w, nil) })
	mux.HandleFunc("GET /startupz", func(w http.ResponseWriter, r *http.Request) { answer(w, a.up(r.Context())) })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) { answer(w, a.ready(r.Context())) })
	mux.Handle("GET /metrics", promhttp.HandlerFor(a.registry, promhttp.HandlerOpts{EnableOpenMetrics: true}))
	return mux
}

// Package worker is what the users service does by the clock: it makes the first administrator, rotates signing keys,
// carries erasures through, and removes what has expired.
package worker

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"

	"github.com/healthmed/healthmed/services/users/internal/account"
	"github.com/healthmed/healthmed/services/users/internal/identity"
	"github.com/healthmed/healthmed/services/users/internal/identity/local"
	"github.com/healthmed/healthmed/services/users/internal/postgres"
)

// Admin is the first administrator; without an e-mail there is none to make.
type Admin struct {
	Email    account.Email
	Password string
}

// Config of a Worker.
type Config struct {
	Log      *slog.Logger
	Now      func() time.Time
	Keys     *local.Keys // nil where Amazon Cognito issues the tokens
	Identity identity.Provider
	Store    *postgres.Store
	JS       jetstream.JetStream
	Admin    Admin
	// Reconcile heals what is half done between identity provider and database; nil where they are one.
	Reconcile func(context.Context) error
}

// Worker runs the jobs.
type Worker struct {
	Config
	erased chan struct{}
}

// New makes a Worker.
func New(cfg Config) *Worker { return &Worker{Config: cfg, erased: make(chan struct{}, 1)} }

// Erased says that an erasure is due. It never blocks.
func (w *Worker) Erased() {
	select {
	case w.erased <- struct{}{}:
	default: // one is noted already, and finds them all
	}
}

// Run works until ctx ends. A job that fails is logged and tried again at its next time.
func (w *Worker) Run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return w.bootstrap(ctx) })
	every := func(interval time.Duration, name string, wake <-chan struct{}, job func(context.Context) error) {
		group.Go(func() error { return w.every(ctx, interval, name, wake, job) })
	}
	every(5*time.Second, "erase accounts", w.erased, w.erasures)
	every(10*time.Minute, "remove what has expired", nil, w.Store.Expire)
	every(24*time.Hour, "make audit partitions", nil, w.Store.MakeAuditPartitions)
	if w.Keys != nil {
		every(time.Minute, "rotate signing keys", nil, func(ctx context.Context) error { return w.Keys.Rotate(ctx, false) })
	}
	if w.Reconcile != nil {
		every(5*time.Minute, "reconcile accounts", nil, w.Reconcile)
	}
	return group.Wait()
}

// every runs a job now, then at each interval and whenever it is woken.
func (w *Worker) every(ctx context.Context, interval time.Duration, name string, wake <-chan struct{}, job func(context.Context) error) error {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		if err := job(ctx); err != nil && ctx.Err() == nil {
			w.Log.ErrorContext(ctx, "job failed", "job", name, "error", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		case <-wake:
		}
	}
}

// bootstrap makes the first administrator, trying until the database is there. An account that has the e-mail already,
// from an earlier start or another replica, is left as it is.
func (w *Worker) bootstrap(ctx context.Context) error {
	if w.Admin.Email == "" {
		return nil
	}
	for wait := 100 * time.Millisecond; ; wait = min(2*wait, 10*time.Second) {
		u, err := w.Identity.Register(ctx, account.Registration{
			Role: account.Admin, Name: "Administrador", Email: w.Admin.Email,
		}, w.Admin.Password)
		switch {
		case err == nil:
			w.Log.InfoContext(ctx, "first administrator made", "user_id", u.ID)
			return nil
		case errors.Is(err, account.ErrAlreadyRegistered):
			return nil
		case ctx.Err() != nil:
			return nil //nolint:nilerr // stopping is no failure
		}
		w.Log.WarnContext(ctx, "first administrator not made yet", "error", err)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait):
		}
	}
}

package worker

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/healthmed/healthmed/pkg/bus"
	"github.com/healthmed/healthmed/services/users/internal/postgres"
)

// erasures carries on with what Store.Erase began: the identity provider forgets the person, their events leave outbox and
// stream, and only then UserErased is published. Each step may be repeated. A while later the stream is purged once
// more, of what a relay had in its hands when the person was erased.
func (w *Worker) erasures(ctx context.Context) error {
	due, err := w.Store.DueErasures(ctx)
	if err != nil {
		return err
	}
	var failed []error
	for _, e := range due {
		if err := w.erase(ctx, e); err != nil {
			failed = append(failed, fmt.Errorf("erasure of %s: %w", e.UserID, err))
		}
	}
	return errors.Join(failed...)
}

func (w *Worker) erase(ctx context.Context, e postgres.Erasure) error {
	if err := w.Store.ForgetEvents(ctx, e.UserID); err != nil {
		return err
	}
	if e.Announced {
		// Not the announcement itself, which subscribers may have yet to read.
		if err := w.purge(ctx, e.UserID, "registered", "updated"); err != nil {
			return err
		}
		return w.Store.FinishErasure(ctx, e.UserID)
	}
	if err := w.Identity.Forget(ctx, e.UserID); err != nil {
		return err
	}
	if err := w.purge(ctx, e.UserID, "*"); err != nil {
		return err
	}
	return w.Store.AnnounceErasure(ctx, e.UserID)
}

// purge removes a person's events from the stream USERS for good. ACCOUNT_MAIL cannot be purged: what waits there for the
// notifier ends within the hour.
func (w *Worker) purge(ctx context.Context, userID uuid.UUID, events ...string) error {
	users, err := w.JS.Stream(ctx, bus.Users)
	if err != nil {
		return err
	}
	for _, event := range events {
		subject := "healthmed.users.user." + event + ".v1." + userID.String()
		if err := users.Purge(ctx, jetstream.WithPurgeSubject(subject)); err != nil {
			return err
		}
	}
	return nil
}

package scheduling

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/healthmed/healthmed/pkg/bus"
	"github.com/healthmed/healthmed/pkg/outbox"
	pg "github.com/healthmed/healthmed/pkg/postgres"
	"github.com/healthmed/healthmed/pkg/telemetry"
	"github.com/healthmed/healthmed/services/scheduling/internal/consumer"
	"github.com/healthmed/healthmed/services/scheduling/internal/postgres"
)

// Outbox runs the sub-command outbox: status, replay or redrive.
func Outbox(ctx context.Context, cfg Config, args []string, out io.Writer) error {
	pool, err := pg.Open(ctx, cfg.Postgres)
	if err != nil {
		return err
	}
	defer pool.Close()
	return outbox.Command(ctx, args, pool, out)
}

// ErrProjection is returned for other arguments than rebuild.
var ErrProjection = errors.New("usage: projection rebuild")

// Projection runs the sub-command projection: rebuild makes the projection of people anew from the stream USERS, while
// the service runs or not.
func Projection(ctx context.Context, cfg Config, args []string, out io.Writer) error {
	if len(args) != 1 || args[0] != "rebuild" {
		return ErrProjection
	}
	pool, err := pg.Open(ctx, cfg.Postgres)
	if err != nil {
		return err
	}
	defer pool.Close()
	log := telemetry.Discard().Log
	if cfg.Telemetry != nil {
		log = cfg.Telemetry.Log
	}
	conn, err := bus.Connect(ctx, cfg.Bus, "scheduling", log, nil)
	if err != nil {
		return err
	}
	defer conn.Close()
	nothing := func() {}
	store := postgres.New(postgres.Config{Pool: pool, Now: cfg.Clock.Or(cfg.Now), Committed: nothing, Freed: nothing})
	began := time.Now()
	events, found, err := consumer.Rebuild(ctx, conn, store)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "people: %d events say of %d people; %d rows were not as they say and are now; %d people are kept that the stream no longer tells of (%s)\n",
		events, found.Told, found.Changed, found.Kept, time.Since(began).Round(time.Millisecond))
	return nil
}

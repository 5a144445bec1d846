package notifier

import (
	"context"
	"errors"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/healthmed/healthmed/pkg/bus"
	"github.com/healthmed/healthmed/pkg/outbox"
	pkgpostgres "github.com/healthmed/healthmed/pkg/postgres"
	"github.com/healthmed/healthmed/pkg/telemetry"
	"github.com/healthmed/healthmed/pkg/web"
	"github.com/healthmed/healthmed/services/notifier/internal/api"
	"github.com/healthmed/healthmed/services/notifier/internal/consumer"
	"github.com/healthmed/healthmed/services/notifier/internal/postgres"
)

// Outbox runs the sub-command outbox: status, replay or redrive.
func Outbox(ctx context.Context, cfg Config, args []string, out io.Writer) error {
	pool, err := pkgpostgres.Open(ctx, cfg.Postgres)
	if err != nil {
		return err
	}
	defer pool.Close()
	return outbox.Command(ctx, args, pool, out)
}

// Wrong arguments of the sub-commands.
var (
	ErrProjection  = errors.New("usage: projection rebuild")
	ErrDeadLetters = errors.New("usage: dead-letters list | dead-letters redrive ID ... | dead-letters redrive --all")
)

// Projection runs the sub-command projection: rebuild makes what is known of people and appointments anew from the
// streams USERS and SCHEDULING, while the service runs or not. It plans and sends no e-mail.
func Projection(ctx context.Context, cfg Config, args []string, out io.Writer) error {
	if len(args) != 1 || args[0] != "rebuild" {
		return ErrProjection
	}
	return cfg.connected(ctx, func(pool *pgxpool.Pool, conn *bus.Conn) error {
		c := consumer.New(consumer.Config{Conn: conn, Store: postgres.NewStore(pool), Policy: cfg.policy(), Now: cfg.Clock.Or(cfg.now())})
		began := time.Now()
		events, found, err := c.Rebuild(ctx)
		if err != nil {
			return err
		}
		fmt.Fprintf(out, "%d events, %s\npeople:       the streams tell of %d; %d rows were not as they say and are now; %d are kept that they no longer tell of\n"+
			"appointments: the streams tell of %d; %d rows were not as they say and are now; %d are kept that they no longer tell of\n",
			events, time.Since(began).Round(time.Millisecond), found.Contacts.Told, found.Contacts.Changed, found.Contacts.Kept,
			found.Appointments.Told, found.Appointments.Changed, found.Appointments.Kept)
		return nil
	})
}

// DeadLetters runs the sub-command dead-letters: the same as /v1/dead-letters, for whoever has a shell and no token.
func DeadLetters(ctx context.Context, cfg Config, args []string, out io.Writer) error {
	if len(args) == 0 || args[0] == "list" && len(args) > 1 || args[0] == "redrive" && len(args) < 2 {
		return ErrDeadLetters
	}
	return cfg.connected(ctx, func(pool *pgxpool.Pool, conn *bus.Conn) error {
		server := &api.Server{Store: postgres.NewStore(pool), Conn: conn, Now: cfg.Clock.Or(cfg.now()), Nudge: func() {}}
		switch args[0] {
		case "list":
			return listLetters(ctx, server, out)
		case "redrive":
			ids, err := letterIDs(ctx, server, args[1:])
			if err != nil {
				return err
			}
			return redrive(ctx, server, ids, out)
		}
		return ErrDeadLetters
	})
}

// redrive hands back each, though others are refused, and says in the end which were.
func redrive(ctx context.Context, server *api.Server, ids []uuid.UUID, out io.Writer) error {
	var faults []error
	for _, id := range ids {
		_, err := server.RedriveDeadLetter(ctx, api.RedriveDeadLetterRequestObject{Id: id})
		if problem := (web.Problem{}); errors.As(err, &problem) {
			faults = append(faults, fmt.Errorf("%s: %s", id, problem.Detail.EN))
			continue
		}
		if err != nil {
			return errors.Join(append(faults, fmt.Errorf("%s: %w", id, err))...)
		}
		fmt.Fprintln(out, id, "handed back")
	}
	return errors.Join(faults...)
}

// eachLetter goes through all dead letters, the newest first.
func eachLetter(ctx context.Context, server *api.Server, do func(api.DeadLetter)) error {
	for next := (*string)(nil); ; {
		answer, err := server.ListDeadLetters(ctx, api.ListDeadLettersRequestObject{Params: api.ListDeadLettersParams{Cursor: next}})
		if err != nil {
			return err
		}
		page, ok := answer.(api.ListDeadLetters200JSONResponse)
		if !ok {
			return fmt.Errorf("unexpected answer %T", answer)
		}
		for _, d := range page.Items {
			do(d)
		}
		if next = page.NextCursor; next == nil {
			return nil
		}
	}
}

func listLetters(ctx context.Context, server *api.Server, out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "DEAD LETTER\tFAILED\tDURABLE\tSUBJECT\tATTEMPTS\tREDRIVEN\tREASON")
	err := eachLetter(ctx, server, func(d api.DeadLetter) {
		redriven := ""
		if d.RedrivenAt != nil {
			redriven = d.RedrivenAt.UTC().Format(time.RFC3339)
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%d\t%s\t%q\n", d.Id, d.FailedAt.Format(time.RFC3339), d.Durable, d.Subject, d.Attempts, redriven, d.Reason)
	})
	return errors.Join(err, w.Flush())
}

// letterIDs reads ids, or with --all finds those that were never redriven.
func letterIDs(ctx context.Context, server *api.Server, args []string) (ids []uuid.UUID, err error) {
	if len(args) == 1 && args[0] == "--all" {
		return ids, eachLetter(ctx, server, func(d api.DeadLetter) {
			if d.RedrivenAt == nil {
				ids = append(ids, d.Id)
			}
		})
	}
	for _, arg := range args {
		id, err := uuid.Parse(arg)
		if err != nil {
			return nil, fmt.Errorf("%w: %q is not an id", ErrDeadLetters, arg)
		}
		ids = append(ids, id)
	}
	return ids, nil
}

// connected opens what a sub-command needs.
func (c Config) connected(ctx context.Context, do func(*pgxpool.Pool, *bus.Conn) error) error {
	pool, err := pkgpostgres.Open(ctx, c.Postgres)
	if err != nil {
		return err
	}
	defer pool.Close()
	log := telemetry.Discard().Log
	if c.Telemetry != nil {
		log = c.Telemetry.Log
	}
	conn, err := bus.Connect(ctx, c.Bus, "notifier", log, nil)
	if err != nil {
		return err
	}
	defer conn.Close()
	return do(pool, conn)
}

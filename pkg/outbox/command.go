package outbox

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"
)

const usage = `usage: outbox status
       outbox replay --since 2026-12-01T00:00:00Z | --since 48h
       outbox redrive [event id ...]

status   who leads, what waits, what is in trouble and why
replay   publish again what was created since then and is still retained (after a stream was lost)
redrive  try quarantined events again: those named, or all
`

// ErrUsage is returned by Command for arguments that it doesn't know; the usage has been written then.
var ErrUsage = errors.New("outbox: wrong usage")

// Command runs a service's sub-command "outbox": args is what follows that word. A running relay does the publishing,
// within its poll.
func Command(ctx context.Context, args []string, pool *pgxpool.Pool, out io.Writer) error {
	if len(args) == 0 {
		return wrongUsage(out, "no sub-command")
	}
	switch rest := args[1:]; args[0] {
	case "status":
		return statusCommand(ctx, rest, pool, out)
	case "replay":
		return replayCommand(ctx, rest, pool, out)
	case "redrive":
		return redriveCommand(ctx, rest, pool, out)
	default:
		return wrongUsage(out, "unknown sub-command")
	}
}

func wrongUsage(out io.Writer, why string) error {
	fmt.Fprint(out, usage)
	return fmt.Errorf("%w: %s", ErrUsage, why)
}

func statusCommand(ctx context.Context, args []string, pool *pgxpool.Pool, out io.Writer) error {
	if len(args) > 0 {
		return wrongUsage(out, "status takes no arguments")
	}
	s, err := Status(ctx, pool)
	if err != nil {
		return err
	}
	leader := s.Leader
	if leader == "" {
		leader = "nobody"
	}
	fmt.Fprintf(out, "leader:      %s\npending:     %d\n", leader, s.Pending)
	if s.Oldest != nil {
		fmt.Fprintf(out, "oldest:      %s\n", s.Oldest.UTC().Format(time.RFC3339))
	}
	fmt.Fprintf(out, "quarantined: %d\n", s.Quarantined)
	if len(s.Troubled) == 0 {
		return nil
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "\nEVENT\tSUBJECT\tATTEMPTS\tSTATE\tERROR")
	for _, t := range s.Troubled {
		state := "quarantined"
		if t.QuarantinedAt == nil && t.NextAttemptAt != nil {
			state = "next " + t.NextAttemptAt.UTC().Format(time.RFC3339)
		}
		fmt.Fprintf(w, "%s\t%s\t%d\t%s\t%s\n", t.ID, t.Subject, t.Attempts, state, t.LastError)
	}
	return w.Flush()
}

func replayCommand(ctx context.Context, args []string, pool *pgxpool.Pool, out io.Writer) error {
	flags := flag.NewFlagSet("replay", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	text := flags.String("since", "", "")
	if err := flags.Parse(args); err != nil || flags.NArg() > 0 {
		return wrongUsage(out, "replay takes --since alone")
	}
	since, err := parseSince(*text, time.Now())
	if err != nil {
		return wrongUsage(out, err.Error())
	}
	n, err := Replay(ctx, pool, since)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "%d events since %s will be published again\n", n, since.UTC().Format(time.RFC3339))
	return nil
}

// parseSince reads an RFC 3339 time or a duration back from now.
func parseSince(s string, now time.Time) (time.Time, error) {
	if d, err := time.ParseDuration(s); err == nil && d > 0 {
		return now.Add(-d), nil
	}
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		return time.Time{}, errors.New("--since is neither an RFC 3339 time nor a duration such as 48h")
	}
	return t, nil
}

func redriveCommand(ctx context.Context, args []string, pool *pgxpool.Pool, out io.Writer) error {
	ids := make([]uuid.UUID, 0, len(args))
	for _, arg := range args {
		id, err := uuid.Parse(arg)
		if err != nil {
			return wrongUsage(out, "not an event id")
		}
		ids = append(ids, id)
	}
	n, err := Redrive(ctx, pool, ids...)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "%d events taken out of quarantine\n", n)
	return nil
}

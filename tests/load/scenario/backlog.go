package scenario

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/healthmed/healthmed/pkg/events"
	"github.com/healthmed/healthmed/pkg/outbox"
	"github.com/healthmed/healthmed/tests/load/bench"
)

// relayBacklog is what happens when NATS comes back after an outage.
func relayBacklog() bench.Scenario {
	return bench.Scenario{
		Name: "relay-backlog", Without: []string{"users", "notifier"},
		What: "100,000 events of 20,000 aggregates wait in scheduling's outbox, and its relay publishes them in order; then the same with 10 rows among them that no stream takes; then with the services that consume the stream running. The limit is one asynchronous publisher without database and order.",
		Run: func(ctx context.Context, w *bench.World) ([]bench.Row, error) {
			var rows []bench.Row
			for _, c := range []struct {
				name      string
				poison    int
				consumers bool
			}{{"healthy", 0, false}, {"10 poison rows", 10, false}, {"consumers running", 0, true}} {
				if c.consumers {
					for _, name := range []string{"users", "notifier"} {
						if err := w.StartService(ctx, name); err != nil {
							return nil, err
						}
					}
				}
				row, err := drainRelay(ctx, w, "relay-backlog/"+c.name, c.poison)
				if err != nil {
					return nil, err
				}
				rows = append(rows, row)
			}
			return rows, nil
		},
	}
}

func drainRelay(ctx context.Context, w *bench.World, name string, poison int) (bench.Row, error) {
	size := 100_000
	if w.Config.Quick {
		size = 20_000
	}
	limit, err := w.Limits.RawPublish(ctx)
	if err != nil {
		return bench.Row{}, err
	}
	began := time.Now()
	if err := fillOutbox(ctx, w, size, poison); err != nil {
		return bench.Row{}, err
	}
	var left bool
	usage := w.Watch(ctx, func() {
		err = w.Eventually(ctx, 2*time.Minute, "the backlog is published", func(ctx context.Context) (bool, error) {
			err := w.Scheduling.QueryRow(ctx, `SELECT EXISTS (SELECT FROM outbox WHERE published_at IS NULL AND length(data) < 100000)`).Scan(&left)
			return !left, err
		})
	})
	if err != nil {
		return bench.Row{}, err
	}
	var took float64
	var disorder int
	if err := w.Scheduling.QueryRow(ctx, `SELECT extract(epoch FROM max(published_at) - min(published_at)) FROM outbox WHERE created_at >= $1 AND published_at IS NOT NULL`, began).Scan(&took); err != nil {
		return bench.Row{}, err
	}
	err = w.Scheduling.QueryRow(ctx, `SELECT count(*) FROM (SELECT published_at, lag(published_at) OVER (PARTITION BY aggregate_id ORDER BY seq) AS before
FROM outbox WHERE created_at >= $1 AND published_at IS NOT NULL) AS o WHERE published_at < before`, began).Scan(&disorder)
	if err != nil {
		return bench.Row{}, err
	}
	if _, err := w.Scheduling.Exec(ctx, `DELETE FROM outbox WHERE published_at IS NULL AND length(data) >= 100000`); err != nil {
		return bench.Row{}, err
	}
	row := bench.Row{Name: name, Load: fmt.Sprintf("%d rows waiting", size), Done: int64(size), PerSecond: float64(size) / took, Usage: usage}
	row.Note = "from the first row that was marked as published to the last"
	return row.Beside("one asynchronous publisher", limit).With("out_of_order", float64(disorder)), nil
}

// fillOutbox adds changes of availability, five of each doctor, in one transaction: they show to the relay together.
func fillOutbox(ctx context.Context, w *bench.World, size, poison int) error {
	const each = 5
	doctors := make([]uuid.UUID, size/each)
	for i := range doctors {
		doctors[i] = uuid.New()
	}
	columns := []string{"id", "subject", "aggregate_id", "aggregate_version", "headers", "data"}
	now := time.Now()
	return pgx.BeginFunc(ctx, w.Scheduling, func(tx pgx.Tx) error {
		n := -1
		_, err := tx.CopyFrom(ctx, pgx.Identifier{"outbox"}, columns, pgx.CopyFromFunc(func() ([]any, error) {
			if n++; n >= size {
				return nil, nil
			}
			version := int64(n/len(doctors)) + 1
			env, err := events.New(&events.AvailabilityChanged{DoctorID: doctors[n%len(doctors)], Version: version, OccurredAt: now}, version)
			if err != nil {
				return nil, err
			}
			row, err := outbox.NewRow(ctx, env)
			return []any{row.ID, row.Subject, row.AggregateID, row.AggregateVersion, string(row.Headers), row.Data}, err
		}))
		if err != nil {
			return err
		}
		for range poison { // larger than any stream takes
			id := uuid.New()
			_, err := tx.Exec(ctx, `INSERT INTO outbox (id, subject, aggregate_id, aggregate_version, headers, data)
VALUES ($1, 'healthmed.scheduling.availability.changed.v1.poison', $1, 1, '{}', $2)`, id, make([]byte, 2<<20))
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// notifierBacklog is what happens when the notifier comes back.
func notifierBacklog() bench.Scenario {
	return bench.Scenario{
		Name: "notifier-backlog", Without: []string{"notifier"},
		What: "10,000 bookings were made while the notifier was off; then it starts, takes them in, and sends two e-mails each, to an SES endpoint on the same processors that allows any rate.",
		Run: func(ctx context.Context, w *bench.World) ([]bench.Row, error) {
			bookings := 10_000
			if w.Config.Quick {
				bookings = 800
			}
			if _, err := bookMany(ctx, w, bookings); err != nil {
				return nil, err
			}
			began := time.Now()
			err := w.StartService(ctx, "notifier")
			if err != nil {
				return nil, err
			}
			usage := w.Watch(ctx, func() { err = w.Quiet(ctx, 4*time.Minute) })
			if err != nil {
				return nil, err
			}
			var sent, failed int64
			var took float64
			err = w.Notifier.QueryRow(ctx, `SELECT count(*) FILTER (WHERE status = 'sent'), count(*) FILTER (WHERE status NOT IN ('sent', 'pending')),
extract(epoch FROM max(sent_at) - min(sent_at)) FROM deliveries WHERE created_at >= $1`, began).Scan(&sent, &failed, &took)
			if err != nil {
				return nil, err
			}
			row := bench.Row{Name: "notifier-backlog/e-mails", Load: fmt.Sprintf("%d bookings waiting", bookings), Done: sent,
				PerSecond: float64(sent) / took, Errors: failed, Usage: usage}
			row.Note = "from the first e-mail accepted to the last"
			return []bench.Row{row.With("missing", float64(int64(2*bookings)-sent))}, nil
		},
	}
}

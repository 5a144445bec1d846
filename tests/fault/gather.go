package fault

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// overdue asks each service's database for rows that wait for nobody any more, and says which. $1 is how late they may
// be; the words before the SQL name the row.
var overdue = map[string]map[string]string{
	"users": {
		"outbox row":      `SELECT subject || ' since ' || created_at || coalesce(': ' || last_error, '') FROM outbox WHERE published_at IS NULL AND created_at < now() - $1::interval`,
		"erasure":         `SELECT user_id::text FROM erasures WHERE announced_at IS NULL AND requested_at < now() - $1::interval`,
		"unsettled purge": `SELECT user_id::text FROM erasures WHERE finished_at IS NULL AND announced_at < now() - interval '3 minutes' - $1::interval`,
	},
	"scheduling": {
		"outbox row":  `SELECT subject || ' since ' || created_at || coalesce(': ' || last_error, '') FROM outbox WHERE published_at IS NULL AND created_at < now() - $1::interval`,
		"hold":        `SELECT id::text FROM appointments WHERE status = 'held' AND expires_at < now() - $1::interval`,
		"request":     `SELECT id::text FROM appointments WHERE status = 'requested' AND expires_at < now() - $1::interval`,
		"freed time":  `SELECT doctor_id || ' at ' || starts_at FROM freed_times WHERE due_at < now() - $1::interval`,
		"departure":   `SELECT person_id::text FROM departures WHERE next_look < now() - $1::interval`,
		"place ended": `SELECT id::text FROM waitlist WHERE status = 'waiting' AND to_date < (now() - interval '1 day' - $1::interval)::date`,
	},
	"notifier": {
		"outbox row": `SELECT subject || ' since ' || created_at || coalesce(': ' || last_error, '') FROM outbox WHERE published_at IS NULL AND created_at < now() - $1::interval`,
		"delivery": `SELECT id || ' ' || template || ' is ' || status || ', attempt ' || attempts || coalesce(', ' || last_error, '') FROM deliveries
			WHERE status IN ('sending', 'unknown', 'waiting') AND created_at < now() - $1::interval
				OR status = 'pending' AND (attempts > 0 OR last_error IS NOT NULL OR due_at < now() - $1::interval)`, // with a reason: held back
	},
}

// busy lists what is still under way: rows, and messages that durables have not acknowledged.
func (r *rig) busy(ctx context.Context, late time.Duration) (list []string, err error) {
	for service, questions := range overdue {
		err := r.query(ctx, service, func(ctx context.Context, conn *pgx.Conn) error {
			for what, sql := range questions {
				rows, err := conn.Query(ctx, sql, late)
				if err != nil {
					return err
				}
				found, err := pgx.CollectRows(rows, pgx.RowTo[string])
				if err != nil {
					return fmt.Errorf("%s: %w", what, err)
				}
				for _, f := range found {
					list = append(list, service+" "+what+" "+f)
				}
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	nc, js, err := r.bus()
	if err != nil {
		return nil, err
	}
	defer nc.Close()
	positions, err := durables(ctx, js)
	if err != nil {
		return nil, err
	}
	for _, d := range positions {
		if d.Pending+d.Unacked > 0 {
			list = append(list, fmt.Sprintf("durable %s of %s: %d to come, %d in hand", d.Name, d.Stream, d.Pending, d.Unacked))
		}
	}
	return list, nil
}

// quiet waits until nothing is under way, twice in a row. What is left at the end is for the checks to find.
func (r *rig) quiet(ctx context.Context, limit time.Duration) (took time.Duration, left []string) {
	began := time.Now()
	for calm := 0; calm < 2; {
		list, err := r.busy(ctx, 0)
		if err != nil {
			list = []string{err.Error()}
		}
		calm++
		if len(list) > 0 {
			calm = 0
		}
		if time.Since(began) > limit || ctx.Err() != nil {
			return time.Since(began), list
		}
		time.Sleep(500 * time.Millisecond)
	}
	return time.Since(began), nil
}

// stuckAfter is how late a row may be in a system that has been quiet.
const stuckAfter = 5 * time.Second

// gather takes the snapshot.
func (r *rig) gather(ctx context.Context, seen map[string]int) (s Snapshot, err error) {
	s = Snapshot{
		Taken: time.Now(), Known: map[string][]Known{}, Copies: map[string][]Copy{}, Events: map[string][]Event{},
		Inbox: map[string]bool{}, Observed: seen,
	}
	if s.Stuck, err = r.busy(ctx, stuckAfter); err != nil {
		return s, err
	}
	for service, collect := range map[string]func(context.Context, *pgx.Conn, *Snapshot) error{
		"users": fromUsers, "scheduling": fromScheduling, "notifier": fromNotifier,
	} {
		err := r.query(ctx, service, func(ctx context.Context, conn *pgx.Conn) error {
			if err := collect(ctx, conn, &s); err != nil {
				return err
			}
			var given []string
			err := ask(ctx, conn, &given, `SELECT subject || coalesce(': ' || last_error, '') FROM outbox WHERE quarantined_at IS NOT NULL`, pgx.RowTo[string])
			s.Quarantined = append(s.Quarantined, given...)
			return err
		})
		if err != nil {
			return s, fmt.Errorf("%s: %w", service, err)
		}
	}
	for _, m := range r.mail.Messages() {
		s.Mails = append(s.Mails, Mail{ID: m.ID, DeliveryID: m.Tags["delivery_id"], Template: m.Tags["template"], At: m.SentAt})
	}
	return s, r.fromStreams(ctx, &s)
}

func (r *rig) fromStreams(ctx context.Context, s *Snapshot) error {
	nc, js, err := r.bus()
	if err != nil {
		return err
	}
	defer nc.Close()
	for _, name := range streams {
		if s.Events[name], _, err = read(ctx, js, name); err != nil {
			return err
		}
	}
	_, letters, err := read(ctx, js, "DEAD_LETTERS")
	if err != nil {
		return err
	}
	for _, raw := range letters {
		var l struct{ Stream, Durable, Subject, Reason string }
		if err := json.Unmarshal(raw, &l); err != nil {
			return err
		}
		s.DeadLetters = append(s.DeadLetters, fmt.Sprintf("%s of %s, %s: %s", l.Durable, l.Stream, l.Subject, l.Reason))
	}
	s.Durables, err = durables(ctx, js)
	return err
}

// ask appends a query's rows to list.
func ask[T any](ctx context.Context, conn *pgx.Conn, list *[]T, sql string, scan pgx.RowToFunc[T]) error {
	rows, err := conn.Query(ctx, sql)
	if err != nil {
		return err
	}
	*list, err = pgx.AppendRows(*list, rows, scan)
	return err
}

func fromUsers(ctx context.Context, conn *pgx.Conn, s *Snapshot) error {
	if err := ask(ctx, conn, &s.People, `SELECT id::text, role, status, coalesce(name, ''), coalesce(email, ''), version FROM users`,
		pgx.RowToStructByPos[Person]); err != nil {
		return err
	}
	var copies []Copy
	err := ask(ctx, conn, &copies, `SELECT id::text, '', stands, version, 'epoch'::timestamptz FROM appointments`, pgx.RowToStructByPos[Copy])
	s.Copies["users"] = copies
	return err
}

func fromScheduling(ctx context.Context, conn *pgx.Conn, s *Snapshot) error {
	var known []Known
	err := ask(ctx, conn, &known, `SELECT id::text, coalesce(name, ''), '', version FROM people`, pgx.RowToStructByPos[Known])
	if err != nil {
		return err
	}
	s.Known["scheduling"] = known
	if err := ask(ctx, conn, &s.Appointments, `SELECT id::text, doctor_id::text, patient_id::text, status, coalesce(reason, ''), starts_at, ends_at,
		blocked_until, version FROM appointments`, pgx.RowToStructByPos[Appointment]); err != nil {
		return err
	}
	if err := ask(ctx, conn, &s.History, `SELECT appointment_id::text, action, status, version, at FROM appointment_history`,
		pgx.RowToStructByPos[Transition]); err != nil {
		return err
	}
	return ask(ctx, conn, &s.Waits, `SELECT id::text, status, coalesce(hold_id::text, '') FROM waitlist`, pgx.RowToStructByPos[Wait])
}

func fromNotifier(ctx context.Context, conn *pgx.Conn, s *Snapshot) error {
	var known []Known
	err := ask(ctx, conn, &known, `SELECT user_id::text, name, email, version FROM contacts`, pgx.RowToStructByPos[Known])
	if err != nil {
		return err
	}
	s.Known["notifier"] = known
	var copies []Copy
	if err := ask(ctx, conn, &copies, `SELECT id::text, status, status NOT IN ('cancelled', 'declined'), version, starts_at FROM appointments`,
		pgx.RowToStructByPos[Copy]); err != nil {
		return err
	}
	s.Copies["notifier"] = copies
	if err := ask(ctx, conn, &s.Deliveries, `SELECT id::text, event_id::text, template, recipient_id::text, coalesce(appointment_id::text, ''), status,
		coalesce(last_error, ''), attempts, resends, coalesce(told_version, 0) FROM deliveries`, pgx.RowToStructByPos[Delivery]); err != nil {
		return err
	}
	var inbox []string
	if err := ask(ctx, conn, &inbox, `SELECT event_id::text FROM inbox`, pgx.RowTo[string]); err != nil {
		return err
	}
	for _, id := range inbox {
		s.Inbox[id] = true
	}
	return nil
}

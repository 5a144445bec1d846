package postgres_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/healthmed/healthmed/pkg/events"
)

// occupied is time that the database says is taken.
type occupied struct {
	ID, Doctor, Patient uuid.UUID
	Start, End, Blocked time.Time
}

// recorded is one version of an appointment, as history and as the outbox tell it.
type recorded struct {
	Version      int64
	What, Status string
}

// eventOf is what other systems are told of an action.
func eventOf(action string) string {
	switch action {
	case "confirmed":
		return "booked"
	case "lapsed":
		return "declined"
	}
	return action
}

// check holds the world against what must be true after whatever happened to it: no overlap for any doctor (buffer
// included) or patient, versions without gaps, one event per transition that says what history says, and nothing else.
func (w *world) check(t failer) {
	t.Helper()
	w.checkOverlaps(t)
	ctx := context.Background()
	history, told := map[uuid.UUID][]recorded{}, map[uuid.UUID][]recorded{}
	w.read(t, `SELECT appointment_id, h.version, action, h.status FROM appointment_history h
JOIN appointments a ON a.id = appointment_id WHERE doctor_id = ANY ($1) ORDER BY appointment_id, h.version`, history)
	rows, err := w.db.Query(ctx, `SELECT aggregate_id, aggregate_version, data FROM outbox
WHERE split_part(subject, '.', 6) = ANY ($1::uuid[]::text[]) AND subject LIKE 'healthmed.scheduling.appointment.%'
ORDER BY aggregate_id, aggregate_version, seq`, w.doctors)
	if err != nil {
		t.Fatal(err)
	}
	var id uuid.UUID
	var version int64
	var data []byte
	if _, err := pgx.ForEachRow(rows, []any{&id, &version, &data}, func() error {
		env, err := events.Decode(data)
		if err != nil {
			return err
		}
		if env.Sequence != version {
			return fmt.Errorf("event of version %d has sequence %d", version, env.Sequence)
		}
		kind := strings.Split(env.Data.Subject(), ".")[3]
		told[id] = append(told[id], recorded{env.Sequence, kind, statusOf(env.Data)})
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	for id, entries := range history {
		for i := range entries {
			entries[i].What = eventOf(entries[i].What)
			if entries[i].Version != int64(i+1) {
				t.Fatalf("%s: versions have a gap: %v", id, entries)
			}
		}
		if diff := cmp.Diff(entries, told[id]); diff != "" {
			t.Fatalf("%s: (-history +events) %s", id, diff)
		}
	}
	for id := range told {
		if history[id] == nil {
			t.Fatalf("%s: events %v without history", id, told[id])
		}
	}
	w.checkLast(t, history)
	w.checkOffers(t)
	w.checkAvailability(t)
}

func statusOf(ev events.Event) string {
	switch e := ev.(type) {
	case *events.AppointmentRequested:
		return e.Status
	case *events.AppointmentBooked:
		return e.Status
	case *events.AppointmentDeclined:
		return e.Status
	case *events.AppointmentRescheduled:
		return e.Status
	case *events.AppointmentCancelled:
		return e.Status
	case *events.AppointmentCompleted:
		return e.Status
	case *events.AppointmentNoShow:
		return e.Status
	}
	return "?"
}

func (w *world) read(t failer, sql string, into map[uuid.UUID][]recorded) {
	t.Helper()
	rows, err := w.db.Query(context.Background(), sql, w.doctors)
	if err != nil {
		t.Fatal(err)
	}
	var id uuid.UUID
	var r recorded
	if _, err := pgx.ForEachRow(rows, []any{&id, &r.Version, &r.What, &r.Status}, func() error {
		into[id] = append(into[id], r)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}

// checkOverlaps doesn't trust the constraints: it looks.
func (w *world) checkOverlaps(t failer) {
	t.Helper()
	rows, err := w.db.Query(context.Background(), `SELECT id, doctor_id, patient_id, starts_at, ends_at, blocked_until
FROM appointments WHERE doctor_id = ANY ($1) AND status IN ('held', 'requested', 'booked') ORDER BY starts_at`, w.doctors)
	if err != nil {
		t.Fatal(err)
	}
	all, err := pgx.CollectRows(rows, pgx.RowToStructByPos[occupied])
	if err != nil {
		t.Fatal(err)
	}
	for i, a := range all {
		for _, b := range all[:i] {
			if a.Doctor == b.Doctor && a.Start.Before(b.Blocked) && b.Start.Before(a.Blocked) {
				t.Fatalf("a doctor is booked twice: %v %v", a, b)
			}
			if a.Patient == b.Patient && a.Start.Before(b.End) && b.Start.Before(a.End) {
				t.Fatalf("a patient is booked twice: %v %v", a, b)
			}
		}
	}
}

// checkLast compares each appointment with the last line of its history.
func (w *world) checkLast(t failer, history map[uuid.UUID][]recorded) {
	t.Helper()
	now := map[uuid.UUID][]recorded{}
	w.read(t, `SELECT id, version, '', status FROM appointments WHERE doctor_id = ANY ($1) AND status <> 'held'`, now)
	for id, state := range now {
		if len(history[id]) == 0 {
			t.Fatalf("%s: %v without history", id, state)
		}
		last := history[id][len(history[id])-1]
		last.What = ""
		if state[0] != last {
			t.Fatalf("%s: is %v, but its history ends with %v", id, state[0], last)
		}
	}
}

// checkOffers: one event for each offer, and one offer for each place.
func (w *world) checkOffers(t failer) {
	t.Helper()
	var offered, told, live, twice int
	if err := w.db.QueryRow(context.Background(), `SELECT
    (SELECT count(*) FROM waitlist WHERE patient_id = ANY ($2) AND hold_id IS NOT NULL),
    (SELECT count(*) FROM outbox WHERE subject LIKE 'healthmed.scheduling.waitlist.offered.%'
        AND split_part(subject, '.', 6) = ANY ($1::uuid[]::text[])),
    (SELECT count(*) FROM waitlist WHERE patient_id = ANY ($2) AND status = 'offered' AND NOT EXISTS
        (SELECT FROM appointments a WHERE a.id = hold_id AND a.status = 'held' AND a.waitlist_id = waitlist.id)),
    (SELECT count(*) FROM (SELECT FROM outbox WHERE subject LIKE 'healthmed.scheduling.waitlist.offered.%'
        AND split_part(subject, '.', 6) = ANY ($1::uuid[]::text[]) GROUP BY aggregate_id HAVING count(*) > 1) AS q)`,
		w.doctors, w.patients).Scan(&offered, &told, &live, &twice); err != nil {
		t.Fatal(err)
	}
	if offered != told || live != 0 || twice != 0 {
		t.Fatalf("%d places were offered something, %d events tell of it; %d offers without a hold; %d places offered twice", offered, told, live, twice)
	}
}

// checkAvailability: each version of each doctor's availability was told once.
func (w *world) checkAvailability(t failer) {
	t.Helper()
	for _, doctor := range w.doctors {
		rows, err := w.db.Query(context.Background(), `SELECT aggregate_version FROM outbox WHERE subject = $1 ORDER BY 1`,
			"healthmed.scheduling.availability.changed.v1."+doctor.String())
		if err != nil {
			t.Fatal(err)
		}
		versions, err := pgx.CollectRows(rows, pgx.RowTo[int64])
		if err != nil {
			t.Fatal(err)
		}
		var last int64
		if err := w.db.QueryRow(context.Background(), `SELECT coalesce(max(version), 0) FROM schedules WHERE doctor_id = $1`, doctor).Scan(&last); err != nil {
			t.Fatal(err)
		}
		var want []int64
		for v := int64(1); v <= last; v++ {
			want = append(want, v)
		}
		if !slices.Equal(want, versions) {
			t.Fatalf("availability at version %d, events %v", last, versions)
		}
	}
}

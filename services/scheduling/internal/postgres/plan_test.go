package postgres

import (
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/healthmed/healthmed/pkg/outbox"
	"github.com/healthmed/healthmed/pkg/pgtest"
	pg "github.com/healthmed/healthmed/pkg/postgres"
	"github.com/healthmed/healthmed/services/scheduling/internal/booking"
)

const planDoctors = 100

// planned fills a database with appointments, nine in ten of them past; PLAN_APPOINTMENTS sets how many. Its pool has one
// connection, so that the sixth run of a statement is the first with the plan for any arguments.
func planned(t *testing.T) (db *pgxpool.Pool, cfg pg.Config) {
	t.Helper()
	appointments := 20_000
	if text := os.Getenv("PLAN_APPOINTMENTS"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil {
			t.Fatal(err)
		}
		appointments = n
	}
	cfg = pgtest.New(t, outbox.Migrations(), Migrations())
	cfg.MaxConns, cfg.StatementTimeout = 1, 0
	db, err := pg.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	for _, sql := range []string{
		`INSERT INTO people (id, role, status, name, specialties, version)
SELECT md5('d' || n)::uuid, 'doctor', 'active', 'Dra. ' || n, '{cardiology}', 1 FROM generate_series(1, $1::int) AS n WHERE $2 > 0`,
		`INSERT INTO schedules (doctor_id, version, time_zone, slot_minutes, buffer_minutes, min_notice_minutes, horizon_days,
    cancel_notice_minutes, booking_mode, observe_holidays, weekly, updated_at)
SELECT md5('d' || n)::uuid, 1, 'America/Sao_Paulo', 30, 0, 0, 90, 0, 'instant', false,
    (SELECT jsonb_agg(jsonb_build_object('weekday', d, 'start', '09:00', 'end', '17:00')) FROM generate_series(0, 6) AS d), now()
FROM generate_series(1, $1::int) AS n WHERE $2 > 0`,
		`INSERT INTO doctor_changes (doctor_id) SELECT md5('d' || n)::uuid FROM generate_series(1, $1::int) AS n WHERE $2 > 0`,
		`INSERT INTO appointments (id, doctor_id, patient_id, status, starts_at, ends_at, blocked_until, time_zone, version,
    created_at, updated_at)
SELECT gen_random_uuid(), md5('d' || n)::uuid, md5('p' || n || ' ' || k % 500)::uuid, CASE WHEN k % 10 < 9 THEN 'completed' ELSE 'booked' END,
    at, at + interval '30 minutes', at + interval '30 minutes', 'America/Sao_Paulo', 1, now(), now()
FROM generate_series(1, $1::int) AS n, generate_series(0, $2::int / $1::int - 1) AS k, LATERAL (SELECT date_trunc('day', now())
    + CASE WHEN k % 10 < 9 THEN -1 ELSE 1 END * (1 + k / 80) * interval '1 day' + interval '12 hours'
    + (k % 9) * interval '1 hour' + (k / 10 % 8) * interval '1 minute' AS at) AS t
ON CONFLICT DO NOTHING`,
	} {
		if _, err := db.Exec(t.Context(), sql, planDoctors, appointments); err != nil {
			t.Fatal(err)
		}
	}
	for _, sql := range []string{`ANALYZE`, `VACUUM appointments`} {
		if _, err := db.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	return db, cfg
}

func someone(t *testing.T, db *pgxpool.Pool) (doctor, patient uuid.UUID) {
	t.Helper()
	if err := db.QueryRow(t.Context(), `SELECT doctor_id, patient_id FROM appointments WHERE status = 'booked' LIMIT 1`).Scan(&doctor, &patient); err != nil {
		t.Fatal(err)
	}
	return doctor, patient
}

// TestStore_NeverScansAppointments runs each operation often enough for generic plans, and asks PostgreSQL's own count.
func TestStore_NeverScansAppointments(t *testing.T) {
	t.Parallel()
	db, cfg := planned(t)
	doctor, patient := someone(t, db)
	cfg.MaxConns = 1
	watch, err := pg.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer watch.Close()
	db.Close()
	scans := func() (n int) {
		for left := 1; left > 0; { // a session tells what it has counted when it ends, a moment after it was closed
			if err := watch.QueryRow(t.Context(), `SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()`).Scan(&left); err != nil {
				t.Fatal(err)
			}
		}
		if err := watch.QueryRow(t.Context(), `SELECT seq_scan FROM pg_stat_user_tables WHERE relname = 'appointments'`).Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	before := scans()
	one, err := pg.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	s := New(Config{Pool: one})
	for range 8 {
		s.operateAll(t, doctor, patient)
	}
	rows, err := one.Query(t.Context(), `SELECT statement FROM pg_prepared_statements WHERE generic_plans > 0`)
	if err != nil {
		t.Fatal(err)
	}
	generic, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	if len(generic) < 10 {
		t.Errorf("only %d statements came to generic plans", len(generic))
	}
	one.Close()
	if after := scans(); after != before {
		t.Errorf("%d sequential scans over appointments", after-before)
	}
}

// operateAll does everything that reads or writes appointments.
func (s *Store) operateAll(t *testing.T, doctor, patient uuid.UUID) {
	t.Helper()
	ctx, now := t.Context(), time.Now()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	today := booking.DateOf(now, time.UTC)
	_, free, err := s.Slots(ctx, doctor, today, today+30)
	must(err)
	_, _, err = s.Search(ctx, Query{Specialty: "cardiology", From: today, Days: 31, Limit: 20})
	must(err)
	who := uuid.New()
	by := booking.Actor{Role: booking.Patient, ID: who}
	render := func(booking.Appointment) (Answer, error) { return Answer{Status: 201, Body: []byte("{}")}, nil }
	var made booking.Appointment
	keep := func(a booking.Appointment) (Answer, error) {
		made = a
		return Answer{Status: 201, Body: []byte("{}")}, nil
	}
	_, err = s.Book(ctx, Booking{DoctorID: doctor, PatientID: who, StartsAt: free[0].StartsAt, By: by}, Request{Caller: who, Key: "k"}, keep)
	must(err)
	_, err = s.Book(ctx, Booking{DoctorID: doctor, PatientID: uuid.New(), StartsAt: free[0].StartsAt, By: by}, Request{Caller: who}, render)
	if err == nil {
		t.Fatal("booked twice")
	}
	var hold booking.Hold
	_, err = s.Hold(ctx, doctor, who, free[1].StartsAt, Request{}, func(h booking.Hold) (Answer, error) { hold = h; return Answer{}, nil })
	must(err)
	must(s.ReleaseHold(ctx, hold.ID, who))
	_, err = s.Reschedule(ctx, Transition{ID: made.ID, By: by, Decide: func(a booking.Appointment, sc *booking.Schedule, now time.Time) (booking.Change, error) {
		return a.Reschedule(sc, free[2].StartsAt, by, now)
	}}, Request{}, render)
	must(err)
	_, err = s.Change(ctx, Transition{ID: made.ID, By: by, Decide: func(a booking.Appointment, _ *booking.Schedule, now time.Time) (booking.Change, error) {
		return a.Cancel(by, "x", 0, now)
	}}, Request{}, render)
	must(err)
	for _, f := range []Filter{{DoctorID: doctor}, {PatientID: patient}, {DoctorID: doctor, PatientID: patient}, {From: now}, {DoctorID: doctor, From: now, Status: booking.Booked}} {
		f.Limit = 21
		_, err = s.Appointments(ctx, f)
		must(err)
	}
	_, err = s.Conflicts(ctx, Filter{DoctorID: doctor, Limit: 20})
	must(err)
	_, err = s.History(ctx, made.ID, by)
	must(err)
	token, err := s.NewCalendar(ctx, booking.Actor{Role: booking.Doctor, ID: doctor}, true)
	must(err)
	_, _, err = s.Calendar(ctx, token)
	must(err)
	_, err = s.Join(ctx, booking.Wait{PatientID: who, DoctorID: doctor, From: today, To: today + 3})
	must(err)
	_, err = s.Places(ctx, who, uuid.Nil, 10)
	must(err)
	for _, work := range []func() (int, error){
		func() (int, error) { return s.LookForWaiting(ctx) }, func() (int, error) { return s.OfferFreed(ctx) },
		func() (int, error) { return s.LapseRequests(ctx) }, func() (int, error) { return s.ExpireHolds(ctx) },
	} {
		_, err = work()
		must(err)
	}
	must(s.ErasePerson(ctx, Erased{ID: who, Role: booking.Patient, Version: 1, At: now}))
	_, err = s.SettleDepartures(ctx)
	must(err)
}

// TestPlans shows the plans of the hot statements (run with -v), for docs/decisions.md.
func TestPlans(t *testing.T) {
	t.Parallel()
	db, _ := planned(t)
	doctor, patient := someone(t, db)
	now := time.Now().UTC().Truncate(time.Minute)
	today := booking.DateOf(now, time.UTC)
	from, to := window(today, today+30)
	at := now.AddDate(0, 0, 2)
	var since, until []time.Time
	rows, err := db.Query(t.Context(), `SELECT doctor_id FROM schedules LIMIT 64`)
	if err != nil {
		t.Fatal(err)
	}
	doctors, err := pgx.CollectRows(rows, pgx.RowTo[uuid.UUID])
	if err != nil {
		t.Fatal(err)
	}
	for range doctors {
		start, end := window(today, today+1)
		since, until = append(since, start), append(until, end)
	}
	var group []*ask
	for i := range 4 {
		start := at.AddDate(20, 0, 0).Add(time.Duration(i) * time.Hour)
		group = append(group, &ask{row: aBooking(doctor, patient, start, "k"+strconv.Itoa(i))})
	}
	for _, p := range []struct {
		name, sql string
		args      []any
	}{
		{"what occupies a doctor in 31 days", busyBetween, []any{doctor, from, to, now}},
		{"what occupies 64 doctors in two days", occupiedSpans, []any{doctors, since, until, now}},
		{"why nothing was written", lookWhy, []any{doctor, patient, at, at.Add(30 * time.Minute), at.Add(30 * time.Minute), now, 5, now}},
		{"book four at once", insertAppointments, arguments(group)},
	} {
		rows, err := db.Query(t.Context(), `EXPLAIN (ANALYZE, BUFFERS) `+p.sql, p.args...)
		if err != nil {
			t.Fatalf("%s: %v", p.name, err)
		}
		lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			t.Fatalf("%s: %v", p.name, err)
		}
		plan := strings.Join(lines, "\n")
		if strings.Contains(plan, "Seq Scan on appointments") {
			t.Errorf("%s scans the whole table", p.name)
		}
		t.Logf("%s\n%s", p.name, plan)
	}
}

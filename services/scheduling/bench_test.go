package scheduling_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/valyala/fasthttp"

	"github.com/healthmed/healthmed/pkg/auth"
	"github.com/healthmed/healthmed/pkg/events"
	"github.com/healthmed/healthmed/pkg/outbox"
	"github.com/healthmed/healthmed/pkg/pgtest"
	pg "github.com/healthmed/healthmed/pkg/postgres"
	"github.com/healthmed/healthmed/services/scheduling"
	store "github.com/healthmed/healthmed/services/scheduling/internal/postgres"
)

// BenchmarkBooking books over HTTP, with token, Idempotency-Key and relay, and in the same run does the same inserts
// with a bare pgx loop. Load, service and database share the machine. Run with -benchtime 1x: each measurement lasts
// benchFor.
func BenchmarkBooking(b *testing.B) {
	for _, connections := range []int{32, 64} {
		b.Run(fmt.Sprint(connections, "-connections"), func(b *testing.B) {
			s := start(b, func(c *scheduling.Config) { c.Postgres.MaxConns = benchConns })
			load := newBookingLoad(s)
			for b.Loop() {
				var bare, booked measurement
				for range benchRounds { // in turns, so that a busy machine is busy for both
					bare = bare.and(measure(connections, load.bare))
					booked = booked.and(measure(connections, load.book))
				}
				b.ReportMetric(bare.perSecond(), "bare/s")
				b.ReportMetric(booked.perSecond(), "booked/s")
				b.ReportMetric(100*booked.perSecond()/bare.perSecond(), "%-of-bare")
				b.ReportMetric(booked.percentile(99).Seconds()*1000, "p99-ms")
				b.ReportMetric(float64(resident())/(1<<20), "MiB")
				if len(booked.failures)+len(bare.failures) > 0 {
					b.Fatalf("failures: %v %v", booked.failures, bare.failures)
				}
			}
		})
	}
}

const (
	benchFor     = 2 * time.Second
	benchRounds  = 3
	benchConns   = 16
	benchDoctors = 200
	benchPeople  = 2000
)

// bookingLoad books each slot of many doctors once.
type bookingLoad struct {
	s       *service
	client  *fasthttp.HostClient
	doctors []person
	people  []person
	starts  []time.Time // of the slots, the same for all doctors
	next    atomic.Int64
	db      *pgxpool.Pool
}

func newBookingLoad(s *service) *bookingLoad {
	l := &bookingLoad{s: s, client: &fasthttp.HostClient{Addr: strings.TrimPrefix(s.url, "http://"), MaxConns: 512}}
	open := allWeek("00:00", "24:00", object{"slot_minutes": 5, "horizon_days": 365})
	for range benchDoctors {
		l.doctors = append(l.doctors, s.doctor(open))
	}
	for range benchPeople {
		l.people = append(l.people, s.person(auth.Patient))
	}
	first := time.Now().UTC().Truncate(24*time.Hour).AddDate(0, 0, 2)
	for at := first; at.Before(first.AddDate(0, 0, 300)); at = at.Add(5 * time.Minute) {
		l.starts = append(l.starts, at)
	}
	// The bare loop has a database of its own, where no relay publishes what it writes.
	cfg := pgtest.New(s.t, outbox.Migrations(), store.Migrations())
	cfg.MaxConns = 64
	db, err := pg.Open(s.t.Context(), cfg)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(db.Close)
	l.db = db
	return l
}

func (l *bookingLoad) pick() (n int, doctor, patient person, at time.Time) {
	n = int(l.next.Add(1))
	return n, l.doctors[n%benchDoctors], l.people[n%benchPeople], l.starts[n/benchDoctors]
}

func (l *bookingLoad) book() error {
	n, doctor, patient, at := l.pick()
	req, res := fasthttp.AcquireRequest(), fasthttp.AcquireResponse()
	defer fasthttp.ReleaseRequest(req)
	defer fasthttp.ReleaseResponse(res)
	req.SetRequestURI(l.s.url + "/v1/appointments")
	req.Header.SetMethod("POST")
	req.Header.SetContentType("application/json")
	req.Header.Set("Authorization", patient.bearer)
	req.Header.Set("Idempotency-Key", strconv.Itoa(n))
	req.SetBodyString(`{"doctor_id":"` + doctor.id.String() + `","starts_at":"` + at.Format(time.RFC3339) + `","reason":"retorno"}`)
	if err := l.client.DoTimeout(req, res, 10*time.Second); err != nil {
		return err
	}
	if res.StatusCode() != http.StatusCreated {
		return fmt.Errorf("%d %s", res.StatusCode(), res.Body())
	}
	return nil
}

// bare writes the rows of a booking as one pipelined batch, which is one transaction: the fastest that a client of
// pgx can.
func (l *bookingLoad) bare() error {
	_, doctor, patient, at := l.pick()
	id, err := uuid.NewV7()
	if err != nil {
		return err
	}
	now, end := time.Now(), at.Add(5*time.Minute)
	env, err := events.New(&events.AppointmentBooked{Appointment: events.Appointment{
		AppointmentID: id, DoctorID: doctor.id, PatientID: patient.id, StartsAt: at, EndsAt: end,
		TimeZone: "America/Sao_Paulo", Status: "booked", Version: 1, OccurredAt: now,
		Actor: events.Actor{Role: "patient", ID: patient.id},
	}}, 1)
	if err != nil {
		return err
	}
	ctx := context.Background()
	row, err := outbox.NewRow(ctx, env)
	if err != nil {
		return err
	}
	batch := &pgx.Batch{}
	batch.Queue(`INSERT INTO appointments (id, doctor_id, patient_id, status, starts_at, ends_at, blocked_until, time_zone,
reason, version, created_at, updated_at) VALUES ($1, $2, $3, 'booked', $4, $5, $5, 'America/Sao_Paulo', 'retorno', 1, $6, $6)
ON CONFLICT DO NOTHING`, id, doctor.id, patient.id, at, end, now)
	batch.Queue(`INSERT INTO appointment_history (appointment_id, version, action, status, actor_role, actor_id, starts_at,
ends_at, at) VALUES ($1, 1, 'booked', 'booked', 'patient', $2, $3, $4, $5)`, id, patient.id, at, end, now)
	batch.Queue(`INSERT INTO idempotency_keys (caller, key, fingerprint, status, location, body, created_at)
VALUES ($1, $2, $3, 201, '', $4, $5)`, patient.id, id.String(), id[:], row.Data, now)
	batch.Queue(`INSERT INTO outbox (id, subject, aggregate_id, aggregate_version, headers, data)
VALUES ($1, $2, $3, $4, $5, $6)`, row.ID, row.Subject, row.AggregateID, row.AggregateVersion, row.Headers, row.Data)
	return l.db.SendBatch(ctx, batch).Close()
}

// measurement of a load.
type measurement struct {
	took     []time.Duration // sorted
	during   time.Duration
	failures map[string]int
}

// and joins two measurements of the same load.
func (m measurement) and(other measurement) measurement {
	failures := map[string]int{}
	maps.Copy(failures, m.failures)
	for e, n := range other.failures {
		failures[e] += n
	}
	took := slices.Concat(m.took, other.took)
	slices.Sort(took)
	return measurement{took: took, during: m.during + other.during, failures: failures}
}

func (m measurement) perSecond() float64 { return float64(len(m.took)) / m.during.Seconds() }

func (m measurement) percentile(p int) time.Duration {
	return m.took[min(len(m.took)*p/100, len(m.took)-1)]
}

// measure runs f from so many goroutines at once for benchFor.
func measure(workers int, f func() error) measurement {
	m := measurement{failures: map[string]int{}}
	var mu sync.Mutex
	var wg sync.WaitGroup
	began := time.Now()
	for range workers {
		wg.Go(func() {
			var took []time.Duration
			failures := map[string]int{}
			for time.Since(began) < benchFor {
				at := time.Now()
				if err := f(); err != nil {
					failures[err.Error()]++
				}
				took = append(took, time.Since(at))
			}
			mu.Lock()
			defer mu.Unlock()
			m.took = append(m.took, took...)
			for e, n := range failures {
				m.failures[e] += n
			}
		})
	}
	wg.Wait()
	m.during = time.Since(began)
	slices.Sort(m.took)
	return m
}

// resident is this process's memory in bytes: service, load and embedded JetStream server together.
func resident() int {
	data, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0
	}
	pages, err := strconv.Atoi(strings.Fields(string(data))[1])
	if err != nil {
		return 0
	}
	return pages * os.Getpagesize()
}

// each times n calls of f one after another.
func each(n int, f func(i int)) measurement {
	m := measurement{}
	for i := range n {
		at := time.Now()
		f(i)
		m.took = append(m.took, time.Since(at))
	}
	slices.Sort(m.took)
	return m
}

// fill puts doctors with half-booked days before now and after it into the database.
func (s *service) fill(doctors, appointments int) {
	s.t.Helper()
	ctx := s.t.Context()
	cfg := s.config.Postgres
	cfg.StatementTimeout, cfg.MaxConns = 0, 2
	db, err := pg.Open(ctx, cfg)
	if err != nil {
		s.t.Fatal(err)
	}
	defer db.Close()
	// A doctor works from 9 to 17 on every day, in slots of half an hour; every other one is booked on the next 31
	// days, the rest of the appointments lie in the past.
	for _, sql := range []string{
		`ALTER TABLE appointments SET UNLOGGED`,
		`INSERT INTO people (id, role, status, name, crm_number, crm_state, specialties, version)
SELECT md5('d' || n)::uuid, 'doctor', 'active', 'Dra. ' || n, n::text, 'SP',
    ARRAY[(ARRAY['cardiology', 'dermatology', 'pediatrics'])[n % 3 + 1]], 1 FROM generate_series(1, $1::int) AS n WHERE $2::int > 0`,
		`INSERT INTO schedules (doctor_id, version, time_zone, slot_minutes, buffer_minutes, min_notice_minutes, horizon_days,
    cancel_notice_minutes, booking_mode, observe_holidays, weekly, updated_at)
SELECT md5('d' || n)::uuid, 1, 'America/Sao_Paulo', 30, 0, 0, 90, 0, 'instant', false,
    (SELECT jsonb_agg(jsonb_build_object('weekday', d, 'start', '09:00', 'end', '17:00')) FROM generate_series(0, 6) AS d), now()
FROM generate_series(1, $1::int) AS n WHERE $2::int > 0`,
		`INSERT INTO doctor_changes (doctor_id) SELECT md5('d' || n)::uuid FROM generate_series(1, $1::int) AS n WHERE $2::int > 0`,
		`INSERT INTO appointments (id, doctor_id, patient_id, status, starts_at, ends_at, blocked_until, time_zone, version,
    created_at, updated_at)
SELECT gen_random_uuid(), md5('d' || n)::uuid, gen_random_uuid(), 'booked', at, at + interval '30 minutes',
    at + interval '30 minutes', 'America/Sao_Paulo', 1, now(), now()
FROM generate_series(1, $1::int) AS n, generate_series(0, $2::int / $1::int - 1) AS k,
    LATERAL (SELECT date_trunc('day', now()) + interval '12 hours' + (31 - k / 8) * interval '1 day'
        + (k % 8) * interval '1 hour' AS at) AS t`,
		`ALTER TABLE appointments SET LOGGED`,
	} {
		var args []any
		if strings.Contains(sql, "$1") {
			args = []any{doctors, appointments}
		}
		if _, err := db.Exec(ctx, sql, args...); err != nil {
			s.t.Fatalf("%s: %v", sql, err)
		}
	}
	if _, err := db.Exec(ctx, `ANALYZE`); err != nil {
		s.t.Fatal(err)
	}
}

// BenchmarkReading lists one doctor's slots of 31 days and searches across all, over HTTP, with few and with many past
// appointments. Run with -benchtime 1x.
func BenchmarkReading(b *testing.B) {
	for _, size := range []struct{ doctors, appointments int }{{500, 124_000}, {500, 500_000}, {10_000, 2_480_000}} {
		b.Run(fmt.Sprint(size.doctors, "-doctors-", size.appointments, "-appointments"), func(b *testing.B) {
			s := start(b)
			s.fill(size.doctors, size.appointments)
			ids := s.doctorIDs(b)
			from := time.Now().UTC().AddDate(0, 0, 1)
			for b.Loop() {
				listing := each(300, func(i int) {
					s.must(http.StatusOK, person{}, "GET", fmt.Sprintf("/v1/doctors/%s/slots?from=%s&to=%s", ids[i%len(ids)],
						from.Format(time.DateOnly), from.AddDate(0, 0, 30).Format(time.DateOnly)), nil)
				})
				cold := time.Now()
				found := s.must(http.StatusOK, person{}, "GET", "/v1/slots", nil)
				coldTook := time.Since(cold)
				var list struct{ Items []any }
				if err := json.Unmarshal(found.body, &list); err != nil || len(list.Items) != 20 {
					b.Fatalf("%d found, %v", len(list.Items), err)
				}
				queries := []string{"", "?specialty=cardiology", "?days=31&limit=100", "?specialty=pediatrics&limit=5&from=" + from.AddDate(0, 0, 9).Format(time.DateOnly)}
				search := each(200, func(i int) {
					s.must(http.StatusOK, person{}, "GET", "/v1/slots"+queries[i%len(queries)], nil)
				})
				b.ReportMetric(listing.percentile(95).Seconds()*1000, "list-p95-ms")
				b.ReportMetric(coldTook.Seconds()*1000, "search-first-ms")
				b.ReportMetric(search.percentile(50).Seconds()*1000, "search-p50-ms")
				b.ReportMetric(search.percentile(95).Seconds()*1000, "search-p95-ms")
				b.ReportMetric(float64(resident())/(1<<20), "MiB")
			}
		})
	}
}

func (s *service) doctorIDs(b *testing.B) []uuid.UUID {
	b.Helper()
	rows, err := s.db.Query(b.Context(), `SELECT doctor_id FROM schedules LIMIT 300`)
	if err != nil {
		b.Fatal(err)
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[uuid.UUID])
	if err != nil {
		b.Fatal(err)
	}
	return ids
}

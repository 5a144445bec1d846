package scheduling_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/healthmed/healthmed/pkg/auth"
	"github.com/healthmed/healthmed/pkg/auth/authtest"
	"github.com/healthmed/healthmed/pkg/bus"
	"github.com/healthmed/healthmed/pkg/events"
	"github.com/healthmed/healthmed/pkg/natstest"
	"github.com/healthmed/healthmed/pkg/pgtest"
	pg "github.com/healthmed/healthmed/pkg/postgres"
	"github.com/healthmed/healthmed/services/scheduling"
)

// service is a running scheduling service with its own database and JetStream server.
type service struct {
	t       testing.TB
	url     string
	issuer  *authtest.Issuer
	config  scheduling.Config
	db      *pgxpool.Pool
	clock   *clock
	users   *bus.Conn
	version map[uuid.UUID]int64
}

// clock is a time that tests move.
type clock struct {
	mu     sync.Mutex
	offset time.Duration
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Now().Add(c.offset)
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.offset += d
}

// start runs the service until the test ends, and sees it stop cleanly.
func start(t testing.TB, change ...func(*scheduling.Config)) *service {
	t.Helper()
	ctx := t.Context()
	issuer := authtest.New(t)
	s := &service{t: t, issuer: issuer, clock: &clock{}, version: map[uuid.UUID]int64{}}
	s.config = scheduling.Config{
		Postgres: pgtest.New(t), Bus: natstest.New(t), Auth: issuer.Config(),
		HTTPListener: listen(t), OpsListener: listen(t), Now: s.clock.now,
	}
	s.config.Logs.LogLevel = slog.LevelError
	for _, f := range change {
		f(&s.config)
	}
	if err := scheduling.Migrate(ctx, s.config); err != nil {
		t.Fatalf("migrate: %v", err)
	}
	db, err := pg.Open(ctx, s.config.Postgres)
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	t.Cleanup(db.Close)
	s.db = db
	s.url = "http://" + s.config.HTTPListener.Addr().String()
	s.users, err = bus.Connect(ctx, s.config.Bus, "test-users", slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.users.Close)
	eventually(t, "streams", func() bool { return s.users.EnsureStreams(ctx, bus.Users, bus.DeadLetters) == nil })
	s.run(s.config)
	return s
}

// run starts one more replica, or the first.
func (s *service) run(cfg scheduling.Config) (stop func()) {
	s.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- scheduling.Run(ctx, cfg) }()
	stop = sync.OnceFunc(func() {
		cancel()
		select {
		case err := <-done:
			if err != nil {
				s.t.Errorf("service ended with %v", err)
			}
		case <-time.After(15 * time.Second):
			s.t.Error("service did not stop")
		}
	})
	s.t.Cleanup(stop)
	ops := "http://" + cfg.OpsListener.Addr().String()
	eventually(s.t, "ready", func() bool {
		res, err := http.Get(ops + "/readyz")
		if err != nil {
			return false
		}
		res.Body.Close()
		return res.StatusCode == http.StatusOK
	})
	return stop
}

func listen(t testing.TB) net.Listener {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// eventually waits for something that another goroutine or process does.
func eventually(t testing.TB, what string, f func() bool) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for !f() {
		if time.Now().After(deadline) {
			t.Fatalf("never: %s", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// person is a caller.
type person struct {
	id     uuid.UUID
	role   auth.Role
	bearer string
}

func (s *service) person(role auth.Role) person {
	s.t.Helper()
	id := newID(s.t)
	return person{id: id, role: role, bearer: s.issuer.Bearer(auth.Principal{ID: id, Role: role, ExpiresAt: time.Now().AddDate(0, 0, 30)})}
}

func newID(t testing.TB) uuid.UUID {
	t.Helper()
	id, err := uuid.NewV7()
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// reply is what a caller sees.
type reply struct {
	status int
	header http.Header
	body   []byte
}

func (r reply) field(t testing.TB, name string) string {
	t.Helper()
	var m map[string]any
	if err := json.Unmarshal(r.body, &m); err != nil {
		t.Fatalf("not JSON: %s", r.body)
	}
	return fmt.Sprint(m[name])
}

// problem is the name of the problem, or "" for none.
func (r reply) problem() string {
	var p struct{ Type string }
	if r.status < 400 || json.Unmarshal(r.body, &p) != nil {
		return ""
	}
	return p.Type
}

var client = &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 256}}

// do makes a request; headers come in pairs.
func (s *service) do(p person, method, path string, body any, headers ...string) reply {
	s.t.Helper()
	r, err := s.try(p, method, path, body, headers...)
	if err != nil {
		s.t.Fatal(err)
	}
	return r
}

func (s *service) try(p person, method, path string, body any, headers ...string) (reply, error) {
	var content io.Reader
	switch b := body.(type) {
	case nil:
	case string:
		content = bytes.NewReader([]byte(b))
	default:
		data, err := json.Marshal(b)
		if err != nil {
			return reply{}, err
		}
		content = bytes.NewReader(data)
	}
	req, err := http.NewRequest(method, s.url+path, content)
	if err != nil {
		return reply{}, err
	}
	if content != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if p.bearer != "" {
		req.Header.Set("Authorization", p.bearer)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	res, err := client.Do(req)
	if err != nil {
		return reply{}, err
	}
	defer res.Body.Close()
	data, err := io.ReadAll(res.Body)
	return reply{res.StatusCode, res.Header, data}, err
}

// must makes a request that has to answer with the status.
func (s *service) must(status int, p person, method, path string, body any, headers ...string) reply {
	s.t.Helper()
	r := s.do(p, method, path, body, headers...)
	if r.status != status {
		s.t.Fatalf("%s %s: %d, want %d: %s", method, path, r.status, status, r.body)
	}
	return r
}

type object = map[string]any

// allWeek is an availability of every day from start to end.
func allWeek(start, end string, extra ...object) object {
	var weekly []object
	for _, d := range []string{"monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"} {
		weekly = append(weekly, object{"weekday": d, "start": start, "end": end})
	}
	a := object{"time_zone": "America/Sao_Paulo", "slot_minutes": 30, "weekly": weekly}
	for _, e := range extra {
		for k, v := range e {
			a[k] = v
		}
	}
	return a
}

// doctor makes a doctor with the availability.
func (s *service) doctor(availability object) person {
	s.t.Helper()
	d := s.person(auth.Doctor)
	s.must(http.StatusOK, d, "PUT", "/v1/doctors/"+d.id.String()+"/availability", availability)
	return d
}

type slot struct {
	StartsAt time.Time `json:"starts_at"`
	EndsAt   time.Time `json:"ends_at"`
}

// slots are the free ones of so many days from tomorrow.
func (s *service) slots(doctor uuid.UUID, days int) []slot {
	s.t.Helper()
	from := s.clock.now().UTC().AddDate(0, 0, 1)
	r := s.must(http.StatusOK, person{}, "GET", fmt.Sprintf("/v1/doctors/%s/slots?from=%s&to=%s", doctor,
		from.Format(time.DateOnly), from.AddDate(0, 0, days-1).Format(time.DateOnly)), nil)
	var list struct{ Slots []slot }
	if err := json.Unmarshal(r.body, &list); err != nil {
		s.t.Fatal(err)
	}
	return list.Slots
}

func booking(doctor person, at time.Time) object {
	return object{"doctor_id": doctor.id, "starts_at": at}
}

// publish makes an event of the users service.
func (s *service) publish(ev events.Event) {
	s.t.Helper()
	ctx := s.t.Context()
	s.version[ev.AggregateID()]++
	env, err := events.New(ev, s.version[ev.AggregateID()])
	if err != nil {
		s.t.Fatal(err)
	}
	body, err := env.Encode()
	if err != nil {
		s.t.Fatal(err)
	}
	if _, err := s.users.JS.Publish(ctx, ev.Subject(), body); err != nil {
		s.t.Fatal(err)
	}
}

func (s *service) count(sql string, args ...any) (n int) {
	s.t.Helper()
	if err := s.db.QueryRow(s.t.Context(), sql, args...).Scan(&n); err != nil {
		s.t.Fatal(err)
	}
	return n
}

package notifier_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-message/mail"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace/noop"

	"github.com/healthmed/healthmed/pkg/auth"
	"github.com/healthmed/healthmed/pkg/auth/authtest"
	"github.com/healthmed/healthmed/pkg/auth/keystore"
	"github.com/healthmed/healthmed/pkg/bus"
	"github.com/healthmed/healthmed/pkg/events"
	"github.com/healthmed/healthmed/pkg/natstest"
	"github.com/healthmed/healthmed/pkg/outbox"
	"github.com/healthmed/healthmed/pkg/pgtest"
	pkgpostgres "github.com/healthmed/healthmed/pkg/postgres"
	"github.com/healthmed/healthmed/pkg/sestest"
	"github.com/healthmed/healthmed/pkg/telemetry"
	notifier "github.com/healthmed/healthmed/services/notifier"
	"github.com/healthmed/healthmed/services/notifier/internal/postgres"
)

// house is a running notifier with everything around it.
type house struct {
	t      testing.TB
	cfg    notifier.Config
	conn   *bus.Conn
	pool   *pgxpool.Pool
	ses    *sestest.Endpoint
	issuer *authtest.Issuer
	url    string
	ops    string  // of the last replica started: its metrics
	logs   journal // of every replica
}

// newHouse starts PostgreSQL's database, NATS and the SES endpoint, and makes the streams; start starts a replica.
func newHouse(t testing.TB) *house {
	t.Helper()
	h := &house{t: t, ses: sestest.New(t), issuer: authtest.New(t)}
	h.cfg = notifier.Config{
		Postgres: pgtest.New(t, outbox.Migrations(), keystore.Migrations(), postgres.Migrations()),
		Bus:      natstest.New(t),
		Auth:     h.issuer.Config(),
		MailFrom: "Health&Med <agenda@healthmed.example>", AppURL: "https://app.healthmed.example",
		SESEndpoint: h.ses.URL, AWSRegion: "sa-east-1", AWSAccessKeyID: "local", AWSSecretAccessKey: "local",
		ReminderLead: 24 * time.Hour, AgendaHour: 18,
	}
	t.Cleanup(h.checkLogs)
	conn, err := bus.Connect(t.Context(), h.cfg.Bus, "test", slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	h.conn = conn
	if h.pool, err = pkgpostgres.Open(t.Context(), h.cfg.Postgres); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.pool.Close)
	if err := conn.EnsureStreams(t.Context(), bus.Users, bus.Scheduling, bus.AccountMail, bus.Notifications, bus.DeadLetters); err != nil {
		t.Fatal(err)
	}
	return h
}

// start runs a replica until the test ends or stop is called, which waits for a clean end.
func (h *house) start() (stop func()) {
	h.t.Helper()
	cfg := h.cfg
	var err error
	if cfg.HTTPListener, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		h.t.Fatal(err)
	}
	if cfg.OpsListener, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		h.t.Fatal(err)
	}
	h.url, h.ops = "http://"+cfg.HTTPListener.Addr().String(), "http://"+cfg.OpsListener.Addr().String()
	cfg.Telemetry = &telemetry.Telemetry{
		Log: slog.New(slog.NewTextHandler(&h.logs, &slog.HandlerOptions{Level: slog.LevelDebug})), Metrics: prometheus.NewRegistry(), Tracer: noop.NewTracerProvider(),
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- notifier.Run(ctx, cfg) }()
	var ended bool
	stop = func() {
		if ended {
			return
		}
		ended = true
		cancel()
		select {
		case err := <-done:
			if err != nil {
				h.t.Errorf("the service ended with: %v", err)
			}
		case <-time.After(15 * time.Second):
			h.t.Error("the service did not stop within 15 s")
		}
	}
	h.t.Cleanup(stop)
	return stop
}

// metrics are those of the replica that was started last.
func (h *house) metrics() string {
	h.t.Helper()
	req, err := http.NewRequestWithContext(h.t.Context(), http.MethodGet, h.ops+"/metrics", nil)
	if err != nil {
		h.t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		h.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		h.t.Fatal(err)
	}
	return string(body)
}

// journal keeps what replicas log, from the level of debugging on.
type journal struct {
	mu   sync.Mutex
	text strings.Builder
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.Write(p)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.String()
}

// checkLogs looks for people in everything that was logged: logs carry ids, never an address or a name.
func (h *house) checkLogs() {
	for line := range strings.Lines(h.logs.String()) {
		for _, personal := range []string{"@example.com", "Helena", "Maria", "Doctor A", "Patient A"} {
			if strings.Contains(line, personal) {
				h.t.Errorf("%q is in the logs: %s", personal, line)
			}
		}
		if h.t.Failed() && (strings.Contains(line, "level=WARN") || strings.Contains(line, "level=ERROR")) {
			h.t.Log(strings.TrimSpace(line))
		}
	}
}

type testWriter struct{ t testing.TB }

func (w testWriter) Write(p []byte) (int, error) {
	w.t.Log(strings.TrimSpace(string(p)))
	return len(p), nil
}

// publish puts an event into its stream, as its service's outbox would.
func (h *house) publish(ev events.Event, version int64) events.Envelope {
	h.t.Helper()
	env, err := events.New(ev, version)
	if err != nil {
		h.t.Fatal(err)
	}
	h.publishEnvelope(env)
	return env
}

func (h *house) publishEnvelope(env events.Envelope, opts ...jetstream.PublishOpt) {
	h.t.Helper()
	body, err := env.Encode()
	if err != nil {
		h.t.Fatal(err)
	}
	if _, err := h.conn.JS.Publish(h.t.Context(), env.Data.Subject(), body, opts...); err != nil {
		h.t.Fatal(err)
	}
}

// person registers somebody.
func (h *house) person(role, name, email string) uuid.UUID {
	h.t.Helper()
	id := uuid.New()
	ev := &events.UserRegistered{
		UserID: id, Role: role, Status: "active", Name: name, Email: email, Locale: "pt-BR", OccurredAt: time.Now(),
	}
	if role == "doctor" {
		ev.Doctor = &events.DoctorProfile{CRM: events.CRM{Number: "123456", State: "SP"}, Specialties: []string{"cardiology"}}
	}
	h.publish(ev, 1)
	return id
}

// appointment is a booking tomorrow at 10:00 in São Paulo.
func appointment(doctor, patient uuid.UUID) events.Appointment {
	zone, err := time.LoadLocation("America/Sao_Paulo")
	if err != nil {
		panic(err)
	}
	now := time.Now()
	day := now.In(zone).AddDate(0, 0, 10)
	start := time.Date(day.Year(), day.Month(), day.Day(), 10, 0, 0, 0, zone)
	return events.Appointment{
		AppointmentID: uuid.New(), DoctorID: doctor, PatientID: patient, StartsAt: start, EndsAt: start.Add(30 * time.Minute),
		TimeZone: "America/Sao_Paulo", Status: "booked", Version: 1, Actor: events.Actor{Role: "patient", ID: patient}, OccurredAt: now,
	}
}

// eventually waits for a condition of the world outside.
func eventually(t testing.TB, what string, within time.Duration, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(within)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("not within %s: %s", within, what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// mailTo waits for the nth e-mail to an address, oldest first, and reads it with an independent parser.
func (h *house) mailTo(address string, nth int) email {
	h.t.Helper()
	var id string
	eventually(h.t, "an e-mail to "+address, 10*time.Second, func() bool {
		n := 0
		for _, m := range slices.Backward(h.ses.Messages()) {
			if slices.Contains(m.To, address) {
				if n++; n == nth {
					id = m.ID
					return true
				}
			}
		}
		return false
	})
	raw, ok := h.ses.Raw(id)
	if !ok {
		h.t.Fatal("the e-mail has no source")
	}
	return parse(h.t, raw)
}

// contains looks for a text, whatever the line ends.
func contains(s, want string) bool {
	return strings.Contains(strings.ReplaceAll(s, "\r\n", "\n"), want)
}

// number is the answer to a query that counts.
func (h *house) number(sql string, args ...any) (n int) {
	h.t.Helper()
	if err := h.pool.QueryRow(h.t.Context(), sql, args...).Scan(&n); err != nil {
		h.t.Fatal(err)
	}
	return n
}

// texts are the answers to a query for one column of text.
func (h *house) texts(sql string, args ...any) []string {
	h.t.Helper()
	rows, err := h.pool.Query(h.t.Context(), sql, args...)
	if err != nil {
		h.t.Fatal(err)
	}
	out, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		h.t.Fatal(err)
	}
	return out
}

// unlimited lifts the rate: the account denies telling its own, and the configured one is high.
func (h *house) unlimited() {
	h.ses.SetAccountFault(func(*http.Request) sestest.Fault { return sestest.Fault{Status: 403, Code: "AccessDeniedException"} })
	h.cfg.SendRate = 1e5
}

// full says whether the sizes of the acceptance numbers are asked for, rather than those that take seconds.
func full() bool { return os.Getenv("NOTIFIER_FULL") != "" }

// size is how much to do.
func size(quick, whole int) int {
	if full() {
		return whole
	}
	return quick
}

// count is how many e-mails an address got.
func (h *house) count(address string) int {
	n := 0
	for _, m := range h.ses.Messages() {
		if slices.Contains(m.To, address) {
			n++
		}
	}
	return n
}

type email struct {
	Subject              string
	Text, HTML, Calendar string
	Method               string
}

func parse(t testing.TB, raw []byte) email {
	t.Helper()
	r, err := mail.CreateReader(strings.NewReader(string(raw)))
	if err != nil {
		t.Fatal(err)
	}
	var e email
	if e.Subject, err = r.Header.Subject(); err != nil {
		t.Fatal(err)
	}
	for {
		part, err := r.NextPart()
		if errors.Is(err, io.EOF) {
			return e
		}
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(part.Body)
		if err != nil {
			t.Fatal(err)
		}
		inline, ok := part.Header.(*mail.InlineHeader)
		if !ok {
			continue
		}
		kind, params, err := inline.ContentType()
		if err != nil {
			t.Fatal(err)
		}
		switch kind {
		case "text/plain":
			e.Text = string(body)
		case "text/html":
			e.HTML = string(body)
		case "text/calendar":
			e.Calendar, e.Method = string(body), params["method"]
		}
	}
}

// call makes an API call as an administrator, or as nobody.
func (h *house) call(method, path, token, body string) (int, string) {
	h.t.Helper()
	req, err := http.NewRequestWithContext(h.t.Context(), method, h.url+path, strings.NewReader(body))
	if err != nil {
		h.t.Fatal(err)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		h.t.Fatal(err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		h.t.Fatal(err)
	}
	return resp.StatusCode, string(answer)
}

func (h *house) admin() string { return h.issuer.Token(auth.Principal{Role: auth.Admin}) }

// withFeedback configures a feedback queue.
func (h *house) withFeedback(settle time.Duration) *sestest.Queue {
	q := sestest.NewQueue(h.t)
	h.cfg.SESConfigurationSet, h.cfg.SQSEndpoint, h.cfg.FeedbackQueueURL = "notifier", q.URL, q.QueueURL
	h.cfg.SettleAfter = settle
	return q
}

// sendRequest is the part of a SendEmail call that tests look at.
type sendRequest struct {
	Destination struct{ ToAddresses []string }
	EmailTags   []struct{ Name, Value string }
}

func read(r *http.Request) (s sendRequest) {
	_ = json.NewDecoder(r.Body).Decode(&s) // a request that isn't JSON has no recipients
	return s
}

func tagOf(r *http.Request) string {
	for _, tag := range read(r).EmailTags {
		if tag.Name == sestest.DeliveryTag {
			return tag.Value
		}
	}
	return ""
}

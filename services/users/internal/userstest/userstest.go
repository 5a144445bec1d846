// Package userstest runs the whole service for tests: real PostgreSQL, real JetStream, real HTTP.
package userstest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/healthmed/healthmed/pkg/auth"
	"github.com/healthmed/healthmed/pkg/config"
	"github.com/healthmed/healthmed/pkg/natstest"
	"github.com/healthmed/healthmed/pkg/pgtest"
	"github.com/healthmed/healthmed/pkg/telemetry"
	"github.com/healthmed/healthmed/services/users"
	"github.com/healthmed/healthmed/services/users/internal/postgres"
)

// Admin that every running service has.
const (
	AdminEmail    = "admin@healthmed.example"
	AdminPassword = "Rac1onal#admin"
	// Password of the people that tests register.
	Password = "Correta-1x"
)

// Service is a running users service.
type Service struct {
	URL    string
	Config users.Config
	Logs   *Logs
	t      testing.TB
	stop   context.CancelFunc
	ended  chan error
}

// Logs collects what the service logs.
type Logs struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

// Write implements io.Writer.
func (l *Logs) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

// String is all that was logged.
func (l *Logs) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// NewConfig is a configuration on a fresh database and a fresh JetStream server, before it runs.
func NewConfig(t testing.TB) users.Config {
	t.Helper()
	key := func(fill string) string { return strings.Repeat(fill, 43) + "=" } // 32 bytes in base64
	return users.Config{
		Postgres: pgtest.New(t, postgres.Migrations()...), Bus: natstest.New(t),
		Auth:    auth.Config{Issuer: "https://users.test", ClientID: "healthmed-test"},
		KeysCPF: config.Secret("c1:" + key("A")), KeyCPFIndex: config.Secret(key("E")), KeysToken: config.Secret("t1:" + key("I")),
		AccessTokenTTL: 15 * time.Minute, RefreshTokenTTL: time.Hour, SigningKeyAge: 24 * time.Hour,
		Identity: "local", AttemptsPerAccount: 10, AttemptsPerAddress: 100, DoctorApproval: "auto", AdminEmail: AdminEmail, AdminPassword: AdminPassword,
	}
}

// Start runs the service, with the configuration changed at will, and waits until it is ready.
func Start(t testing.TB, change ...func(*users.Config)) *Service {
	t.Helper()
	cfg := NewConfig(t)
	for _, f := range change {
		f(&cfg)
	}
	return Run(t, cfg)
}

// Run runs the service with a configuration, and stops it when the test ends.
func Run(t testing.TB, cfg users.Config) *Service {
	t.Helper()
	s := &Service{t: t, Logs: &Logs{}, ended: make(chan error, 1)}
	s.Config = cfg
	cfg.HTTPListener, cfg.OpsListener = listen(t), listen(t)
	s.URL = "http://" + cfg.HTTPListener.Addr().String()
	if cfg.Auth.JWKSURL == "" {
		cfg.Auth.JWKSURL = s.URL + "/.well-known/jwks.json"
	}
	tel, err := telemetry.New(t.Context(), "users", telemetry.Config{})
	if err != nil {
		t.Fatal(err)
	}
	tel.Log = slog.New(slog.NewJSONHandler(s.Logs, &slog.HandlerOptions{Level: slog.LevelDebug}))
	cfg.Telemetry = tel
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	s.stop = stop
	go func() { s.ended <- users.Run(ctx, cfg) }()
	t.Cleanup(s.Stop)
	ops := "http://" + cfg.OpsListener.Addr().String()
	Eventually(t, "the service is ready", func() bool {
		select {
		case err := <-s.ended:
			s.ended <- err
			t.Fatalf("the service ended: %v\n%s", err, s.Logs)
		default:
		}
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, ops+"/readyz", nil)
		if err != nil {
			t.Fatal(err)
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			return false
		}
		res.Body.Close()
		return res.StatusCode == http.StatusOK
	})
	return s
}

// Stop ends the service and waits until it is down.
func (s *Service) Stop() {
	s.stop()
	select {
	case err := <-s.ended:
		s.ended <- nil
		if err != nil {
			s.t.Errorf("the service ended with: %v", err)
		}
	case <-time.After(20 * time.Second):
		s.t.Error("the service did not end in 20 s")
	}
}

func listen(t testing.TB) net.Listener {
	t.Helper()
	ln, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return ln
}

// Eventually waits for a condition, at most 15 s.
func Eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(15 * time.Second)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("not in time: %s", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// Response is an answer, its body read.
type Response struct {
	Status int
	Header http.Header
	Body   []byte
	t      testing.TB
}

// Do sends a request. body may be nil, a string (sent as it is) or anything that marshals to JSON; headers are pairs.
func (s *Service) Do(method, path, token string, body any, headers ...string) Response {
	s.t.Helper()
	var reader io.Reader
	switch b := body.(type) {
	case nil:
	case string:
		reader = strings.NewReader(b)
	default:
		data, err := json.Marshal(b)
		if err != nil {
			s.t.Fatal(err)
		}
		reader = bytes.NewReader(data)
	}
	req, err := http.NewRequestWithContext(s.t.Context(), method, s.URL+path, reader)
	if err != nil {
		s.t.Fatal(err)
	}
	if reader != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer res.Body.Close()
	data, err := io.ReadAll(res.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return Response{Status: res.StatusCode, Header: res.Header, Body: data, t: s.t}
}

// Want fails the test unless the answer has the status.
func (r Response) Want(status int) Response {
	r.t.Helper()
	if r.Status != status {
		r.t.Fatalf("got %d, want %d: %s", r.Status, status, r.Body)
	}
	return r
}

// Problem fails the test unless the answer is this problem.
func (r Response) Problem(status int, name string) Response {
	r.t.Helper()
	r.Want(status)
	if got := r.Text("type"); got != "/problems/"+name {
		r.t.Fatalf("got problem %q, want %q: %s", got, name, r.Body)
	}
	if got := r.Header.Get("Content-Type"); !strings.HasPrefix(got, "application/problem+json") {
		r.t.Fatalf("got content type %q of a problem", got)
	}
	return r
}

// JSON is the body.
func (r Response) JSON() map[string]any {
	r.t.Helper()
	var m map[string]any
	if err := json.Unmarshal(r.Body, &m); err != nil {
		r.t.Fatalf("not JSON: %v: %s", err, r.Body)
	}
	return m
}

// Text is a value of the body by its names, as text; empty when missing.
func (r Response) Text(path ...string) string {
	r.t.Helper()
	var v any = r.JSON()
	for _, name := range path {
		m, ok := v.(map[string]any)
		if !ok || m[name] == nil {
			return ""
		}
		v = m[name]
	}
	return fmt.Sprint(v)
}

// Faults are the pointers and parameters of a validation problem.
func (r Response) Faults() []string {
	r.t.Helper()
	var body struct {
		Errors []struct{ Pointer, Parameter string } `json:"errors"`
	}
	if err := json.Unmarshal(r.Body, &body); err != nil {
		r.t.Fatal(err)
	}
	var all []string
	for _, e := range body.Errors {
		all = append(all, e.Pointer+e.Parameter)
	}
	return all
}

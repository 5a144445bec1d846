package web_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gofiber/fiber/v2"
	"go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/healthmed/healthmed/pkg/telemetry"
)

func TestHealth_AndMetrics(t *testing.T) {
	cfg := clinicConfig
	tel, err := telemetry.New(t.Context(), "clinic", telemetry.Config{LogOutput: io.Discard})
	if err != nil {
		t.Fatal(err)
	}
	cfg.Telemetry = tel
	var mu sync.Mutex
	var missing error
	checks := 0
	cfg.Ready = func(context.Context) error { mu.Lock(); defer mu.Unlock(); checks++; return missing }
	s := start(t, cfg, nil)

	check := func(url string, status int, part string) {
		t.Helper()
		deadline := time.Now().Add(5 * time.Second)
		for {
			got := send(t, "GET", url, "")
			if got.Status == status && strings.Contains(got.Body, part) {
				return
			}
			if time.Now().After(deadline) {
				t.Fatalf("%s: %d %s, want %d with %q", url, got.Status, got.Body, status, part)
			}
		}
	}
	check(s.url+"/livez", 200, "ok")
	check(s.url+"/readyz", 200, "ok")
	check(s.ops+"/livez", 200, "ok")
	check(s.ops+"/readyz", 200, "ok")
	mu.Lock()
	missing = errors.New("database down at 10.1.2.3")
	mu.Unlock()
	check(s.ops+"/readyz", 503, "database down")
	check(s.ops+"/livez", 200, "ok")
	check(s.ops+"/startupz", 200, "ok") // was ready once, though nobody has asked here before
	check(s.url+"/readyz", 503, "/problems/unavailable")
	if got := send(t, "GET", s.url+"/readyz", ""); strings.Contains(got.Body, "10.1.2.3") {
		t.Errorf("the public answer tells the inside: %s", got.Body)
	}
	if got := send(t, "GET", s.url+"/metrics", ""); got.Status != 404 {
		t.Errorf("metrics are public: %d", got.Status)
	}

	before := time.Now()
	mu.Lock()
	checks = 0
	mu.Unlock()
	for range 200 {
		send(t, "GET", s.url+"/readyz", "")
	}
	mu.Lock()
	if most := int(time.Since(before)/(250*time.Millisecond)) + 1; checks > most {
		t.Errorf("200 questions made %d checks, want at most %d", checks, most)
	}
	mu.Unlock()

	for i := range 20 {
		send(t, "GET", fmt.Sprintf("%s/v1/patients/0193e1d2-7c1a-7b3e-9f10-1234567890%02d", s.url, i), "")
		send(t, "GET", fmt.Sprintf("%s/nothing/%d", s.url, i), "")
		raw(t, s, fmt.Sprintf("M%d /v1/patients HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", i))
	}
	text := send(t, "GET", s.ops+"/metrics", "").Body
	for _, want := range []string{
		`http_requests_total{method="GET",route="/v1/patients/{id}",service="clinic",status="200"} 20`,
		`http_requests_total{method="GET",route="unmatched",service="clinic",status="404"} 21`,
		`http_requests_total{method="other",route="unmatched",service="clinic",status="405"} 20`,
		`http_request_duration_seconds_count{class="2xx",method="GET",route="/v1/patients/{id}",service="clinic"} 20`,
		`http_requests_in_flight{service="clinic"} 0`,
		`go_goroutines `,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("%s is missing", want)
		}
	}
}

func TestTraces_ContinueTheCallers(t *testing.T) {
	spans := tracetest.NewSpanRecorder()
	cfg := clinicConfig
	cfg.Telemetry = telemetry.Discard()
	cfg.Telemetry.Tracer = trace.NewTracerProvider(trace.WithSpanProcessor(spans))
	seen := make(chan string, 1)
	s := start(t, cfg, func(app *fiber.App) {
		app.Use(func(c *fiber.Ctx) error { seen <- telemetry.TraceParent(c.UserContext()); return c.Next() })
		clinicHandlers(app)
	})
	send(t, "GET", s.url+"/v1/patients/me", "", "traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
	if got := <-seen; !strings.HasPrefix(got, "00-4bf92f3577b34da6a3ce929d0e0e4736-") || strings.Contains(got, "00f067aa0ba902b7") {
		t.Errorf("the handler's traceparent is %q", got)
	}
	if err := s.stop(); err != nil {
		t.Fatal(err)
	}
	ended := spans.Ended()
	if len(ended) != 1 || ended[0].Name() != "GET /v1/patients/me" || ended[0].Parent().SpanID().String() != "00f067aa0ba902b7" {
		t.Fatalf("spans %v", ended)
	}
}

func TestRun_DrainsWhatIsInFlight(t *testing.T) {
	entered, release := make(chan struct{}), make(chan struct{})
	s := start(t, clinicConfig, func(app *fiber.App) {
		app.Use(func(c *fiber.Ctx) error {
			if c.Path() == "/v1/patients/me" {
				close(entered)
				<-release
			}
			return c.Next()
		})
		clinicHandlers(app)
	})
	type result struct {
		status int
		err    error
	}
	slow := make(chan result, 1)
	go func() {
		res, err := http.Get(s.url + "/v1/patients/me")
		if err != nil {
			slow <- result{0, err}
			return
		}
		defer res.Body.Close()
		slow <- result{res.StatusCode, nil}
	}()
	<-entered
	stopped := make(chan error, 1)
	go func() { stopped <- s.stop() }()
	deadline := time.Now().Add(5 * time.Second)
	for { // the ops listener outlives the public one and says why
		got := send(t, "GET", s.ops+"/readyz", "")
		if got.Status == 503 && strings.Contains(got.Body, "draining") {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("readiness: %d %s", got.Status, got.Body)
		}
	}
	close(release)
	if got := <-slow; got.err != nil || got.status != 200 {
		t.Errorf("the request in flight: %+v", got)
	}
	if err := <-stopped; err != nil {
		t.Errorf("Run: %v", err)
	}
	if _, err := http.Get(s.url + "/livez"); err == nil {
		t.Error("the public listener still answers")
	}
	if _, err := http.Get(s.ops + "/livez"); err == nil {
		t.Error("the ops listener still answers")
	}
}

// Whoever replaces what isn't up must leave alone what was up and has lost its database.
func TestStartup_WaitsForTheFirstReadiness(t *testing.T) {
	cfg := clinicConfig
	var away atomic.Bool
	away.Store(true)
	cfg.Ready = func(context.Context) error {
		if away.Load() {
			return errors.New("database down")
		}
		return nil
	}
	s := start(t, cfg, nil)
	check := func(status int) {
		t.Helper()
		for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(5 * time.Millisecond) {
			got := send(t, "GET", s.ops+"/startupz", "")
			if got.Status == status {
				return
			}
			if time.Now().After(deadline) {
				t.Fatalf("/startupz: %d %s, want %d", got.Status, got.Body, status)
			}
		}
	}
	check(503)
	away.Store(false)
	check(200)
	away.Store(true)
	for deadline := time.Now().Add(5 * time.Second); send(t, "GET", s.ops+"/readyz", "").Status != 503; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("still ready though the database is away")
		}
	}
	check(200)
}

package telemetry_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	dto "github.com/prometheus/client_model/go"
	"go.opentelemetry.io/otel/trace"

	"github.com/healthmed/healthmed/pkg/telemetry"
)

func newLog(t *testing.T, cfg telemetry.Config) (*telemetry.Telemetry, *bytes.Buffer) {
	t.Helper()
	var out bytes.Buffer
	cfg.LogOutput = &out
	tel, err := telemetry.New(t.Context(), "users", cfg)
	if err != nil {
		t.Fatal(err)
	}
	return tel, &out
}

func TestLog_CarriesRequestAndTrace(t *testing.T) {
	tel, out := newLog(t, telemetry.Config{})
	ctx := telemetry.WithRequestID(t.Context(), "req-1")
	ctx = telemetry.WithTraceParent(ctx, "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")

	tel.Log.With("appointment_id", "a1").InfoContext(ctx, "booked")

	var got map[string]any
	if err := json.Unmarshal(out.Bytes(), &got); err != nil {
		t.Fatalf("not a JSON line: %v: %s", err, out)
	}
	delete(got, "time")
	want := map[string]any{
		"level": "INFO", "msg": "booked", "service": "users", "appointment_id": "a1", "request_id": "req-1",
		"trace_id": "4bf92f3577b34da6a3ce929d0e0e4736", "span_id": "00f067aa0ba902b7",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("log line (-want +got):\n%s", diff)
	}
}

func TestLog_MasksWhatIdentifiesAPerson(t *testing.T) {
	const (
		email    = "maria.souza@example.com.br"
		cpf      = "529.982.247-25"
		digits   = "52998224725"
		password = "S3nh@-muito-forte"
		jwt      = "eyJhbGciOiJFZERTQSJ9.eyJzdWIiOiIxIn0.c2ln"
	)
	type account struct {
		Email, CPF, Password string
		Nested               map[string]any
	}
	cases := map[string]func(*slog.Logger){
		"key password":        func(l *slog.Logger) { l.Info("x", "password", password) },
		"key new_password":    func(l *slog.Logger) { l.Info("x", "new_password", password) },
		"key accessToken":     func(l *slog.Logger) { l.Info("x", "accessToken", password) },
		"key cpf":             func(l *slog.Logger) { l.Info("x", "cpf", 52998224725) },
		"key user_email":      func(l *slog.Logger) { l.Info("x", "user_email", password) },
		"key Authorization":   func(l *slog.Logger) { l.Info("x", "Authorization", password) },
		"group of that name":  func(l *slog.Logger) { l.WithGroup("password").Info("x", "value", password) },
		"attached beforehand": func(l *slog.Logger) { l.With("email", email).Info("x") },
		"message":             func(l *slog.Logger) { l.Info("no mailbox " + email) },
		"bare CPF":            func(l *slog.Logger) { l.Info("cpf is " + digits) },
		"formatted CPF":       func(l *slog.Logger) { l.Info("x", "about", cpf) },
		"error text":          func(l *slog.Logger) { l.Error("x", "error", fmt.Errorf("ses: %w", errors.New("rejected <"+email+">"))) },
		"URL with password":   func(l *slog.Logger) { l.Info("x", "url", "postgres://app:"+password+"@db/users") },
		"token in a text":     func(l *slog.Logger) { l.Info("verify failed for " + jwt) },
		"bearer":              func(l *slog.Logger) { l.Info("got Bearer " + password) },
		"struct":              func(l *slog.Logger) { l.Info("x", "account", account{email, cpf, password, nil}) },
		"nested map": func(l *slog.Logger) {
			l.Info("x", "a", account{Nested: map[string]any{"list": []any{email, cpf}, "token": password}})
		},
		"bytes":    func(l *slog.Logger) { l.Info("x", "body", []byte(`{"password":"`+password+`"}`)) },
		"stringer": func(l *slog.Logger) { l.Info("x", "from", bytes.NewBufferString(email)) },
	}
	for name, write := range cases {
		for _, format := range []string{"json", "text"} {
			t.Run(name+" as "+format, func(t *testing.T) {
				tel, out := newLog(t, telemetry.Config{LogFormat: format})
				write(tel.Log)
				for _, private := range []string{email, cpf, digits, password, jwt} {
					if strings.Contains(out.String(), private) {
						t.Errorf("the line shows %s: %s", private, out)
					}
				}
				if out.Len() == 0 {
					t.Error("nothing was logged")
				}
			})
		}
	}
}

func TestLog_KeepsWhatOperatorsNeed(t *testing.T) {
	tel, out := newLog(t, telemetry.Config{LogFormat: "text"})
	tel.Log.Info("delivery 0193e1d2-7c1a-7b3e-9f10-123456789012 sent", "token_id", "jti-1", "password_changed_at", "monday",
		"order", "12345678901", "error", errors.New("dial tcp 10.0.0.1:5432: refused"), "ms", 1.5, "took", 2*time.Second)
	for _, want := range []string{"0193e1d2-7c1a-7b3e-9f10-123456789012", "token_id=jti-1", "password_changed_at=monday",
		"order=12345678901", "10.0.0.1:5432", "ms=1.5", "took=2s"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is missing from %s", want, out)
		}
	}
}

func TestLog_Level(t *testing.T) {
	tel, out := newLog(t, telemetry.Config{LogLevel: slog.LevelWarn})
	tel.Log.Info("quiet")
	if out.Len() != 0 {
		t.Errorf("below the level, yet logged: %s", out)
	}
}

func TestNew_RefusesWrongConfiguration(t *testing.T) {
	for name, cfg := range map[string]telemetry.Config{
		"format":   {LogFormat: "xml"},
		"endpoint": {OTLPEndpoint: "collector:4318"},
	} {
		if _, err := telemetry.New(t.Context(), "users", cfg); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestTraceParent_RoundTrip(t *testing.T) {
	for _, header := range []string{
		"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
		"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00",
	} {
		if got := telemetry.TraceParent(telemetry.WithTraceParent(t.Context(), header)); got != header {
			t.Errorf("got %q, want %q", got, header)
		}
	}
	for _, header := range []string{"", "nonsense", "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
		"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\nX-Evil: 1", strings.Repeat("0", 1<<16)} {
		if got := telemetry.TraceParent(telemetry.WithTraceParent(t.Context(), header)); got != "" {
			t.Errorf("%.40q was taken as %q", header, got)
		}
	}
}

func TestTracer_SendsSpansToTheCollector(t *testing.T) {
	paths := make(chan string, 8)
	collector := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		paths <- r.URL.Path
	}))
	defer collector.Close()
	tel, _ := newLog(t, telemetry.Config{OTLPEndpoint: collector.URL})

	ctx, span := tel.Tracer.Tracer("test").Start(t.Context(), "book")
	if !trace.SpanContextFromContext(ctx).IsSampled() {
		t.Error("the span is not sampled")
	}
	span.End()
	if err := tel.Shutdown(context.Background()); err != nil {
		t.Fatal(err)
	}
	if got := <-paths; got != "/v1/traces" {
		t.Errorf("spans went to %s", got)
	}
}

func TestMetrics_HaveGoAndProcess(t *testing.T) {
	tel, _ := newLog(t, telemetry.Config{})
	for _, name := range []string{"go_goroutines", "process_open_fds", "build_info"} {
		if n, err := testutil.GatherAndCount(tel.Metrics, name); err != nil || n != 1 {
			t.Errorf("%s: %d series, %v", name, n, err)
		}
	}
}

// Which traces are kept is decided by the trace's id, alike in each service, and not by what a caller asks for.
func TestTracer_KeepsItsShareWhateverTheCallerAsks(t *testing.T) {
	collector := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer collector.Close()
	sampled := func(ratio float64, traceparent string) bool {
		tel, _ := newLog(t, telemetry.Config{OTLPEndpoint: collector.URL, TraceRatio: ratio})
		ctx, span := tel.Tracer.Tracer("test").Start(telemetry.WithTraceParent(t.Context(), traceparent), "book")
		defer span.End()
		return trace.SpanContextFromContext(ctx).IsSampled()
	}
	const low, high = "00-00000000000000000000000000000001-00f067aa0ba902b7-", "00-ffffffffffffffffffffffffffffffff-00f067aa0ba902b7-"
	for _, flags := range []string{"00", "01"} {
		if !sampled(0.01, low+flags) {
			t.Errorf("flags %s: a trace of the share is dropped", flags)
		}
		if sampled(0.01, high+flags) {
			t.Errorf("flags %s: a trace outside the share is kept", flags)
		}
	}
	if _, err := telemetry.New(t.Context(), "users", telemetry.Config{TraceRatio: 1.5}); err == nil {
		t.Error("TRACE_RATIO 1.5 is accepted")
	}
}

func TestObserve_KeepsTheTraceOfASampledRequest(t *testing.T) {
	spanOf := func(traceparent string) trace.SpanContext {
		return trace.SpanContextFromContext(telemetry.WithTraceParent(t.Context(), traceparent))
	}
	h := prometheus.NewHistogram(prometheus.HistogramOpts{Name: "took_seconds", Buckets: []float64{1, 2}})
	telemetry.Observe(spanOf("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"), h, 0.5)
	telemetry.Observe(spanOf("00-4bf92f3577b34da6a3ce929d0e0e4737-00f067aa0ba902b7-00"), h, 1.5)
	var got dto.Metric
	if err := h.Write(&got); err != nil {
		t.Fatal(err)
	}
	buckets := got.GetHistogram().GetBucket()
	if id := buckets[0].GetExemplar().GetLabel(); len(id) != 1 || id[0].GetValue() != "4bf92f3577b34da6a3ce929d0e0e4736" {
		t.Errorf("exemplar of the sampled request: %v", id)
	}
	if e := buckets[1].GetExemplar(); e != nil {
		t.Errorf("a request that isn't traced has the exemplar %v", e)
	}
	if n := got.GetHistogram().GetSampleCount(); n != 2 {
		t.Errorf("%d observations, want 2", n)
	}
}

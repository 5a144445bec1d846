package web_test

import (
	"bytes"
	"encoding/json"
	"io"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/healthmed/healthmed/pkg/auth"
	"github.com/healthmed/healthmed/pkg/auth/authtest"
	"github.com/healthmed/healthmed/pkg/telemetry"
	"github.com/healthmed/healthmed/pkg/web"
)

const guarded = `
openapi: 3.0.3
info: {title: Guarded, version: "1"}
components: {securitySchemes: {bearer: {type: http, scheme: bearer, bearerFormat: JWT}}}
paths:
  /public: {get: {operationId: public, responses: {"200": {description: ok}}}}
  /login: {post: {operationId: login, x-token: ignored, responses: {"200": {description: ok}}}}
  /any: {get: {operationId: any, security: [{bearer: []}], responses: {"200": {description: ok}}}}
  /staff:
    post:
      operationId: staff
      security: [{bearer: []}]
      x-roles: [doctor, admin]
      requestBody: {required: true, content: {application/json: {schema: {type: object, properties: {a: {type: string}}}}}}
      responses: {"200": {description: ok}}
`

func guardedHandlers(app *fiber.App) {
	who := func(c *fiber.Ctx) error {
		caller, ok := auth.FromContext(c.UserContext())
		if !ok {
			return c.SendString("nobody")
		}
		return c.SendString(string(caller.Role) + " " + caller.ID.String())
	}
	app.Get("/public", who)
	app.Post("/login", who)
	app.Get("/any", who)
	app.Post("/staff", who)
}

func TestAuthentication_ByTheDocument(t *testing.T) {
	issuer := authtest.New(t)
	s := start(t, web.Config{Service: "guarded", Spec: []byte(guarded), Verifier: issuer.Verifier()}, guardedHandlers)
	id := uuid.New()
	bearer := func(role auth.Role) string {
		return "Authorization: " + issuer.Bearer(auth.Principal{ID: id, Role: role})
	}
	stale := "Authorization: " + issuer.Bearer(auth.Principal{ExpiresAt: time.Now().Add(-time.Hour)})
	const missing, invalid = `Bearer realm="healthmed"`, `Bearer realm="healthmed", error="invalid_token"`
	cases := map[string]struct {
		method, path, header, body string
		status                     int
		challenge, answer          string
	}{
		"public, nobody":               {"GET", "/public", "", "", 200, "", "nobody"},
		"public, somebody":             {"GET", "/public", bearer(auth.Patient), "", 200, "", "patient " + id.String()},
		"public, stale token":          {"GET", "/public", stale, "", 401, invalid, ""},
		"public, other scheme":         {"GET", "/public", "Authorization: Basic YTpi", "", 401, invalid, ""},
		"sign-in, stale token":         {"POST", "/login", stale, "", 200, "", "nobody"},
		"any role, nobody":             {"GET", "/any", "", "", 401, missing, ""},
		"any role, patient":            {"GET", "/any", bearer(auth.Patient), "", 200, "", "patient " + id.String()},
		"any role, scheme in capitals": {"GET", "/any", strings.Replace(bearer(auth.Patient), "Bearer", "BEARER", 1), "", 200, "", "patient " + id.String()},
		"any role, garbage":            {"GET", "/any", "Authorization: Bearer x.y.z", "", 401, invalid, ""},
		"any role, empty token":        {"GET", "/any", "Authorization: Bearer ", "", 401, invalid, ""},
		"staff, nobody, bad body":      {"POST", "/staff", "", "{", 401, missing, ""},
		"staff, patient, bad body":     {"POST", "/staff", bearer(auth.Patient), "{", 403, "", ""},
		"staff, doctor, bad body":      {"POST", "/staff", bearer(auth.Doctor), "{", 400, "", ""},
		"staff, doctor":                {"POST", "/staff", bearer(auth.Doctor), "{}", 200, "", "doctor " + id.String()},
		"staff, admin":                 {"POST", "/staff", bearer(auth.Admin), "{}", 200, "", "admin " + id.String()},
	}
	t.Run("two tokens", func(t *testing.T) {
		header := bearer(auth.Patient) + "\r\n"
		if got := raw(t, s, "GET /any HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"+header+header+"\r\n"); got.Status != 401 {
			t.Errorf("got %d", got.Status)
		}
	})
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			var headers []string
			if c.header != "" {
				headers = append(headers, c.header)
			}
			got := send(t, c.method, s.url+c.path, c.body, headers...)
			if got.Status != c.status || got.Header.Get("WWW-Authenticate") != c.challenge || c.answer != "" && got.Body != c.answer {
				t.Errorf("got %d %q %s", got.Status, got.Header.Get("WWW-Authenticate"), got.Body)
			}
		})
	}
}

func TestAuthentication_IssuerDownIsNotTheCallersFault(t *testing.T) {
	issuer := authtest.New(t)
	issuer.SetDown(true)
	s := start(t, web.Config{Service: "guarded", Spec: []byte(guarded), Verifier: issuer.Verifier()}, guardedHandlers)
	got := send(t, "GET", s.url+"/any", "", "Authorization: "+issuer.Bearer(auth.Principal{}))
	if got.Status != 503 || got.Header.Get("Retry-After") == "" {
		t.Errorf("got %d %v", got.Status, got.Header)
	}
}

func TestErrors_BecomeProblems(t *testing.T) {
	cfg := clinicConfig
	cfg.Timeout = 50 * time.Millisecond
	var logs buffer
	cfg.Telemetry = logTo(t, &logs)
	s := start(t, cfg, nil)
	cases := map[string]struct {
		status            int
		name, title, wait string
	}{
		"taken":     {409, "slot-taken", "Slot taken", ""},
		"problem":   {412, "precondition-failed", "Stale version", ""},
		"faults":    {422, "validation", "Invalid data", ""},
		"throttled": {429, "rate-limited", "Too many requests", "2"},
		"deadline":  {503, "unavailable", "Temporarily unavailable", "2"},
		"fiber":     {400, "bad-request", "Bad request", ""},
		"panic":     {500, "internal", "Internal error", ""},
		"unknown":   {500, "internal", "Internal error", ""},
	}
	for how, c := range cases {
		t.Run(how, func(t *testing.T) {
			got := send(t, "POST", s.url+"/v1/fail/"+how, "", "Accept-Language: en", "X-Request-Id: r-"+how)
			p := got.problem(t)
			if got.Status != c.status || p["type"] != "/problems/"+c.name || p["title"] != c.title || got.Header.Get("Retry-After") != c.wait {
				t.Errorf("got %d %s, Retry-After %q", got.Status, got.Body, got.Header.Get("Retry-After"))
			}
			for name, want := range map[string]string{"Content-Language": "en", "Vary": "Accept-Language", "Cache-Control": "no-store", "Etag": ""} {
				if got.Header.Get(name) != want {
					t.Errorf("%s: %q, want %q", name, got.Header.Get(name), want)
				}
			}
			if strings.Contains(got.Body, "secret") || strings.Contains(got.Body, "52998224725") {
				t.Errorf("the inside shows: %s", got.Body)
			}
		})
	}
	if diff := cmp.Diff([]string{"/starts_at: is past"}, send(t, "POST", s.url+"/v1/fail/faults", "", "Accept-Language: en").faults(t)); diff != "" {
		t.Errorf("faults of a handler (-want +got):\n%s", diff)
	}
	if line := logs.line(t, "r-panic", "request failed"); !strings.Contains(line["stack"].(string), "clinicHandlers") || !strings.Contains(line["error"].(string), "secret inside") {
		t.Errorf("the panic's log line: %v", line)
	}
	if line := logs.line(t, "r-unknown", "request failed"); line["level"] != "ERROR" {
		t.Errorf("the error's log line: %v", line)
	}
}

func TestLanguage_ByTheReader(t *testing.T) {
	s := start(t, clinicConfig, nil)
	for header, want := range map[string]string{
		"": "pt-BR", "pt-BR": "pt-BR", "pt": "pt-BR", "en": "en", "EN-gb": "en", "fr": "pt-BR", "fr, en;q=0.5": "en",
		"en;q=0.8, pt;q=0.9": "pt-BR", "pt;q=0.1, en;q=0.2": "en", "en;q=0": "pt-BR", "*": "pt-BR", "en;q=x": "pt-BR",
		"en;q=NaN": "pt-BR", "en;q=7": "pt-BR", ";;,,": "pt-BR", "english": "pt-BR", strings.Repeat("en,", 500): "pt-BR",
	} {
		if got := send(t, "GET", s.url+"/nothing", "", "Accept-Language: "+header).Header.Get("Content-Language"); got != want {
			t.Errorf("%.30q: %s, want %s", header, got, want)
		}
	}
}

func TestRequestID_EchoedOrMade(t *testing.T) {
	s := start(t, clinicConfig, nil)
	made := regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}$`)
	for sent, echoed := range map[string]bool{
		"abc-123": true, strings.Repeat("x", 128): true, "": false, strings.Repeat("x", 129): false, "a b": false, "ação": false, "a\tb": false,
	} {
		got := send(t, "GET", s.url+"/v1/patients", "", "X-Request-Id: "+sent).Header.Get("X-Request-Id")
		if echoed && got != sent || !echoed && !made.MatchString(got) {
			t.Errorf("%.20q came back as %q", sent, got)
		}
	}
}

func TestLogs_SayWhatHappenedAndNothingPrivate(t *testing.T) {
	issuer := authtest.New(t)
	var logs buffer
	s := start(t, web.Config{Service: "guarded", Spec: []byte(guarded), Verifier: issuer.Verifier(), Telemetry: logTo(t, &logs)}, guardedHandlers)
	caller := uuid.New()
	token := issuer.Bearer(auth.Principal{ID: caller})
	send(t, "GET", s.url+"/any", "", "Authorization: "+token, "X-Request-Id: r-1")
	send(t, "GET", s.url+"/any?name=Maria", "", "Authorization: "+token, "X-Request-Id: r-2")
	send(t, "GET", s.url+"/nowhere/maria@example.com", "", "X-Request-Id: r-3")
	send(t, "GET", s.url+"/livez", "", "X-Request-Id: r-4")

	line := logs.line(t, "r-1", "request")
	if ms, ok := line["ms"].(float64); !ok || ms < 0 || ms > 5000 {
		t.Errorf("ms is %v", line["ms"])
	}
	for name, form := range map[string]string{"trace_id": "^[0-9a-f]{32}$", "span_id": "^[0-9a-f]{16}$"} {
		if id, _ := line[name].(string); !regexp.MustCompile(form).MatchString(id) {
			t.Errorf("%s is %v", name, line[name])
		}
		delete(line, name)
	}
	delete(line, "ms")
	delete(line, "time")
	want := map[string]any{
		"level": "INFO", "msg": "request", "service": "guarded", "method": "GET", "route": "/any", "status": 200.0,
		"client": "127.0.0.1", "user_id": caller.String(), "request_id": "r-1",
	}
	if diff := cmp.Diff(want, line); diff != "" {
		t.Errorf("log line (-want +got):\n%s", diff)
	}
	if line := logs.line(t, "r-2", "request"); line["status"] != 422.0 || line["route"] != "/any" {
		t.Errorf("log line %v", line)
	}
	if line := logs.line(t, "r-3", "request"); line["status"] != 404.0 || line["route"] != "unmatched" {
		t.Errorf("log line %v", line)
	}
	for _, private := range []string{"Maria", "maria", "eyJ", "r-4"} {
		if strings.Contains(logs.String(), private) {
			t.Errorf("the log shows %s:\n%s", private, logs.String())
		}
	}
}

func TestClientAddr_OnlyTrustedProxiesSayIt(t *testing.T) {
	cases := []struct {
		trusted   []string
		forwarded string
		want      string
	}{
		{nil, "203.0.113.7", "127.0.0.1"},
		{[]string{"10.0.0.0/8"}, "203.0.113.7", "127.0.0.1"},
		{[]string{"127.0.0.1"}, "203.0.113.7", "203.0.113.7"},
		{[]string{"127.0.0.0/8"}, "1.1.1.1, 203.0.113.7", "203.0.113.7"},
		{[]string{"127.0.0.1", "10.0.0.0/8"}, "1.1.1.1, 203.0.113.7, 10.1.2.3", "203.0.113.7"},
		{[]string{"127.0.0.1", "10.0.0.0/8"}, "10.1.2.3", "10.1.2.3"},
		{[]string{"127.0.0.1"}, "", "127.0.0.1"},
		{[]string{"127.0.0.1"}, "evil", "127.0.0.1"},
		{[]string{"127.0.0.1"}, "203.0.113.7, evil", "127.0.0.1"},
		{[]string{"127.0.0.1"}, "2001:db8::1", "2001:db8::1"},
		{[]string{"127.0.0.1"}, "::ffff:203.0.113.7", "203.0.113.7"},
	}
	for _, c := range cases {
		cfg := clinicConfig
		cfg.TrustedProxies = c.trusted
		s := start(t, cfg, func(app *fiber.App) {
			app.Use(func(c *fiber.Ctx) error { return c.SendString(web.ClientAddr(c.UserContext()).String()) })
			clinicHandlers(app)
		})
		if got := send(t, "GET", s.url+"/v1/patients", "", "X-Forwarded-For: "+c.forwarded); got.Body != c.want {
			t.Errorf("trusting %v, X-Forwarded-For %q: %s, want %s", c.trusted, c.forwarded, got.Body, c.want)
		}
	}
}

func TestCORS_OnlyAllowedOrigins(t *testing.T) {
	cfg := clinicConfig
	cfg.AllowedOrigins = []string{"https://app.example"}
	s := start(t, cfg, nil)
	preflight := send(t, "OPTIONS", s.url+"/v1/patients", "", "Origin: https://app.example", "Access-Control-Request-Method: POST")
	if preflight.Status != 204 || preflight.Header.Get("Access-Control-Allow-Origin") != "https://app.example" ||
		!strings.Contains(preflight.Header.Get("Access-Control-Allow-Methods"), "POST") ||
		!strings.Contains(preflight.Header.Get("Access-Control-Allow-Headers"), "Idempotency-Key") {
		t.Errorf("preflight: %d %v", preflight.Status, preflight.Header)
	}
	actual := send(t, "GET", s.url+"/v1/patients", "", "Origin: https://app.example")
	if actual.Status != 200 || actual.Header.Get("Access-Control-Allow-Origin") != "https://app.example" ||
		!strings.Contains(actual.Header.Get("Access-Control-Expose-Headers"), "ETag") || actual.Header.Get("Vary") != "Origin" {
		t.Errorf("actual: %d %v", actual.Status, actual.Header)
	}
	for _, origin := range []string{"https://evil.example", "https://app.example.evil", "null", "http://app.example"} {
		for _, method := range []string{"OPTIONS", "GET"} {
			if got := send(t, method, s.url+"/v1/patients", "", "Origin: "+origin); got.Header.Get("Access-Control-Allow-Origin") != "" {
				t.Errorf("%s from %s is allowed", method, origin)
			}
		}
	}
}

// buffer is a log that may be read while it is written.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// line finds the record of the request with the message; the line of an answer may be written just after it was sent.
func (b *buffer) line(t *testing.T, requestID, msg string) map[string]any {
	t.Helper()
	deadline := time.Now().Add(5 * time.Second)
	for {
		for _, text := range strings.Split(b.String(), "\n") {
			var m map[string]any
			if json.Unmarshal([]byte(text), &m) == nil && m["request_id"] == requestID && m["msg"] == msg {
				return m
			}
		}
		if time.Now().After(deadline) {
			t.Fatalf("no line %q of %s in:\n%s", msg, requestID, b.String())
		}
	}
}

func logTo(t *testing.T, w io.Writer) *telemetry.Telemetry {
	t.Helper()
	tel, err := telemetry.New(t.Context(), "guarded", telemetry.Config{LogOutput: w})
	if err != nil {
		t.Fatal(err)
	}
	return tel
}

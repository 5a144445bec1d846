package main

import (
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"
)

// What the gateway answers itself keeps the conventions of the services behind it: problems, request ids, languages.
func TestGateway_AnswersItselfAsServicesDo(t *testing.T) {
	nobody := &url.URL{Scheme: "http", Host: "127.0.0.1:1"}
	gateway := newGateway([]service{{"users", nobody}, {"scheduling", nobody}, {"notifier", nobody}}, slog.New(slog.DiscardHandler))
	for _, c := range []struct {
		method, path string
		status       int
		kind         string
		header       map[string]string
	}{
		{"GET", "/livez", 200, "", map[string]string{"Cache-Control": "no-store"}},
		{"HEAD", "/docs", 200, "", map[string]string{"Content-Type": "text/html; charset=utf-8"}},
		{"GET", "/readyz", 503, "", map[string]string{"Retry-After": "1"}},
		{"POST", "/livez", 405, "method-not-allowed", map[string]string{"Allow": "GET, HEAD"}},
		{"DELETE", "/readyz", 405, "method-not-allowed", map[string]string{"Allow": "GET, HEAD"}},
		{"POST", "/docs", 405, "method-not-allowed", map[string]string{"Allow": "GET, HEAD"}},
		{"POST", "/v1/appointments", 503, "unavailable", map[string]string{"Retry-After": "1"}},
	} {
		t.Run(c.method+" "+c.path, func(t *testing.T) {
			r := httptest.NewRequest(c.method, c.path, nil)
			r.Header.Set("X-Request-Id", "from-the-client")
			r.Header.Set("Accept-Language", "en")
			w := httptest.NewRecorder()
			gateway.ServeHTTP(w, r)
			if w.Code != c.status || w.Header().Get("X-Request-Id") != "from-the-client" {
				t.Errorf("status %d, X-Request-Id %q", w.Code, w.Header().Get("X-Request-Id"))
			}
			for name, want := range c.header {
				if got := w.Header().Get(name); got != want {
					t.Errorf("%s %q, want %q", name, got, want)
				}
			}
			if c.kind == "" {
				return
			}
			var p struct {
				Type, Title string
				RequestID   string `json:"request_id"`
			}
			if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil {
				t.Fatal(err)
			}
			if p.Type != "/problems/"+c.kind || p.RequestID != "from-the-client" || w.Header().Get("Content-Type") != "application/problem+json" || w.Header().Get("Content-Language") != "en" {
				t.Errorf("problem %s, header %v", w.Body, w.Header())
			}
		})
	}
	t.Run("an id is made where the client's cannot be taken", func(t *testing.T) {
		r := httptest.NewRequest(http.MethodPost, "/docs", nil)
		r.Header.Set("X-Request-Id", "two words")
		w := httptest.NewRecorder()
		gateway.ServeHTTP(w, r)
		if got := w.Header().Get("X-Request-Id"); len(got) != 36 {
			t.Errorf("X-Request-Id %q, want a UUID", got)
		}
	})
}

func TestRoute(t *testing.T) {
	for path, want := range map[string]string{
		"/v1/doctors":                             "users",
		"/v1/doctors/0193":                        "users",
		"/v1/doctors/0193/verification":           "users",
		"/v1/doctors/0193/availability":           "scheduling",
		"/v1/doctors/0193/availability/conflicts": "scheduling",
		"/v1/doctors/0193/exceptions/2026-12-25":  "scheduling",
		"/v1/doctors/0193/slots":                  "scheduling",
		"/v1/doctors/0193/slotsandmore":           "users",
		"/v1/slots":                               "scheduling",
		"/v1/holds/0193":                          "scheduling",
		"/v1/appointments":                        "scheduling",
		"/v1/appointments/0193/cancel":            "scheduling",
		"/v1/appointmentsandmore":                 "users",
		"/v1/me":                                  "users",
		"/v1/me/export":                           "users",
		"/v1/me/calendar":                         "scheduling",
		"/v1/calendars/abc.ics":                   "scheduling",
		"/v1/waitlist":                            "scheduling",
		"/v1/deliveries/0193/retry":               "notifier",
		"/v1/notification-preferences":            "notifier",
		"/v1/dead-letters":                        "notifier",
		"/docs/scheduling/openapi.yaml":           "scheduling",
		"/docs/notifier":                          "notifier",
		"/.well-known/jwks.json":                  "users",
		"/somewhere/else":                         "users",
		"/events/asyncapi.yaml":                   "users",
		"/schemas/nothing.json":                   "users",
	} {
		if got := route(path); got != want {
			t.Errorf("%s is routed to %s, want %s", path, got, want)
		}
	}
}

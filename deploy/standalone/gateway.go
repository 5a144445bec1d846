package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/healthmed/healthmed/pkg/web"
)

// service is a name with the origin that answers for it, such as http://127.0.0.1:40123.
type service struct {
	name   string
	origin *url.URL
}

// gateway is the public origin: it routes by path, as the API gateway does in production, and answers for the
// readiness of the whole.
type gateway struct {
	services []service
	proxies  map[string]*httputil.ReverseProxy
	client   *http.Client
	prepared atomic.Bool // the demo accounts exist, or are not wanted
}

var (
	ofDoctor = regexp.MustCompile(`^/v1/doctors/[^/]+/(availability|exceptions|slots)(/|$)`)
	// prefixes lists what isn't the users service's, which answers for everything else, the unknown included.
	prefixes = map[string][]string{
		"scheduling": {"/v1/appointments", "/v1/holds", "/v1/slots", "/v1/waitlist", "/v1/calendars", "/v1/me/calendar", "/docs/scheduling"},
		"notifier":   {"/v1/deliveries", "/v1/dead-letters", "/v1/notification-preferences", "/docs/notifier"},
	}
)

// route names the service that answers for a path.
func route(path string) string {
	if ofDoctor.MatchString(path) {
		return "scheduling"
	}
	for name, list := range prefixes {
		if slices.ContainsFunc(list, func(p string) bool { return path == p || strings.HasPrefix(path, p+"/") }) {
			return name
		}
	}
	return "users"
}

// newGateway makes the public origin over the services.
func newGateway(services []service, log *slog.Logger) *gateway {
	transport := &http.Transport{
		DialContext:         (&net.Dialer{Timeout: time.Second}).DialContext,
		MaxIdleConns:        512,
		MaxIdleConnsPerHost: 256,
		IdleConnTimeout:     50 * time.Second, // below the services' own, so that a reused connection is alive
		DisableCompression:  true,
	}
	g := &gateway{
		services: services,
		proxies:  make(map[string]*httputil.ReverseProxy, len(services)),
		client:   &http.Client{Transport: transport, Timeout: 3 * time.Second},
	}
	for _, s := range services {
		g.proxies[s.name] = &httputil.ReverseProxy{
			Transport: transport,
			Rewrite: func(r *httputil.ProxyRequest) {
				r.SetURL(s.origin)
				r.Out.Host = r.In.Host
				r.SetXForwarded()
			},
			ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) {
				if !errors.Is(err, context.Canceled) {
					log.WarnContext(r.Context(), "service does not answer", "service", s.name, "error", err.Error())
				}
				web.Unavailable(time.Second).ServeHTTP(w, r)
			},
		}
	}
	return g
}

// ServeHTTP implements http.Handler.
func (g *gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch path := r.URL.Path; {
	case path == "/livez":
		answerOwn(w, r, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) })
	case path == "/readyz":
		answerOwn(w, r, g.ready)
	case isPage(path):
		answerOwn(w, r, servePage)
	case strings.HasPrefix(path, "/problems/"):
		g.problem(w, r)
	default:
		g.proxies[route(path)].ServeHTTP(w, r)
	}
}

// answerOwn answers for what no service does, by the conventions that they follow.
func answerOwn(w http.ResponseWriter, r *http.Request, answer http.HandlerFunc) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		web.MethodNotAllowed("GET, HEAD").ServeHTTP(w, r)
		return
	}
	w.Header().Set("X-Request-Id", web.RequestID(r.Header.Get("X-Request-Id")))
	w.Header().Set("Cache-Control", "no-store")
	answer(w, r)
}

// missing names the services that aren't ready.
func (g *gateway) missing(ctx context.Context) []string {
	names := make([]string, len(g.services))
	var group errgroup.Group
	for i, s := range g.services {
		group.Go(func() error {
			if !g.get(ctx, s.origin.JoinPath("/readyz")) {
				names[i] = s.name
			}
			return nil
		})
	}
	_ = group.Wait() // the checks report through names
	return slices.DeleteFunc(names, func(name string) bool { return name == "" })
}

// waitForServices returns when all of them are ready, or ctx ends.
func (g *gateway) waitForServices(ctx context.Context) error {
	tick := time.NewTicker(25 * time.Millisecond)
	defer tick.Stop()
	for len(g.missing(ctx)) > 0 {
		select {
		case <-ctx.Done():
			return fmt.Errorf("not ready in time: %w (see the log in DATA_DIR)", ctx.Err())
		case <-tick.C:
		}
	}
	return nil
}

// ready is 200 when everything is, else 503 with what isn't.
func (g *gateway) ready(w http.ResponseWriter, r *http.Request) {
	answer := struct {
		Status  string   `json:"status"`
		Missing []string `json:"missing,omitempty"`
	}{Status: "ready", Missing: g.missing(r.Context())}
	if !g.prepared.Load() {
		answer.Missing = append(answer.Missing, "demo accounts")
	}
	status := http.StatusOK
	if len(answer.Missing) > 0 {
		status, answer.Status = http.StatusServiceUnavailable, "not ready"
		w.Header().Set("Retry-After", "1")
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(answer) // the client may be gone
}

// problem serves the page of a problem type from the service that declares it.
func (g *gateway) problem(w http.ResponseWriter, r *http.Request) {
	for _, s := range g.services {
		if g.get(r.Context(), s.origin.JoinPath(r.URL.Path)) {
			g.proxies[s.name].ServeHTTP(w, r)
			return
		}
	}
	g.proxies["users"].ServeHTTP(w, r)
}

func (g *gateway) get(ctx context.Context, u *url.URL) bool {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return false
	}
	res, err := g.client.Do(req)
	if err != nil {
		return false
	}
	defer res.Body.Close()
	return res.StatusCode == http.StatusOK
}

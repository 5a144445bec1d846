package containers

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	_ "github.com/caddyserver/caddy/v2/modules/caddyhttp/fileserver"
	_ "github.com/caddyserver/caddy/v2/modules/caddyhttp/headers"
	_ "github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
	_ "github.com/caddyserver/caddy/v2/modules/caddyhttp/rewrite"
	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"
	"golang.org/x/net/dns/dnsmessage"

	"github.com/healthmed/healthmed/deploy/check/running"
)

// TestGateway runs Caddy over the services of a running standalone, beside the standalone's own gateway: whatever is asked,
// both answer the same.
func TestGateway(t *testing.T) {
	s := running.Start(t)
	if len(s.Services) != 3 {
		t.Fatalf("the standalone says where %v listen, want three services", slices.Collect(maps.Keys(s.Services)))
	}
	origin := serve(t, s.Services)
	var session struct {
		AccessToken string `json:"access_token"`
	}
	s.Call(t, "", "/v1/auth/login", map[string]string{"email": "admin@healthmed.example", "password": "Adm1n#demo"}, http.StatusOK, &session)
	questions := append(documented(t, session.AccessToken), others()...)
	for _, q := range questions {
		want, got := ask(t, s.Origin, q), ask(t, origin, q)
		if q.token != "" && (q.path == "/v1/audit" || q.path == "/v1/me/export") {
			want.Body, got.Body = "", "" // having been asked once already is in them
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: the standalone (-) and Caddy (+) answer differently:\n%s", q, diff)
		}
	}
	t.Logf("%d questions", len(questions))
	if len(questions) < 120 {
		t.Errorf("only %d questions", len(questions))
	}
}

// A service that doesn't answer is told of in the reader's language.
func TestGateway_WithoutServices(t *testing.T) {
	nobody := "http://" + free(t)
	origin := serve(t, map[string]string{"users": nobody, "scheduling": nobody, "notifier": nobody})
	for _, q := range []question{
		{path: "/v1/me", header: http.Header{"Accept-Language": {"pt-BR"}}},
		{path: "/v1/slots", header: http.Header{"Accept-Language": {"en-GB"}}},
		{path: "/readyz"},
	} {
		a := ask(t, origin, q)
		var p struct{ Type, Title string }
		if err := json.Unmarshal([]byte(a.Body), &p); err != nil {
			t.Errorf("%s: %s: %v", q, a.Body, err)
		}
		title := "Serviço indisponível"
		if strings.HasPrefix(q.header.Get("Accept-Language"), "en") {
			title = "Service unavailable"
		}
		if a.Status != http.StatusServiceUnavailable || p.Type != "/problems/unavailable" || p.Title != title ||
			a.Header["Retry-After"] != "1" || a.Header["Content-Type"] != "application/problem+json" {
			t.Errorf("%s: %+v", q, a)
		}
	}
	if a := ask(t, origin, question{path: "/livez"}); a.Status != http.StatusOK {
		t.Errorf("/livez: %+v", a)
	}
}

// Every replica that a name has gets its part of what is asked one after another, one that is new too, and whoever asks
// doesn't notice that one goes.
func TestGateway_Replicas(t *testing.T) {
	const asked = 60
	_, port, _ := net.SplitHostPort(free(t)) // made by free
	var answered [3]atomic.Int64
	var replicas [3]*httptest.Server
	for i := range replicas {
		listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", fmt.Sprintf("127.0.0.%d:%s", i+1, port))
		if errors.Is(err, syscall.EADDRNOTAVAIL) && runtime.GOOS != "linux" {
			t.Skip("not tried: this system has one loopback address until it is told of more")
		}
		if err != nil {
			t.Fatal(err)
		}
		replicas[i] = httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { answered[i].Add(1) }))
		replicas[i].Listener.Close()
		replicas[i].Listener = listener
		replicas[i].Start()
		defer replicas[i].Close()
	}
	var users atomic.Pointer[[]byte] // the last bytes of their addresses
	users.Store(&[]byte{1, 2})
	names := nameServer(t, func(name string) []byte {
		if name == "users." {
			return *users.Load()
		}
		return nil
	})
	file, origin := gatewayFile(t)
	origin = load(t, replaced(t, file, "dynamic a {args[0]} 8080 {", "dynamic a {args[0]} "+port+" {\n\t\tresolvers "+names), origin)
	ask60 := func() {
		t.Helper()
		for range asked {
			if a := ask(t, origin, question{path: "/v1/me"}); a.Status != http.StatusOK {
				t.Errorf("%+v", a)
			}
		}
	}
	ask60()
	if one, other := answered[0].Load(), answered[1].Load(); min(one, other) < asked/6 {
		t.Errorf("of %d requests one replica had %d, the other %d", asked, one, other)
	}
	replicas[0].Close()
	ask60()
	users.Store(&[]byte{2, 3})
	for deadline := time.Now().Add(10 * time.Second); answered[2].Load() == 0; ask60() {
		if time.Now().After(deadline) {
			t.Fatal("a new replica gets nothing")
		}
	}
}

// nameServer answers for names with addresses of this machine, of which it is told the last bytes, and returns its own address.
func nameServer(t *testing.T, lookUp func(name string) []byte) string {
	t.Helper()
	conn, err := (&net.ListenConfig{}).ListenPacket(t.Context(), "udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	go func() {
		for packet := make([]byte, 4096); ; {
			n, from, err := conn.ReadFrom(packet)
			if err != nil {
				return // closed
			}
			var m dnsmessage.Message
			if m.Unpack(packet[:n]) != nil || len(m.Questions) != 1 {
				continue
			}
			m.Response, m.Additionals = true, nil
			q := m.Questions[0]
			found := lookUp(q.Name.String())
			if found == nil {
				m.RCode = dnsmessage.RCodeNameError
			}
			for _, last := range found {
				m.Answers = append(m.Answers, dnsmessage.Resource{
					Header: dnsmessage.ResourceHeader{Name: q.Name, Type: dnsmessage.TypeA, Class: q.Class},
					Body:   &dnsmessage.AResource{A: [4]byte{127, 0, 0, last}},
				})
			}
			if answer, err := m.Pack(); err == nil {
				_, _ = conn.WriteTo(answer, from) // who got none asks again
			}
		}
	}()
	return conn.LocalAddr().String()
}

// serve runs the Caddyfile over services at other addresses than docker-compose.yml's, one origin each where those have a
// name, and returns its origin.
func serve(t *testing.T, services map[string]string) string {
	t.Helper()
	file, origin := gatewayFile(t)
	file = replaced(t, file, "dynamic a {args[0]} 8080 {\n\t\trefresh 1s\n\t\tversions ipv4\n\t}", "to {args[0]}")
	for name, address := range services {
		for _, snippet := range []string{"service", "replicas"} {
			file = strings.ReplaceAll(file, "import "+snippet+" "+name+"\n", "import "+snippet+" "+address+"\n")
		}
		if strings.Contains(file, name+"\n") {
			t.Fatalf("the Caddyfile still has %s", name)
		}
	}
	return load(t, file, origin)
}

// gatewayFile is the Caddyfile, to listen at a free address of this machine, which is returned as its origin.
func gatewayFile(t *testing.T) (file, origin string) {
	t.Helper()
	body, err := os.ReadFile(root + "/deploy/gateway/Caddyfile")
	if err != nil {
		t.Fatal(err)
	}
	addr := free(t)
	_, port, _ := net.SplitHostPort(addr) // made by free
	file = replaced(t, string(body), "\n:8080 {\n", "\n:"+port+" {\n\tbind 127.0.0.1\n")
	return replaced(t, file, "root * /srv", "root * "+running.Root()+"/deploy/standalone/pages"), "http://" + addr
}

func replaced(t *testing.T, file, old, by string) string {
	t.Helper()
	if !strings.Contains(file, old) {
		t.Fatalf("the Caddyfile has no %q", old)
	}
	return strings.ReplaceAll(file, old, by)
}

// load runs a Caddyfile until the test ends, and returns the origin that it was given.
func load(t *testing.T, file, origin string) string {
	t.Helper()
	adapter := caddyfile.Adapter{ServerType: httpcaddyfile.ServerType{}}
	config, warnings, err := adapter.Adapt([]byte(file), map[string]any{"filename": "Caddyfile"})
	if err != nil || len(warnings) > 0 {
		t.Fatalf("%v, %v", err, warnings)
	}
	if err := caddy.Load(config, true); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := caddy.Stop(); err != nil {
			t.Error(err)
		}
	})
	return origin
}

// free is an address where nobody listens.
func free(t *testing.T) string {
	t.Helper()
	ln, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}

// question is a request.
type question struct {
	method, path, body, token string
	header                    http.Header
}

func (q question) String() string {
	return fmt.Sprintf("%s %s %.40s %v, signed in: %v", q.method, q.path, q.body, q.header, q.token != "")
}

// documented are a question for each operation of the services' documents: by nobody, and what only reads by an administrator.
func documented(t *testing.T, token string) (list []question) {
	t.Helper()
	for _, service := range []string{"users", "scheduling", "notifier"} {
		body, err := os.ReadFile(root + "/services/" + service + "/internal/api/openapi.yaml")
		if err != nil {
			t.Fatal(err)
		}
		var document struct{ Paths map[string]map[string]any }
		if err := yaml.Unmarshal(body, &document); err != nil {
			t.Fatal(err)
		}
		for path, operations := range document.Paths {
			path = regexp.MustCompile(`\{\w+\}`).ReplaceAllString(path, "0193b5a0-7a00-7000-8000-0000000000b1")
			for method := range operations {
				switch method {
				case "get":
					list = append(list, question{method: "GET", path: path}, question{method: "GET", path: path, token: token}, question{method: "HEAD", path: path})
				case "post", "put", "patch", "delete":
					list = append(list, question{method: strings.ToUpper(method), path: path, body: `{"nobody":"knows"}`})
				}
			}
			list = append(list, question{method: "TRACE", path: path})
		}
	}
	return list
}

// others are what no service documents.
func others() (list []question) {
	for _, path := range []string{
		"/", "/docs", "/docs/", "/docs/users", "/docs/scheduling", "/docs/notifier", "/docs/nobody", "/docs/scheduling/openapi.yaml",
		"/verify-email", "/verify-email?token=x", "/reset-password", "/account.js", "/app.js", "/appointments/0193", "/agenda/2026-12-01", "/waitlist/0193",
		"/settings/notifications", "/events", "/events/asyncapi.yaml", "/schemas/scheduling.appointment.booked.v1.json", "/schemas/none.json",
		"/livez", "/.well-known/jwks.json",
		"/v1", "/v1/nothing", "/v1/doctorsandmore", "/v1/appointmentsandmore", "/v1/doctors/x/slotsandmore", "/robots.txt", "/%2e%2e/secret",
	} {
		list = append(list, question{method: "GET", path: path}, question{method: "POST", path: path, body: "{}"},
			question{method: "GET", path: path, header: http.Header{"Accept-Language": {"en"}}})
	}
	for _, problem := range []string{"slot-taken", "email-taken", "unauthenticated", "delivery-not-found", "unavailable", "no-such"} {
		list = append(list, question{method: "GET", path: "/problems/" + problem}, question{method: "HEAD", path: "/problems/" + problem})
	}
	for _, size := range []int{60_000, 65_000, 66_000, 200_000} { // the services take 64 KiB
		list = append(list, question{method: "POST", path: "/v1/auth/login", body: `{"email":"` + strings.Repeat("a", size) + `"}`})
	}
	return list
}

// answer is what counts of a response.
type answer struct {
	Status int
	Header map[string]string
	Body   string
}

// compared are the headers that a client acts on.
var compared = []string{"Content-Type", "Content-Language", "Location", "Allow", "Retry-After", "Cache-Control", "Www-Authenticate", "Etag", "Link",
	"Content-Security-Policy", "Referrer-Policy", "X-Content-Type-Options", "Access-Control-Allow-Origin", "Vary"}

func ask(t *testing.T, origin string, q question) answer {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, q.method, origin+q.path, bytes.NewReader([]byte(q.body)))
	if err != nil {
		t.Fatal(err)
	}
	maps.Copy(req.Header, q.header)
	req.Host = "api.healthmed.example" // what answers say of their own address is the same
	if q.body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	if q.token != "" {
		req.Header.Set("Authorization", "Bearer "+q.token)
	}
	client := http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	res, err := client.Do(req)
	if err != nil {
		t.Fatalf("%s: %v", q, err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatalf("%s: %v", q, err)
	}
	a := answer{Status: res.StatusCode, Header: map[string]string{}}
	// What differs from one time to the next.
	a.Body = regexp.MustCompile(`"(request_id|instance)":"[^"]*"`).ReplaceAllString(string(body), `"$1":""`)
	if res.StatusCode == http.StatusFound {
		a.Body = "" // nobody reads what a redirection says
		res.Header.Del("Content-Type")
	}
	for _, name := range compared {
		if v := res.Header.Get(name); v != "" {
			a.Header[name] = v
		}
	}
	return a
}

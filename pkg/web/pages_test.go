package web_test

import (
	"compress/gzip"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gofiber/fiber/v2"

	"github.com/healthmed/healthmed/pkg/auth/authtest"
	"github.com/healthmed/healthmed/pkg/telemetry"
	"github.com/healthmed/healthmed/pkg/web"
)

func TestDocs_WorkWithoutANetwork(t *testing.T) {
	s := start(t, clinicConfig, nil)
	for _, path := range []string{"/docs", "/docs/", "/docs/clinic", "/docs/clinic/"} {
		page := send(t, "GET", s.url+path, "")
		if page.Status != 200 || page.Header.Get("Content-Type") != "text/html; charset=utf-8" {
			t.Fatalf("%s: %d %v", path, page.Status, page.Header)
		}
		policy := page.Header.Get("Content-Security-Policy")
		if !strings.Contains(policy, "default-src 'none'") || !strings.Contains(policy, "script-src 'self';") || strings.Contains(policy, "http") {
			t.Errorf("%s: policy %q", path, policy)
		}
		if strings.Contains(page.Body, "://") {
			t.Errorf("%s names another host: %s", path, page.Body)
		}
		scripts := strings.Split(page.Body, `<script src="`)[1:]
		if len(scripts) != 2 {
			t.Fatalf("%s has %d scripts", path, len(scripts))
		}
		for _, part := range scripts {
			src, _, _ := strings.Cut(part, `"`)
			if script := send(t, "GET", s.url+src, ""); script.Status != 200 || len(script.Body) < 100 {
				t.Errorf("%s: %d, %d bytes", src, script.Status, len(script.Body))
			}
		}
	}
	for _, path := range []string{"/openapi.yaml", "/docs/clinic/openapi.yaml"} {
		doc := send(t, "GET", s.url+path, "")
		if doc.Status != 200 || doc.Body != strings.TrimSpace(clinic) || doc.Header.Get("Content-Type") != "application/yaml; charset=utf-8" {
			t.Errorf("%s: %d %v", path, doc.Status, doc.Header)
		}
		if again := send(t, "GET", s.url+path, "", "If-None-Match: "+doc.Header.Get("ETag")); again.Status != 304 || again.Body != "" {
			t.Errorf("%s with its ETag: %d", path, again.Status)
		}
	}
	if got := send(t, "GET", s.url+"/docs/other/", ""); got.Status != 404 {
		t.Errorf("another service's docs: %d", got.Status)
	}
}

func TestDocs_ScriptIsCompressedForThoseWhoTakeIt(t *testing.T) {
	s := start(t, clinicConfig, nil)
	_, rest, _ := strings.Cut(send(t, "GET", s.url+"/docs", "").Body, `<script src="`)
	src, _, _ := strings.Cut(rest, `"`)
	squeezed := send(t, "GET", s.url+src, "", "Accept-Encoding: br, gzip;q=0.5")
	if squeezed.Header.Get("Content-Encoding") != "gzip" || squeezed.Header.Get("Cache-Control") != "public, max-age=31536000, immutable" {
		t.Fatalf("compressed: %v", squeezed.Header)
	}
	r, err := gzip.NewReader(strings.NewReader(squeezed.Body))
	if err != nil {
		t.Fatal(err)
	}
	inflated, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	plain := send(t, "GET", s.url+src, "", "Accept-Encoding: gzip;q=0, identity")
	if plain.Header.Get("Content-Encoding") != "" || plain.Body != strings.TrimSpace(string(inflated)) {
		t.Errorf("plain: %v, %d bytes", plain.Header, len(plain.Body))
	}
}

func TestProblems_EachHasAPage(t *testing.T) {
	s := start(t, clinicConfig, nil)
	for name, titles := range map[string][2]string{
		"validation": {"Dados inválidos", "Invalid data"}, "slot-taken": {"Horário ocupado", "Slot taken"},
		"not-found": {"Não encontrado", "Not found"}, "internal": {"Erro interno", "Internal error"},
	} {
		for i, lang := range []string{"pt-BR", "en"} {
			got := send(t, "GET", s.url+"/problems/"+name, "", "Accept-Language: "+lang)
			if got.Status != 200 || got.Header.Get("Content-Language") != lang || !strings.Contains(got.Body, "<h1>"+titles[i]+"</h1>") ||
				!strings.Contains(got.Body, `lang="`+lang+`"`) {
				t.Errorf("%s in %s: %d %s", name, lang, got.Status, got.Body)
			}
		}
	}
	if got := send(t, "GET", s.url+"/problems/none", ""); got.Status != 404 {
		t.Errorf("an unknown problem: %d", got.Status)
	}
}

func TestNew_RefusesWhatItCouldNotEnforce(t *testing.T) {
	const head = "openapi: 3.0.3\ninfo: {title: x, version: '1'}\ncomponents: {securitySchemes: {bearer: {type: http, scheme: bearer}, key: {type: apiKey, in: header, name: k}}}\npaths:\n"
	get := func(rest string) string {
		return head + "  /x: {get: {operationId: x, responses: {'200': {description: ok}}" + rest + "}}\n"
	}
	post := func(schema string) string {
		return head + "  /x: {post: {operationId: x, responses: {'200': {description: ok}}, requestBody: {content: {" + schema + "}}}}\n"
	}
	for name, c := range map[string]struct{ spec, want string }{
		"fine":                        {get(""), ""},
		"no YAML":                     {"{", "OpenAPI document"},
		"3.1":                         {strings.Replace(get(""), "3.0.3", "3.1.0", 1), "3.0.3"},
		"needs a verifier":            {get(", security: [{bearer: []}]"), "Verifier"},
		"unknown scheme":              {get(", security: [{key: []}]"), "not http bearer"},
		"unknown role":                {get(", security: [{bearer: []}], x-roles: [nurse]"), "nurse"},
		"roles are no list":           {get(", security: [{bearer: []}], x-roles: admin"), "list"},
		"roles without security":      {get(", x-roles: [admin]"), "without security"},
		"unknown x-token":             {get(", x-token: sometimes"), "x-token"},
		"unchecked format":            {post("application/json: {schema: {type: object, properties: {a: {type: string, format: crm}}}}"), "crm"},
		"unchecked format of a query": {get(", parameters: [{name: a, in: query, schema: {type: string, format: crm}}]"), "crm"},
		"cookie":                      {get(", parameters: [{name: a, in: cookie, schema: {type: string}}]"), "cookies"},
		"object in the query":         {get(", parameters: [{name: a, in: query, style: deepObject, schema: {type: object}}]"), "style"},
		"form body":                   {post("application/x-www-form-urlencoded: {schema: {type: object}}"), "application/json"},
		"two kinds of body":           {post("application/json: {schema: {type: object}}, text/plain: {schema: {type: string}}"), "application/json"},
		"two parameters in a segment": {head + "  '/x/{a}-{b}': {get: {operationId: x, parameters: [{name: a, in: path, required: true, schema: {type: string}}, {name: b, in: path, required: true, schema: {type: string}}], responses: {'200': {description: ok}}}}\n", "one parameter"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := web.New(web.Config{Service: "x", Spec: []byte(c.spec), Telemetry: telemetry.Discard()})
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
	if _, err := web.New(web.Config{Service: "x", Spec: []byte(get(""))}); err == nil {
		t.Error("no telemetry: accepted")
	}
	if _, err := web.New(web.Config{Service: "x", Spec: []byte(get("")), Telemetry: telemetry.Discard(), TrustedProxies: []string{"proxy.local"}}); err == nil {
		t.Error("a proxy's name: accepted")
	}
}

func TestRun_RefusesADocumentedOperationWithoutHandler(t *testing.T) {
	app, err := web.New(web.Config{Service: "guarded", Spec: []byte(guarded), Verifier: authtest.New(t).Verifier(), Telemetry: telemetry.Discard()})
	if err != nil {
		t.Fatal(err)
	}
	pub := listen(t)
	err = app.Run(t.Context(), pub, nil)
	if err == nil || !strings.Contains(err.Error(), "POST /staff") {
		t.Errorf("got %v", err)
	}
	if _, err := pub.Accept(); err == nil {
		t.Error("the listener is still open")
	}
}

func TestRun_RefusesHandlersInAnOrderThatMisleads(t *testing.T) {
	app, err := web.New(web.Config{Service: "clinic", Spec: []byte(clinic), Formats: clinicConfig.Formats, Telemetry: telemetry.Discard()})
	if err != nil {
		t.Fatal(err)
	}
	app.Fiber.Get("/v1/patients/:id", func(c *fiber.Ctx) error { return c.SendString("somebody") })
	clinicHandlers(app.Fiber)
	err = app.Run(t.Context(), listen(t), nil)
	if err == nil || !strings.Contains(err.Error(), "register the handler of GET /v1/patients/me before /v1/patients/{id}") {
		t.Errorf("got %v", err)
	}
}

func TestRun_EndsWhileClientsHoldOn(t *testing.T) {
	s := start(t, clinicConfig, nil)
	for _, sent := range []string{"", "GET /v1/pat", "GET /v1/patients HTTP/1.1\r\nHost: x\r\n\r\n"} {
		conn, err := net.Dial("tcp", strings.TrimPrefix(s.url, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if _, err := io.WriteString(conn, sent); err != nil {
			t.Fatal(err)
		}
	}
	send(t, "GET", s.url+"/livez", "") // by now the three were accepted
	began := time.Now()
	if err := s.stop(); err != nil {
		t.Errorf("Run: %v", err)
	}
	if took := time.Since(began); took > 3*time.Second {
		t.Errorf("it took %s", took)
	}
	if _, err := http.Get(s.url); err == nil {
		t.Error("the listener still answers")
	}
}

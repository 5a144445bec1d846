package web_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const patient = `{"name":"Ana","cpf":"52998224725","email":"ana@example.com"}`

func TestRequest_Good(t *testing.T) {
	s := start(t, clinicConfig, nil)
	got := send(t, "POST", s.url+"/v1/patients", patient, "Content-Type: application/json; charset=UTF-8")
	if got.Status != 201 || got.Header.Get("Location") != "/v1/patients/1" {
		t.Errorf("got %d %v", got.Status, got.Header)
	}
	for name, want := range map[string]string{
		"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY", "Referrer-Policy": "no-referrer",
		"Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'", "Server": "",
	} {
		if value := got.Header.Get(name); value != want {
			t.Errorf("%s: %q, want %q", name, value, want)
		}
	}
}

func TestRequest_Routes(t *testing.T) {
	s := start(t, clinicConfig, nil)
	const id = "0193e1d2-7c1a-7b3e-9f10-123456789012"
	cases := []struct {
		method, path string
		status       int
		allow, body  string
	}{
		{"GET", "/v1/patients/me", 200, "", "me"},
		{"GET", "/v1/patients/" + id, 200, "", id},
		{"GET", "/v1/calendars/abc.ics", 200, "", "abc"},
		{"GET", "/v1/calendars/abc", 404, "", ""},
		{"GET", "/v1/calendars/.ics", 404, "", ""},
		{"GET", "/v1/patients/", 404, "", ""},
		{"GET", "/v1/Patients", 404, "", ""},
		{"GET", "//v1/patients", 404, "", ""},
		{"GET", "/v1/patients/../patients", 404, "", ""},
		{"GET", "/v1/patients/%2e%2e/patients", 404, "", ""},
		{"GET", "/v1/patients/me%2F", 422, "", ""},
		{"GET", "/", 404, "", ""},
		{"GET", "/v1/nowhere/11111111111", 404, "", ""},
		{"DELETE", "/v1/patients", 405, "GET, HEAD, POST, OPTIONS", ""},
		{"PUT", "/v1/patients/" + id, 405, "GET, HEAD, PATCH, OPTIONS", ""},
		{"TRACE", "/v1/patients", 405, "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS", ""},
		{"BREW", "/v1/patients", 405, "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS", ""},
		{"POST", "/livez", 405, "GET, HEAD", ""},
		{"POST", "/docs", 405, "GET, HEAD", ""},
	}
	for _, c := range cases {
		t.Run(c.method+" "+c.path, func(t *testing.T) {
			got := raw(t, s, fmt.Sprintf("%s %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", c.method, c.path))
			if got.Status != c.status || got.Header.Get("Allow") != c.allow {
				t.Errorf("got %d, Allow %q; want %d, %q", got.Status, got.Header.Get("Allow"), c.status, c.allow)
			}
			if c.body != "" && got.Body != c.body {
				t.Errorf("body %q", got.Body)
			}
			if got.Status >= 400 {
				p := got.problem(t)
				if strings.Contains(got.Body, "11111111111") || p["title"] == "" {
					t.Errorf("problem %s", got.Body)
				}
			}
		})
	}
}

func TestRequest_HeadAndOptions(t *testing.T) {
	s := start(t, clinicConfig, nil)
	if got := send(t, "HEAD", s.url+"/v1/patients/me", ""); got.Status != 200 || got.Body != "" || got.Header.Get("Content-Length") != "2" {
		t.Errorf("HEAD: %d %q %v", got.Status, got.Body, got.Header)
	}
	if got := send(t, "HEAD", s.url+"/v1/nothing", ""); got.Status != 404 || got.Body != "" {
		t.Errorf("HEAD of nothing: %d %q", got.Status, got.Body)
	}
	got := send(t, "OPTIONS", s.url+"/v1/patients", "")
	if got.Status != 204 || got.Header.Get("Allow") != "GET, HEAD, POST, OPTIONS" || got.Header.Get("Access-Control-Allow-Origin") != "" {
		t.Errorf("OPTIONS: %d %v", got.Status, got.Header)
	}
}

func TestRequest_Parameters(t *testing.T) {
	s := start(t, clinicConfig, nil)
	const id = "0193e1d2-7c1a-7b3e-9f10-123456789012"
	cases := map[string][]string{
		"/v1/patients": nil,
		"/v1/patients?limit=20&name=Ana&active=true&status=active&status=blocked&from=2026-12-01T09:00:00-03:00": nil,
		"/v1/patients?ids=" + id + "," + id:                     nil,
		"/v1/patients?limit=0":                                  {"limit: must be at least 1"},
		"/v1/patients?limit=101":                                {"limit: must be at most 100"},
		"/v1/patients?limit=ten":                                {"limit: must be an integer"},
		"/v1/patients?limit=1.5":                                {"limit: must be an integer"},
		"/v1/patients?limit=":                                   {"limit: must be an integer"},
		"/v1/patients?limit=99999999999999999999":               {"limit: must be an integer"},
		"/v1/patients?limit=1&limit=2":                          {"limit: was sent more than once"},
		"/v1/patients?active=yes":                               {"active: must be true or false"},
		"/v1/patients?status=active&status=gone":                {"status: must be one of: active, blocked"},
		"/v1/patients?ids=" + id + "," + id + "," + id:          {"ids: must have at most 2 items"},
		"/v1/patients?ids=x":                                    {"ids: must be a UUID"},
		"/v1/patients?name=A%00B":                               {"name: contains characters that are not allowed"},
		"/v1/patients?name=%ff%fe":                              {"name: contains characters that are not allowed"},
		"/v1/patients?from=yesterday":                           {"from: must be a date and time with offset (RFC 3339), such as 2026-12-01T09:00:00-03:00"},
		"/v1/patients?from=9999-12-31T23:59:59-23:00":           {"from: must be a date and time with offset (RFC 3339), such as 2026-12-01T09:00:00-03:00"},
		"/v1/patients?limit=0&name=A&color=red&page=2":          {"limit: must be at least 1", "name: must have at least 2 characters", "color: is not known", "page: is not known"},
		"/v1/patients?11111111111=1":                            {"query: is not known"},
		"/v1/patients/not-a-uuid":                               {"id: must be a UUID"},
		"/v1/patients/me?x=1":                                   {"x: is not known"},
		"/v1/calendars/" + strings.Repeat("a", 65) + ".ics?y=1": {"token: must have at most 64 characters", "y: is not known"},
	}
	for path, want := range cases {
		t.Run(path, func(t *testing.T) {
			got := send(t, "GET", s.url+path, "", "Accept-Language: en")
			if want == nil {
				if got.Status != 200 {
					t.Errorf("got %d %s", got.Status, got.Body)
				}
				return
			}
			if got.Status != 422 {
				t.Errorf("status %d", got.Status)
			}
			if diff := cmp.Diff(want, got.faults(t)); diff != "" {
				t.Errorf("faults (-want +got):\n%s", diff)
			}
			if strings.Contains(got.Body, "11111111111") {
				t.Errorf("a submitted value comes back: %s", got.Body)
			}
		})
	}
	if got := send(t, "GET", s.url+"/v1/patients?name=%zz", ""); got.Status != 400 || got.problem(t)["type"] != "/problems/bad-request" {
		t.Errorf("a broken escape: %d %s", got.Status, got.Body)
	}
}

func TestRequest_HeaderAndBodyFaultsComeTogether(t *testing.T) {
	s := start(t, clinicConfig, nil)
	url := s.url + "/v1/patients/x"
	got := send(t, "PATCH", url, `{"neither":1}`, "Accept-Language: en")
	want := []string{"id: must be a UUID", "If-Match: is required", ": matches none of the documented forms"}
	if diff := cmp.Diff(want, got.faults(t)); diff != "" {
		t.Errorf("faults (-want +got):\n%s", diff)
	}
	url = s.url + "/v1/patients/0193e1d2-7c1a-7b3e-9f10-123456789012"
	for _, body := range []string{`{"closed":true}`, `{"hours":3}`, ""} {
		if got := send(t, "PATCH", url, body, `If-Match: "3"`); got.Status != 200 {
			t.Errorf("%s: %d %s", body, got.Status, got.Body)
		}
	}
}

func TestRequest_Bodies(t *testing.T) {
	s := start(t, clinicConfig, nil)
	var gz bytes.Buffer
	w := gzip.NewWriter(&gz)
	_, _ = io.WriteString(w, patient)
	_ = w.Close()
	deep := strings.Repeat(`{"crm":`, 60) + "1" + strings.Repeat("}", 60)
	cases := map[string]struct {
		body    string
		headers []string
		status  int
		name    string
	}{
		"cut off":              {`{"name":"Ana"`, nil, 400, "malformed-json"},
		"not JSON":             {`name=Ana`, nil, 400, "malformed-json"},
		"two values":           {patient + patient, nil, 400, "malformed-json"},
		"name twice":           {`{"name":"Ana","name":"Eva"}`, nil, 400, "malformed-json"},
		"name twice, escaped":  {`{"name":"Ana","n\u0061me":"Eva"}`, nil, 400, "malformed-json"},
		"not UTF-8":            {"{\"name\":\"\xff\"}", nil, 400, "malformed-json"},
		"byte order mark":      {"\ufeff" + patient, nil, 400, "malformed-json"},
		"deep":                 {deep, nil, 400, "malformed-json"},
		"comment":              {`{} // x`, nil, 400, "malformed-json"},
		"form":                 {`name=Ana`, []string{"Content-Type: application/x-www-form-urlencoded"}, 415, "unsupported-media-type"},
		"no type":              {patient, []string{"Content-Type: "}, 415, "unsupported-media-type"},
		"text":                 {patient, []string{"Content-Type: text/json"}, 415, "unsupported-media-type"},
		"latin-1":              {patient, []string{"Content-Type: application/json; charset=iso-8859-1"}, 415, "unsupported-media-type"},
		"multipart":            {"--x\r\n\r\nx\r\n--x--", []string{"Content-Type: multipart/form-data; boundary=x"}, 415, "unsupported-media-type"},
		"compressed":           {gz.String(), []string{"Content-Encoding: gzip"}, 415, "unsupported-media-type"},
		"empty":                {"", nil, 422, "validation"},
		"null":                 {"null", nil, 422, "validation"},
		"number":               {"1e999", nil, 422, "validation"},
		"zero character":       {`{"name":"A\u0000na","cpf":"52998224725","email":"ana@example.com"}`, nil, 422, "validation"},
		"case of a name":       {`{"name":"Ana","cpf":"52998224725","email":"ana@example.com","ROLE":"doctor"}`, nil, 422, "validation"},
		"over the limit":       {`{"name":"` + strings.Repeat("a", 64<<10) + `"}`, nil, 413, "too-large"},
		"far over the limit":   {`{"name":"` + strings.Repeat("a", 8<<20) + `"}`, nil, 413, "too-large"},
		"six thousand unknown": {manyFields(6000), nil, 422, "validation"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			got := send(t, "POST", s.url+"/v1/patients", c.body, c.headers...)
			if got.Status != c.status || got.problem(t)["type"] != "/problems/"+c.name {
				t.Errorf("got %d %.300s", got.Status, got.Body)
			}
			if len(got.Body) > 8<<10 {
				t.Errorf("an answer of %d bytes", len(got.Body))
			}
		})
	}
	t.Run("zero character says where", func(t *testing.T) {
		got := send(t, "POST", s.url+"/v1/patients", cases["zero character"].body, "Accept-Language: en")
		if diff := cmp.Diff([]string{"/name: contains characters that are not allowed"}, got.faults(t)); diff != "" {
			t.Errorf("faults (-want +got):\n%s", diff)
		}
	})
	t.Run("a body where none belongs", func(t *testing.T) {
		if got := send(t, "POST", s.url+"/v1/fail/taken", `{"x":1}`); got.Status != 422 {
			t.Errorf("got %d", got.Status)
		}
		if got := send(t, "POST", s.url+"/v1/fail/taken", `{}`); got.Status != 409 {
			t.Errorf("an empty object: got %d", got.Status)
		}
	})
}

func manyFields(n int) string {
	var b strings.Builder
	b.WriteString(`{"z":1`)
	for i := range n {
		fmt.Fprintf(&b, `,"%x":1`, i)
	}
	return b.String() + "}"
}

func TestRequest_HeadersTooLarge(t *testing.T) {
	s := start(t, clinicConfig, nil)
	got := raw(t, s, "GET /v1/patients HTTP/1.1\r\nHost: x\r\nX-Long: "+strings.Repeat("a", 20<<10)+"\r\n\r\n")
	if got.Status != 431 || got.problem(t)["type"] != "/problems/headers-too-large" {
		t.Errorf("got %d %s", got.Status, got.Body)
	}
}

// A proxy and we may not disagree on where a request ends.
func TestRequest_SmugglingIsRefused(t *testing.T) {
	s := start(t, clinicConfig, nil)
	const hidden = "GET /v1/patients/me HTTP/1.1\r\nHost: x\r\n\r\n"
	cases := map[string]string{
		"length and chunks":       "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + hidden,
		"two lengths":             "Content-Length: 0\r\nContent-Length: 44\r\n\r\n" + hidden,
		"two encodings":           "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + hidden,
		"unknown encoding":        "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n" + hidden,
		"space before the colon":  "Content-Length : 44\r\n\r\n" + hidden,
		"signed length":           "Content-Length: +0\r\n\r\n" + hidden,
		"bare line feed in chunk": "Transfer-Encoding: chunked\r\n\r\n0\n\n" + hidden,
	}
	for name, rest := range cases {
		t.Run(name, func(t *testing.T) {
			text := rawText(t, s, "POST /v1/fail/taken HTTP/1.1\r\nHost: x\r\n"+rest)
			if strings.Contains(text, "\r\n\r\nme") {
				t.Errorf("the hidden request was executed:\n%s", text)
			}
		})
	}
}

// raw sends bytes as they are and reads one answer.
func raw(t *testing.T, s *service, request string) answer {
	t.Helper()
	method, _, _ := strings.Cut(request, " ")
	res, err := http.ReadResponse(bufio.NewReader(strings.NewReader(rawText(t, s, request))), &http.Request{Method: method})
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{res.StatusCode, res.Header, string(body)}
}

// rawText sends bytes, closes the sending side and returns all that comes back.
func rawText(t *testing.T, s *service, request string) string {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(s.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(8 * time.Second))
	if _, err := io.WriteString(conn, request); err != nil {
		t.Fatal(err)
	}
	_ = conn.(*net.TCPConn).CloseWrite()
	text, err := io.ReadAll(conn)
	if err != nil && len(text) == 0 {
		t.Fatal(err)
	}
	return string(text)
}

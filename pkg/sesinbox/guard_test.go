package sesinbox_test

import (
	"net/http"
	"os"
	"path"
	"regexp"
	"strings"
	"testing"

	"github.com/healthmed/healthmed/pkg/sesinbox"
)

func TestGuard_StrangersNamesAreRefused(t *testing.T) {
	e := start(t, sesinbox.Config{Hosts: []string{"Inbox.Dev.example"}})
	tests := map[string]int{
		"localhost:8025": 200, "127.0.0.1:8025": 200, "[::1]:8025": 200, "10.0.0.7": 200, "sesinbox:8080": 200,
		"app.localhost:8025": 200, "host.docker.internal:8025": 200, "inbox.dev.example:8025": 200, "INBOX.dev.example.": 200,
		"evil.example:8025": 421, "127.0.0.1.evil.example": 421, "localhost.evil.example": 421, "dev.example": 421,
	}
	for host, want := range tests {
		if answer, _ := e.request(t, "GET", "/messages", http.Header{"Host": {host}}, ""); answer.StatusCode != want {
			t.Errorf("Host %s: %d, want %d", host, answer.StatusCode, want)
		}
	}
}

func TestGuard_OtherSitesCanNotDelete(t *testing.T) {
	e := start(t, sesinbox.Config{})
	tests := []struct {
		name   string
		header http.Header
		want   int
	}{
		{"another site, new browser", http.Header{"Sec-Fetch-Site": {"cross-site"}}, 403},
		{"another port, new browser", http.Header{"Sec-Fetch-Site": {"same-site"}}, 403},
		{"another site, old browser", http.Header{"Origin": {"https://evil.example"}}, 403},
		{"sandboxed e-mail", http.Header{"Origin": {"null"}}, 403},
		{"the page itself", http.Header{"Sec-Fetch-Site": {"same-origin"}, "Origin": {e.url}}, 204},
		{"the page itself, old browser", http.Header{"Origin": {e.url}}, 204},
		{"a program", nil, 204},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			id := e.send(t, rawInput(plainMail))
			answer, _ := e.request(t, "DELETE", "/messages", tt.header, "")
			if answer.StatusCode != tt.want {
				t.Errorf("status %d, want %d", answer.StatusCode, tt.want)
			}
			if _, kept := e.Raw(id); kept != (tt.want == 403) {
				t.Errorf("message kept: %v", kept)
			}
		})
	}
}

func TestGuard_NothingIsSharedWithOtherSites(t *testing.T) {
	e := start(t, sesinbox.Config{})
	id := e.send(t, rawInput(plainMail))
	for _, at := range []string{"/", "/messages", "/messages/" + id, "/messages/" + id + "/raw", "/app.js"} {
		answer, _ := e.request(t, "GET", at, http.Header{"Origin": {"https://evil.example"}}, "")
		h := answer.Header
		if h.Get("Access-Control-Allow-Origin") != "" || h.Get("Cross-Origin-Resource-Policy") != "same-origin" || h.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: %v", at, h)
		}
	}
}

// The page names its files itself; each must be there, be of the right type, and nothing may come from elsewhere.
func TestPage_IsWholeAndAsksNobodyElse(t *testing.T) {
	e := start(t, sesinbox.Config{})
	types := map[string]string{".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
	reference := regexp.MustCompile(`(?:href|src)="(/[^"]+)"|from '\./([^']+)'|url\(([^)]+)\)`)
	elsewhere := regexp.MustCompile(`(?:href|src)="(?:https?:)?//|import\(|@import`)
	seen, queue := map[string]bool{}, []string{"/"}
	for len(queue) > 0 {
		at := queue[0]
		queue = queue[1:]
		if seen[at] || at == "/messages" {
			continue
		}
		seen[at] = true
		answer, body := e.request(t, "GET", at, nil, "")
		extension := path.Ext(at)
		if at == "/" {
			extension = ".html"
		}
		if answer.StatusCode != http.StatusOK || !strings.HasPrefix(answer.Header.Get("Content-Type"), types[extension]) {
			t.Errorf("%s: %s %s", at, answer.Status, answer.Header.Get("Content-Type"))
		}
		if policy := answer.Header.Get("Content-Security-Policy"); !strings.Contains(policy, "default-src 'none'") || strings.Contains(policy, "unsafe") {
			t.Errorf("%s: policy %q", at, policy)
		}
		if found := elsewhere.FindString(body); found != "" {
			t.Errorf("%s asks another host: %s", at, found)
		}
		for _, match := range reference.FindAllStringSubmatch(body, -1) {
			queue = append(queue, "/"+strings.TrimPrefix(match[1]+match[2]+match[3], "/"))
		}
	}
	files, err := os.ReadDir("page")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if name := file.Name(); !seen["/"+name] && name != "index.html" {
			t.Errorf("page/%s is used nowhere", name)
		}
	}
}

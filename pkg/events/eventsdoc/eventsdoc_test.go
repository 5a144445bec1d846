package eventsdoc_test

import (
	"bytes"
	"encoding/json"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"github.com/healthmed/healthmed/pkg/events"
	"github.com/healthmed/healthmed/pkg/events/eventsdoc"
)

func get(t *testing.T, method, path string) *httptest.ResponseRecorder {
	t.Helper()
	rec := httptest.NewRecorder()
	eventsdoc.Handler().ServeHTTP(rec, httptest.NewRequest(method, path, nil))
	return rec
}

func TestPage_ShowsEveryEventAndEveryField(t *testing.T) {
	rec := get(t, "GET", "/events")
	if rec.Code != http.StatusOK || rec.Header().Get("Content-Type") != "text/html; charset=utf-8" {
		t.Fatalf("%d %s", rec.Code, rec.Header())
	}
	page := rec.Body.String()
	for _, d := range events.All() {
		start := strings.Index(page, `<article id="`+strings.ReplaceAll(d.Name, ".", "-")+`">`)
		if start < 0 {
			t.Errorf("%s is not on the page", d.Name)
			continue
		}
		article := page[start:]
		article = article[:strings.Index(article, "</article>")]
		want := []string{d.Type(), d.GoType, strings.NewReplacer("<", "&lt;", ">", "&gt;").Replace(d.SubjectPattern()), d.DataSchema()}
		var schema struct{ Properties map[string]any }
		if err := json.Unmarshal(d.Schema(), &schema); err != nil {
			t.Fatal(err)
		}
		for name := range schema.Properties {
			want = append(want, `<th scope="row"><code>`+name+`</code>`)
		}
		for _, text := range want {
			if !strings.Contains(article, text) {
				t.Errorf("%s: %s is not shown", d.Name, text)
			}
		}
	}
	for _, nested := range []string{"actor.role", "previous.starts_at", "doctor.crm.state"} {
		if !strings.Contains(page, "<code>"+nested+"</code>") {
			t.Errorf("%s is not shown", nested)
		}
	}
}

// Offline means offline: the page loads nothing from another host, and its own links lead somewhere.
func TestPage_NeedsNothingFromElsewhere(t *testing.T) {
	page := get(t, "GET", "/events").Body.String()
	if loads := regexp.MustCompile(`(?i)(src=|@import|url\(|<script|<link[^>]+href="(?:https?:)?//)`).FindString(page); loads != "" {
		t.Errorf("the page loads something: %s", loads)
	}
	ids := map[string]bool{}
	for _, m := range regexp.MustCompile(` id="([^"]+)"`).FindAllStringSubmatch(page, -1) {
		if ids[m[1]] {
			t.Errorf("id %s occurs twice", m[1])
		}
		ids[m[1]] = true
	}
	links := regexp.MustCompile(`href="([^"]+)"`).FindAllStringSubmatch(page, -1)
	if len(links) < 3*len(events.All()) {
		t.Fatalf("%d links", len(links))
	}
	for _, m := range links {
		switch href := m[1]; {
		case strings.HasPrefix(href, "#"):
			if !ids[href[1:]] {
				t.Errorf("link to %s leads nowhere", href)
			}
		case href == "/docs", href == "https://cloudevents.io", href == "data:,": // another handler's, a reader's choice, no icon
		default:
			if rec := get(t, "GET", href); rec.Code != http.StatusOK {
				t.Errorf("%s: %d", href, rec.Code)
			}
		}
	}
}

func TestFiles_AreServedAtTheAddressesOfTheContract(t *testing.T) {
	for path, want := range map[string]struct {
		contentType string
		content     []byte
	}{
		"/events/asyncapi.yaml": {"application/yaml; charset=utf-8", events.AsyncAPI()},
	} {
		rec := get(t, "GET", path)
		if rec.Code != http.StatusOK || rec.Header().Get("Content-Type") != want.contentType || !bytes.Equal(rec.Body.Bytes(), want.content) {
			t.Errorf("%s: %d %s", path, rec.Code, rec.Header())
		}
	}
	for _, d := range events.All() {
		for path, want := range map[string][]byte{
			d.DataSchema():                         d.Schema(),
			"/events" + d.DataSchema():             d.Schema(), // as asyncapi.yaml refers to it
			"/events/examples/" + d.Name + ".json": d.Example(),
		} {
			rec := get(t, "GET", path)
			if rec.Code != http.StatusOK || !bytes.Equal(rec.Body.Bytes(), want) {
				t.Errorf("%s: %d", path, rec.Code)
			}
		}
	}
	if ct := get(t, "GET", "/schemas/envelope.v1.json").Header().Get("Content-Type"); ct != "application/schema+json; charset=utf-8" {
		t.Error(ct)
	}
}

func TestHandler_RefusesWhatIsNotThere(t *testing.T) {
	for path, want := range map[string]int{
		"/schemas/nothing.v1.json":          http.StatusNotFound,
		"/schemas/..%2Fasyncapi.yaml":       http.StatusNotFound,
		"/schemas/..%2F..%2Fgo.mod":         http.StatusNotFound,
		"/schemas/..%2Ftestdata%2Fa.json":   http.StatusNotFound,
		"/events/nothing":                   http.StatusNotFound,
		"/events/examples/envelope.v1.json": http.StatusNotFound,
		"/events/page.html":                 http.StatusNotFound,
		"/other":                            http.StatusNotFound,
		"/schemas/":                         http.StatusFound,
		"/events/":                          http.StatusMovedPermanently,
	} {
		if rec := get(t, "GET", path); rec.Code != want {
			t.Errorf("%s: %d, want %d", path, rec.Code, want)
		}
	}
	if rec := get(t, "POST", "/events"); rec.Code != http.StatusMethodNotAllowed || rec.Header().Get("Allow") != "GET, HEAD" {
		t.Errorf("POST: %d, Allow %q", rec.Code, rec.Header().Get("Allow"))
	}
	if rec := get(t, "HEAD", "/events"); rec.Code != http.StatusOK || rec.Body.Len() != 0 {
		t.Errorf("HEAD: %d, %d bytes", rec.Code, rec.Body.Len())
	}
}

func TestHandler_AnswersNotModifiedToWhoHasIt(t *testing.T) {
	h := eventsdoc.Handler()
	first := httptest.NewRecorder()
	h.ServeHTTP(first, httptest.NewRequest(http.MethodGet, "/events", nil))
	again := httptest.NewRequest(http.MethodGet, "/events", nil)
	again.Header.Set("If-None-Match", first.Header().Get("ETag"))
	second := httptest.NewRecorder()
	h.ServeHTTP(second, again)
	if second.Code != http.StatusNotModified || second.Body.Len() != 0 {
		t.Errorf("%d, %d bytes", second.Code, second.Body.Len())
	}
}

func TestPage_AllowsNoScripts(t *testing.T) {
	csp := get(t, "GET", "/events").Header().Get("Content-Security-Policy")
	if !strings.HasPrefix(csp, "default-src 'none'; style-src 'self'") || strings.Contains(csp, "script") {
		t.Error(csp)
	}
}

func TestPages_NameEveryFileOfTheContract(t *testing.T) {
	pages := eventsdoc.Pages()
	for path := range pages {
		if rec := get(t, "GET", path); rec.Code >= 400 {
			t.Errorf("%s: %d", path, rec.Code)
		}
	}
	err := fs.WalkDir(events.Files(), ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".json") {
			return err
		}
		path = "/" + strings.NewReplacer("testdata/", "events/examples/").Replace(path)
		if pages[path] == nil {
			t.Errorf("%s is not served", path)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// Package eventsdoc serves the event contract to people and programs: a page to read at /events, the AsyncAPI
// document, the JSON Schemas and the examples. Everything comes from the registry and the files of package events,
// so that the page cannot say anything else than the code; it loads nothing from elsewhere and works offline.
package eventsdoc

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"html/template"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/healthmed/healthmed/pkg/events"
)

//go:embed page.html style.css
var assets embed.FS

// Handler answers, for GET and HEAD:
//
//	/events                        the page
//	/events/asyncapi.yaml          the AsyncAPI 3.0 document
//	/events/examples/<name>.json   an example message body
//	/schemas/<name>.json           a JSON Schema, at the address that dataschema gives
//	/events/schemas/<name>.json    the same, where asyncapi.yaml refers to it
func Handler() http.Handler {
	page := sync.OnceValues(render)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /events", func(w http.ResponseWriter, r *http.Request) {
		text, err := page()
		if err != nil {
			http.Error(w, "the page could not be rendered", http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
		serve(w, r, "text/html; charset=utf-8", text)
	})
	mux.Handle("GET /events/{$}", http.RedirectHandler("/events", http.StatusMovedPermanently))
	mux.Handle("GET /schemas/{$}", http.RedirectHandler("/events", http.StatusFound))
	mux.HandleFunc("GET /events/style.css", func(w http.ResponseWriter, r *http.Request) {
		style, err := assets.ReadFile("style.css")
		if err != nil {
			http.NotFound(w, r)
			return
		}
		serve(w, r, "text/css; charset=utf-8", style)
	})
	mux.HandleFunc("GET /events/asyncapi.yaml", func(w http.ResponseWriter, r *http.Request) {
		serve(w, r, "application/yaml; charset=utf-8", events.AsyncAPI())
	})
	mux.HandleFunc("GET /events/examples/{file}", files("testdata/", "application/cloudevents+json; charset=utf-8"))
	mux.HandleFunc("GET /events/schemas/{file}", files("schemas/", "application/schema+json; charset=utf-8"))
	mux.HandleFunc("GET /schemas/{file}", files("schemas/", "application/schema+json; charset=utf-8"))
	return mux
}

// Pages is Handler by path, for a server that wants to know each.
func Pages() map[string]http.Handler {
	handler := Handler()
	pages := map[string]http.Handler{}
	for _, path := range []string{"/events", "/events/", "/events/style.css", "/events/asyncapi.yaml", "/schemas/", "/schemas/envelope.v1.json", "/events/schemas/envelope.v1.json"} {
		pages[path] = handler
	}
	for _, d := range events.All() {
		for _, folder := range []string{"/schemas/", "/events/schemas/", "/events/examples/"} {
			pages[folder+d.Name+".json"] = handler
		}
	}
	return pages
}

// files serves one folder of the contract; a name with a slash or dots in it names no file there.
func files(folder, contentType string) http.HandlerFunc {
	contract := events.Files()
	return func(w http.ResponseWriter, r *http.Request) {
		name := r.PathValue("file")
		if strings.ContainsAny(name, `/\`) || !strings.HasSuffix(name, ".json") {
			http.NotFound(w, r)
			return
		}
		var content bytes.Buffer
		f, err := contract.Open(folder + name)
		if err == nil {
			_, err = content.ReadFrom(f)
			f.Close()
		}
		if err != nil {
			http.NotFound(w, r)
			return
		}
		serve(w, r, contentType, content.Bytes())
	}
}

// serve answers with a file that changes only with the program. Any site may read it: it is public, and so are the
// tools in browsers that show schemas.
func serve(w http.ResponseWriter, r *http.Request, contentType string, content []byte) {
	sum := sha256.Sum256(content)
	h := w.Header()
	h.Set("Content-Type", contentType)
	h.Set("ETag", `"`+hex.EncodeToString(sum[:16])+`"`)
	h.Set("Cache-Control", "public, max-age=300")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Access-Control-Allow-Origin", "*")
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(content))
}

// stream is a chapter of the page.
type stream struct {
	Name, About string
	Events      []event
}

type event struct {
	events.Definition
	Anchor  string
	Fields  []field
	Example string
}

func render() ([]byte, error) {
	streams := []stream{
		{Name: "SCHEDULING", About: "Appointments, availability and the waitlist. Ids and times alone: nothing here names a person or says why they see a doctor."},
		{Name: "USERS", About: "People: name, e-mail address, role, and a doctor’s registration. Personal data, so it takes separate credentials; when UserErased says so, forget the person."},
		{Name: "NOTIFICATIONS", About: "What became of the messages to people. Ids and outcomes alone."},
	}
	for _, d := range events.All() {
		e, err := describe(d)
		if err != nil {
			return nil, err
		}
		for i := range streams {
			if streams[i].Name == d.Stream {
				streams[i].Events = append(streams[i].Events, e)
			}
		}
	}
	envelope, err := events.Files().Open("schemas/envelope.v1.json")
	if err != nil {
		return nil, err
	}
	defer envelope.Close()
	var schema bytes.Buffer
	if _, err := schema.ReadFrom(envelope); err != nil {
		return nil, err
	}
	attributes, err := fields(schema.Bytes())
	if err != nil {
		return nil, err
	}
	page, err := template.ParseFS(assets, "page.html")
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	err = page.Execute(&out, struct {
		Streams     []stream
		Attributes  []field
		ContentType string
	}{streams, attributes, events.ContentType})
	return out.Bytes(), err
}

func describe(d events.Definition) (event, error) {
	f, err := fields(d.Schema())
	if err != nil {
		return event{}, err
	}
	return event{Definition: d, Anchor: strings.ReplaceAll(d.Name, ".", "-"), Fields: f, Example: string(d.Example())}, nil
}

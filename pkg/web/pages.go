package web

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"html/template"
	"io"
	"maps"
	"net/http"
	"strconv"
	"strings"

	"github.com/gofiber/fiber/v2"
	"github.com/gofiber/fiber/v2/middleware/adaptor"
)

//go:embed assets
var assets embed.FS

// page is something served beside the document's operations: health, docs, problem pages.
type page struct {
	route string // for metrics and logs
	serve func(*fiber.Ctx, *request) error
}

const (
	typeHTML   = "text/html; charset=utf-8"
	typeScript = "text/javascript; charset=utf-8"
	typeYAML   = "application/yaml; charset=utf-8"

	// The reference's script makes its styles at run time and draws icons from data URLs; it needs no eval.
	docsPolicy = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; " +
		"font-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
	problemPolicy = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

// content is a page of fixed bytes. Browsers revalidate it by ETag.
type content struct {
	kind, policy string
	body         []byte
	gzipped      bool // body is compressed; it is inflated for the few that don't accept that
	etag         string
	immutable    bool // the name changes with the content
}

func newContent(kind, policy string, body []byte) *content {
	sum := sha256.Sum256(body)
	return &content{kind: kind, policy: policy, body: body, etag: `"` + hex.EncodeToString(sum[:8]) + `"`}
}

func (k *content) serve(c *fiber.Ctx, _ *request) error {
	switch c.Method() {
	case fiber.MethodGet, fiber.MethodHead:
	default:
		return MethodNotAllowed("GET, HEAD")
	}
	c.Set(fiber.HeaderContentType, k.kind)
	c.Set(fiber.HeaderETag, k.etag)
	if k.policy != "" {
		c.Set(fiber.HeaderContentSecurityPolicy, k.policy)
	}
	c.Set(fiber.HeaderCacheControl, "no-cache")
	if k.immutable {
		c.Set(fiber.HeaderCacheControl, "public, max-age=31536000, immutable")
	}
	if c.Get(fiber.HeaderIfNoneMatch) == k.etag {
		c.Status(fiber.StatusNotModified)
		return nil
	}
	body := k.body
	if k.gzipped {
		c.Vary(fiber.HeaderAcceptEncoding)
		if acceptsGzip(c.Get(fiber.HeaderAcceptEncoding)) {
			c.Set(fiber.HeaderContentEncoding, "gzip")
		} else {
			plain, err := inflate(body)
			if err != nil {
				return err
			}
			body = plain
		}
	}
	c.Response().SetBodyRaw(body)
	return nil
}

func inflate(body []byte) ([]byte, error) {
	r, err := gzip.NewReader(bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("web: inflate: %w", err)
	}
	plain, err := io.ReadAll(r)
	if err != nil {
		return nil, fmt.Errorf("web: inflate: %w", err)
	}
	return plain, nil
}

func acceptsGzip(header string) bool {
	for part := range strings.SplitSeq(header, ",") {
		coding, params, _ := strings.Cut(part, ";")
		if strings.EqualFold(strings.TrimSpace(coding), "gzip") {
			q, weighted := strings.CutPrefix(strings.TrimSpace(params), "q=")
			return !weighted || strings.Trim(q, "0.") != ""
		}
	}
	return false
}

// allPages are the paths that this package answers itself.
func (a *App) allPages(cfg Config) (map[string]page, error) {
	pages := make(map[string]page)
	for path, p := range a.healthPages() {
		pages[path] = getOnly(p)
	}
	docs, err := docsPages(cfg)
	if err != nil {
		return nil, err
	}
	maps.Copy(pages, docs)
	problems, err := problemPages(cfg.Mappings)
	if err != nil {
		return nil, err
	}
	maps.Copy(pages, problems)
	for path, handler := range cfg.Pages {
		serve := adaptor.HTTPHandler(handler)
		pages[path] = getOnly(page{path, func(c *fiber.Ctx, _ *request) error { return serve(c) }})
	}
	return pages, nil
}

func getOnly(p page) page {
	return page{p.route, func(c *fiber.Ctx, r *request) error {
		if m := c.Method(); m != fiber.MethodGet && m != fiber.MethodHead {
			return MethodNotAllowed("GET, HEAD")
		}
		return p.serve(c, r)
	}}
}

// docsPages are the OpenAPI document and a page that draws it. They are served twice, so that a gateway can route
// /docs/<service>/ here unchanged.
func docsPages(cfg Config) (map[string]page, error) {
	gzipped, err := assets.ReadFile("assets/vendor/scalar.js.gz")
	if err != nil {
		return nil, fmt.Errorf("web: docs: %w", err)
	}
	start, err := assets.ReadFile("assets/start.js")
	if err != nil {
		return nil, fmt.Errorf("web: docs: %w", err)
	}
	script := newContent(typeScript, "", gzipped)
	script.gzipped, script.immutable = true, true
	version := strings.Trim(script.etag, `"`)
	html, err := render("assets/docs.html", map[string]string{"Lang": portuguese.tag(), "Service": cfg.Service, "Version": version})
	if err != nil {
		return nil, err
	}
	index := page{"/docs", newContent(typeHTML, docsPolicy, html).serve}
	document := page{"/openapi.yaml", newContent(typeYAML, "", cfg.Spec).serve}
	under := "/docs/" + cfg.Service
	return map[string]page{
		"/docs": index, "/docs/": index, under: index, under + "/": index,
		"/openapi.yaml": document, under + "/openapi.yaml": document,
		under + "/start.js":                  {"/docs/start.js", newContent(typeScript, "", start).serve},
		under + "/scalar." + version + ".js": {"/docs/scalar.js", script.serve},
	}, nil
}

// problemPages explain each problem type to a person, in the reader's language.
func problemPages(mappings []Mapping) (map[string]page, error) {
	problems := standardProblems()
	for _, m := range mappings {
		problems = append(problems, m.Problem)
	}
	pages := make(map[string]page)
	for _, p := range problems {
		var byLanguage [2]*content
		for _, lang := range []language{portuguese, english} {
			html, err := render("assets/problem.html", map[string]string{
				"Lang": lang.tag(), "Name": p.Name, "Title": p.Title.in(lang), "Detail": p.Detail.in(lang),
				"Status": strconv.Itoa(p.Status), "Reason": http.StatusText(p.Status),
				"Kind": Text{"Tipo de problema", "Problem type"}.in(lang),
			})
			if err != nil {
				return nil, err
			}
			byLanguage[lang] = newContent(typeHTML, problemPolicy, html)
		}
		pages["/problems/"+p.Name] = page{"/problems/{name}", func(c *fiber.Ctx, r *request) error {
			c.Set(fiber.HeaderContentLanguage, r.lang.tag())
			c.Vary(fiber.HeaderAcceptLanguage)
			return byLanguage[r.lang].serve(c, r)
		}}
	}
	return pages, nil
}

func render(name string, data map[string]string) ([]byte, error) {
	t, err := template.ParseFS(assets, name)
	if err != nil {
		return nil, fmt.Errorf("web: template: %w", err)
	}
	var out bytes.Buffer
	if err := t.Execute(&out, data); err != nil {
		return nil, fmt.Errorf("web: template: %w", err)
	}
	return out.Bytes(), nil
}

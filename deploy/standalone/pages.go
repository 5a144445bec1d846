package main

import (
	"embed"
	"net/http"
	"strings"
)

//go:embed pages
var pageFiles embed.FS

// own lists the paths that belong to no service: the list of documentation and the pages that the links in e-mails
// open. A star at the end stands for anything. docker-compose.yml serves the same files.
var own = map[string]struct{ file, contentType string }{
	"/docs":                   {"pages/docs.html", "text/html; charset=utf-8"},
	"/docs/":                  {"pages/docs.html", "text/html; charset=utf-8"},
	"/verify-email":           {"pages/account.html", "text/html; charset=utf-8"},
	"/reset-password":         {"pages/account.html", "text/html; charset=utf-8"},
	"/account.js":             {"pages/account.js", "text/javascript; charset=utf-8"},
	"/appointments/*":         {"pages/app.html", "text/html; charset=utf-8"},
	"/agenda/*":               {"pages/app.html", "text/html; charset=utf-8"},
	"/waitlist/*":             {"pages/app.html", "text/html; charset=utf-8"},
	"/settings/notifications": {"pages/app.html", "text/html; charset=utf-8"},
	"/app.js":                 {"pages/app.js", "text/javascript; charset=utf-8"},
}

// ownPage finds the page for a path.
func ownPage(path string) (page struct{ file, contentType string }, ok bool) {
	if page, ok = own[path]; ok {
		return page, true
	}
	first, rest, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	if rest != "" {
		page, ok = own["/"+first+"/*"]
	}
	return page, ok
}

// isPage tells whether servePage answers for a path.
func isPage(path string) bool {
	_, ok := ownPage(path)
	return ok || path == "/"
}

// servePage answers for what belongs to no service.
func servePage(w http.ResponseWriter, r *http.Request) {
	page, ok := ownPage(r.URL.Path)
	if !ok {
		http.Redirect(w, r, "/docs", http.StatusFound)
		return
	}
	w.Header().Set("Content-Type", page.contentType)
	w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; script-src 'self'; connect-src 'self'; frame-ancestors 'none'")
	w.Header().Set("Referrer-Policy", "no-referrer")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	http.ServeFileFS(w, r, pageFiles, page.file)
}

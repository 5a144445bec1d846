package sesinbox

import (
	"embed"
	"io/fs"
	"net/http"
	"path"
	"strings"
)

// The page is plain HTML, CSS and JavaScript, without a build step, and asks no other host for anything.
//
//go:embed page
var pageFiles embed.FS

// pagePolicy holds the page to its own files.
const pagePolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
	"frame-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

func servePage(mux *http.ServeMux) {
	files, err := fs.Glob(pageFiles, "page/*")
	if err != nil {
		panic(err) // the pattern is a constant
	}
	for _, file := range files {
		route, mediaType := strings.TrimPrefix(file, "page"), mediaTypeOf(file)
		if route == "/index.html" {
			route = "/{$}"
		}
		mux.HandleFunc("GET "+route, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", mediaType)
			w.Header().Set("Content-Security-Policy", pagePolicy)
			http.ServeFileFS(w, r, pageFiles, file)
		})
	}
}

// mediaTypeOf names the types here, since the machine's own table may lack them.
func mediaTypeOf(file string) string {
	switch path.Ext(file) {
	case ".html":
		return "text/html; charset=utf-8"
	case ".css":
		return "text/css; charset=utf-8"
	case ".js":
		return "text/javascript; charset=utf-8"
	case ".svg":
		return "image/svg+xml"
	}
	return "application/octet-stream"
}

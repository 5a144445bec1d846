package sesinbox

import (
	"encoding/base64"
	"net/http"
	"net/url"
	"regexp"
	"strings"
)

// htmlPolicy lets an e-mail show its text, styles and embedded images, and open links in a new tab. Nothing runs,
// nothing is loaded from elsewhere, and the document has an origin of its own, so it can't read the inbox.
const htmlPolicy = "sandbox allow-popups allow-popups-to-escape-sandbox; default-src 'none'; style-src 'unsafe-inline'; " +
	"img-src data:; font-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'self'"

var (
	headTag   = regexp.MustCompile(`(?i)<head(\s[^>]*)?>`)
	imageType = regexp.MustCompile(`^image/(png|jpeg|gif|webp)$`)
)

func (s *Server) showHTML(w http.ResponseWriter, r *http.Request) {
	_, source, ok := s.load(w, r)
	if !ok {
		return
	}
	v := parse(source)
	if v.HTML == "" {
		writeProblem(w, http.StatusNotFound, "The message has no HTML.")
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Security-Policy", htmlPolicy)
	_, _ = w.Write([]byte(standalone(v))) // the client is gone if this fails
}

// standalone makes links open outside the frame and embeds the images that the message carries itself.
func standalone(v *view) string {
	html := v.HTML
	const links = `<base target="_blank">`
	if at := headTag.FindStringIndex(html); at != nil {
		html = html[:at[1]] + links + html[at[1]:]
	} else {
		html = "<!doctype html><head>" + links + "</head>" + html
	}
	for _, p := range v.Parts {
		if p.ContentID == "" || !imageType.MatchString(p.ContentType) {
			continue
		}
		data := "data:" + p.ContentType + ";base64," + base64.StdEncoding.EncodeToString(p.content)
		html = strings.NewReplacer("cid:"+p.ContentID, data, "cid:"+url.PathEscape(p.ContentID), data).Replace(html)
	}
	return html
}

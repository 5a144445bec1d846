package sesinbox

import (
	"encoding/json"
	"fmt"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	defaultLimit = 100
	maxLimit     = 1000
	heartbeat    = 15 * time.Second
	streamPause  = 100 * time.Millisecond // bursts become one notice
	writeTimeout = 10 * time.Second
)

// item is a line of the list.
type item struct {
	Message
	Preview    string `json:"preview"`
	Invitation string `json:"invitation,omitempty"` // its method
	Size       int    `json:"size"`
}

// detail is a message as its reader sees it.
type detail struct {
	Message
	Size int `json:"size"`
	*view
}

// listMessages is GET /messages?limit=&cursor=&to=&q=, newest first. The cursor is the id of the last message seen.
func (s *Server) listMessages(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	limit := defaultLimit
	for name := range query {
		if !slices.Contains([]string{"limit", "cursor", "to", "q"}, name) {
			writeProblem(w, http.StatusUnprocessableEntity, "Unknown query parameter; known are limit, cursor, to and q.")
			return
		}
	}
	if text := query.Get("limit"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > maxLimit {
			writeProblem(w, http.StatusUnprocessableEntity, fmt.Sprintf("limit must be a number from 1 to %d.", maxLimit))
			return
		}
		limit = n
	}
	records := s.store.newestFirst()
	matching := filter(records, query.Get("to"), query.Get("q"))
	page, more := pageOf(matching, query.Get("cursor"), limit)
	items := make([]item, len(page))
	for i, rec := range page {
		items[i] = itemOf(rec)
	}
	var next *string
	if more {
		next = &page[len(page)-1].ID
	}
	writeJSON(w, http.StatusOK, map[string]any{
		"items": items, "next_cursor": next, "matching": len(matching), "total": len(records),
	})
}

func itemOf(rec *record) item {
	s := rec.look()
	return item{Message: rec.Message, Preview: s.Preview, Invitation: s.Invitation, Size: rec.Size}
}

// filter keeps what went to an address and holds every word.
func filter(records []*record, to, q string) []*record {
	words := strings.Fields(fold(q))
	var kept []*record
	for _, rec := range records {
		if to != "" && !slices.ContainsFunc(rec.To, func(addr string) bool { return strings.EqualFold(addr, to) }) {
			continue
		}
		if slices.ContainsFunc(words, func(word string) bool { return !strings.Contains(rec.look().Search, word) }) {
			continue
		}
		kept = append(kept, rec)
	}
	return kept
}

// pageOf starts behind the cursor; a cursor that has been dropped meanwhile was among the oldest, so nothing follows.
func pageOf(records []*record, cursor string, limit int) (page []*record, more bool) {
	if cursor != "" {
		at := slices.IndexFunc(records, func(rec *record) bool { return rec.ID == cursor })
		if at < 0 {
			return nil, false
		}
		records = records[at+1:]
	}
	if len(records) > limit {
		return records[:limit], true
	}
	return records, false
}

// load finds the record and source that a path names, or answers 404.
func (s *Server) load(w http.ResponseWriter, r *http.Request) (*record, []byte, bool) {
	rec, known := s.store.get(r.PathValue("id"))
	if known {
		if source, ok := s.store.raw(rec.ID); ok {
			return rec, source, true
		}
	}
	writeProblem(w, http.StatusNotFound, "There is no such message; it may have been deleted.")
	return nil, nil, false
}

func (s *Server) showMessage(w http.ResponseWriter, r *http.Request) {
	rec, source, ok := s.load(w, r)
	if !ok {
		return
	}
	writeJSON(w, http.StatusOK, detail{rec.Message, len(source), parse(source)})
}

func (s *Server) showRaw(w http.ResponseWriter, r *http.Request) {
	rec, source, ok := s.load(w, r)
	if !ok {
		return
	}
	w.Header().Set("Content-Type", "message/rfc822")
	w.Header().Set("Content-Security-Policy", "default-src 'none'; sandbox")
	if r.URL.Query().Has("download") {
		w.Header().Set("Content-Disposition", mime.FormatMediaType("attachment", map[string]string{"filename": rec.ID + ".eml"}))
	}
	w.Header().Set("Content-Length", strconv.Itoa(len(source)))
	_, _ = w.Write(source) // the client is gone if this fails
}

// downloadPart gives a part's decoded bytes, always as a file: nothing of an e-mail may run here.
func (s *Server) downloadPart(w http.ResponseWriter, r *http.Request) {
	_, source, ok := s.load(w, r)
	if !ok {
		return
	}
	parts := parse(source).Parts
	index, err := strconv.Atoi(r.PathValue("part"))
	if err != nil || index < 0 || index >= len(parts) {
		writeProblem(w, http.StatusNotFound, "The message has no such part.")
		return
	}
	p := parts[index]
	name := p.Filename
	if name == "" {
		name = "part-" + p.Path
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Content-Disposition", mime.FormatMediaType("attachment", map[string]string{"filename": name}))
	w.Header().Set("Content-Security-Policy", "default-src 'none'; sandbox")
	_, _ = w.Write(p.content) // the client is gone if this fails
}

// deleteMessages empties the inbox. The guard has refused other origins.
func (s *Server) deleteMessages(w http.ResponseWriter, r *http.Request) {
	n := s.store.clear()
	s.changes.announce()
	s.log.InfoContext(r.Context(), "messages deleted", "count", n)
	w.WriteHeader(http.StatusNoContent)
}

// streamChanges is a server-sent event stream: one `change` event for each change of the list, bursts gathered. It
// carries a revision only; the page then reads the list.
func (s *Server) streamChanges(w http.ResponseWriter, r *http.Request) {
	control := http.NewResponseController(w)
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("X-Accel-Buffering", "no")
	beat := time.NewTicker(heartbeat)
	defer beat.Stop()
	revision, next := s.changes.current()
	send := func(text string) bool {
		_ = control.SetWriteDeadline(time.Now().Add(writeTimeout)) // not every writer has deadlines
		_, err := fmt.Fprint(w, text)
		return err == nil && control.Flush() == nil
	}
	alive := send(fmt.Sprintf("retry: 2000\nevent: hello\ndata: %d\n\n", revision))
	for alive {
		select {
		case <-r.Context().Done():
			return
		case <-s.changes.done:
			return
		case <-beat.C:
			alive = send(": still here\n\n")
		case <-next:
			revision, next = s.changes.current()
			alive = send(fmt.Sprintf("event: change\ndata: %d\n\n", revision))
			select {
			case <-time.After(streamPause):
			case <-r.Context().Done():
			case <-s.changes.done:
			}
		}
	}
}

func writeJSON(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // the client is gone if this fails
}

func writeProblem(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]any{ // the client is gone if this fails
		"type": "about:blank", "title": http.StatusText(status), "status": status, "detail": text,
	})
}

// explained gives a mux's own refusals, which are plain text, the form of every other.
func explained(mux *http.ServeMux) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		handler, pattern := mux.Handler(r)
		if pattern == "" {
			refusal := refusal{header: w.Header()}
			handler.ServeHTTP(&refusal, r)
			switch refusal.status {
			case http.StatusNotFound:
				writeProblem(w, http.StatusNotFound, "There is nothing at this address.")
				return
			case http.StatusMethodNotAllowed:
				writeProblem(w, http.StatusMethodNotAllowed, "This address doesn't take this method; see Allow.")
				return
			}
		}
		mux.ServeHTTP(w, r)
	})
}

// refusal takes down how a request was refused, without the words.
type refusal struct {
	header http.Header
	status int
}

func (r *refusal) Header() http.Header         { return r.header }
func (r *refusal) WriteHeader(status int)      { r.status = status }
func (r *refusal) Write(p []byte) (int, error) { return len(p), nil }

// Package sesinbox is an Amazon SES v2 endpoint for development: it takes what the real SDK client sends and shows
// the e-mails on a page as their reader sees them.
//
// It answers as SES does: the same paths, the same validation and error shapes, the same headers replaced in a raw
// message. It verifies no signature, sends nothing, and keeps everything it is given, so it belongs on a loopback
// address or a private container network. What it holds is personal data: browsers are kept out by origin and host
// checks, e-mails are shown in a sandbox, files are readable by their owner alone.
package sesinbox

import (
	"fmt"
	"log/slog"
	"math"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/healthmed/healthmed/pkg/sesinbox/queue"
)

// Defaults of Config.
const (
	DefaultMaxSendRate = 200
	DefaultMaxMessages = 10_000
)

// Config of an endpoint.
type Config struct {
	Dir         string  // messages are kept here; empty keeps them in memory
	MaxSendRate float64 // messages a second as GetAccount tells it, default 200
	MaxMessages int     // oldest are dropped beyond it, default 10,000
	Log         *slog.Logger
	Now         func() time.Time

	// Hosts are further names under which the endpoint may be called. Loopback names, IP addresses and names
	// without a dot (containers) always may; any other name is refused, since a page on the web could point it here.
	Hosts []string

	// Feedback gets an event for each e-mail, as SES publishes them through SNS: Send, then Delivery, or what the
	// address asks for (see simulate). The queue is served here too, on POST / by the SQS protocol. Nil is none.
	Feedback *queue.Queue
}

// Server takes and shows e-mails.
type Server struct {
	log     *slog.Logger
	now     func() time.Time
	rate    atomic.Uint64 // math.Float64bits of the send rate
	store   *store
	changes *changes
	queue   *queue.Queue // may be nil
	hosts   map[string]bool
	handler http.Handler
}

// Message is one accepted e-mail.
type Message struct {
	ID      string            `json:"id"`
	To      []string          `json:"to"`   // every recipient's bare address, Cc and Bcc included
	From    string            `json:"from"` // as the reader sees it: Name <address>
	Subject string            `json:"subject"`
	SentAt  time.Time         `json:"sent_at"`
	Tags    map[string]string `json:"tags"`
}

// New loads what Dir holds.
func New(cfg Config) (*Server, error) {
	if cfg.MaxSendRate == 0 {
		cfg.MaxSendRate = DefaultMaxSendRate
	}
	if cfg.MaxMessages == 0 {
		cfg.MaxMessages = DefaultMaxMessages
	}
	if cfg.MaxSendRate < 0 || cfg.MaxMessages < 0 {
		return nil, fmt.Errorf("sesinbox: send rate %v and message limit %d must not be negative", cfg.MaxSendRate, cfg.MaxMessages)
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	kept, err := openStore(cfg.Dir, cfg.MaxMessages, cfg.Log)
	if err != nil {
		return nil, fmt.Errorf("sesinbox: %w", err)
	}
	s := &Server{log: cfg.Log, now: cfg.Now, store: kept, changes: newChanges(), queue: cfg.Feedback, hosts: make(map[string]bool)}
	for _, name := range cfg.Hosts {
		s.hosts[foldHost(name)] = true
	}
	s.SetMaxSendRate(cfg.MaxSendRate)
	s.handler = s.guard(s.routes())
	s.tellAgain()
	return s, nil
}

// ServeHTTP serves the SES v2 wire protocol, the page at / and the JSON of API.md.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.handler.ServeHTTP(w, r) }

// Messages lists newest first.
func (s *Server) Messages() []Message {
	records := s.store.newestFirst()
	messages := make([]Message, len(records))
	for i, rec := range records {
		messages[i] = rec.Message
	}
	return messages
}

// Raw is a message's MIME source, as its recipient gets it.
func (s *Server) Raw(id string) ([]byte, bool) { return s.store.raw(id) }

// SetMaxSendRate changes what GetAccount tells, in messages a second.
func (s *Server) SetMaxSendRate(perSecond float64) { s.rate.Store(math.Float64bits(perSecond)) }

// Close ends the live streams and the queue's long polls, so that an http.Server with open pages shuts down at once
// (give it to http.Server.RegisterOnShutdown). Everything else goes on working.
func (s *Server) Close() {
	s.changes.close()
	if s.queue != nil {
		s.queue.Close()
	}
}

func (s *Server) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v2/email/outbound-emails", s.sendEmail)
	mux.HandleFunc("GET /v2/email/account", s.getAccount)
	mux.HandleFunc("/v2/", unknownOperation)
	mux.HandleFunc("GET /messages", s.listMessages)
	mux.HandleFunc("DELETE /messages", s.deleteMessages)
	mux.HandleFunc("GET /messages/stream", s.streamChanges)
	mux.HandleFunc("GET /messages/{id}", s.showMessage)
	mux.HandleFunc("GET /messages/{id}/raw", s.showRaw)
	mux.HandleFunc("GET /messages/{id}/html", s.showHTML)
	mux.HandleFunc("GET /messages/{id}/parts/{part}", s.downloadPart)
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	if s.queue != nil {
		mux.Handle("POST /{$}", s.queue)
	}
	servePage(mux)
	return explained(mux)
}

// Package natstest starts throwaway JetStream servers inside the test process.
package natstest

import (
	"net"
	"net/url"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/healthmed/healthmed/pkg/bus"
)

const ready = 10 * time.Second

// New returns the configuration to connect to a fresh server on a free loopback port; it is shut down when the test ends.
func New(t testing.TB) bus.Config {
	t.Helper()
	return NewServer(t).Config()
}

// Option changes a server before it starts.
type Option func(*server.Options) error

// WithConfigFile takes accounts, users, permissions and TLS from a nats-server configuration file. Address and log stay
// those of the test, and the store directory where the file names none.
func WithConfigFile(path string) Option {
	return func(o *server.Options) error { return o.ProcessConfigFile(path) }
}

// WithOptions changes the server's options at will.
func WithOptions(change func(*server.Options)) Option {
	return func(o *server.Options) error { change(o); return nil }
}

// Server is a JetStream server that can be stopped and started again on the same port, with the same data.
type Server struct {
	t       testing.TB
	options []Option
	dir     string
	port    int

	mu      sync.Mutex
	running *server.Server
}

// NewServer starts a server; it is shut down when the test ends.
func NewServer(t testing.TB, options ...Option) *Server {
	t.Helper()
	s := &Server{t: t, options: options, dir: t.TempDir(), port: server.RANDOM_PORT}
	s.Start()
	t.Cleanup(s.Stop)
	return s
}

// Config connects to the server, with small limits on what a stream may hold.
func (s *Server) Config() bus.Config {
	address := url.URL{Scheme: "nats", Host: net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port))}
	return bus.Config{URL: address.String(), Replicas: 1, MaxAge: 24 * time.Hour, NotificationsMaxAge: 24 * time.Hour, MaxBytes: 256 << 20}
}

// Start starts a stopped server on the port it had before. It does nothing to a running one.
func (s *Server) Start() {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.running != nil {
		return
	}
	opts := &server.Options{}
	for _, change := range s.options {
		if err := change(opts); err != nil {
			s.t.Fatalf("natstest: options: %v", err)
		}
	}
	opts.Host, opts.Port = "127.0.0.1", s.port
	opts.NoSigs, opts.NoLog, opts.LogFile = true, true, ""
	opts.JetStream = true
	if opts.StoreDir == "" {
		opts.StoreDir = s.dir
	}
	if opts.JetStreamMaxStore == 0 {
		opts.JetStreamMaxStore = 64 << 30 // a bound on reservations, not on what a test writes
	}
	srv, err := server.NewServer(opts)
	if err != nil {
		s.t.Fatalf("natstest: %v", err)
	}
	srv.Start()
	if !srv.ReadyForConnections(ready) {
		srv.Shutdown()
		s.t.Fatalf("natstest: the server was not ready within %s", ready)
	}
	s.port, s.running = srv.Addr().(*net.TCPAddr).Port, srv
}

// Stop shuts the server down and waits; its data stay.
func (s *Server) Stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.running == nil {
		return
	}
	s.running.Shutdown()
	s.running.WaitForShutdown()
	s.running = nil
}

// Connections is how many have been opened since the server started, refused ones included.
func (s *Server) Connections() int {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.running == nil {
		return 0
	}
	v, err := s.running.Varz(nil)
	if err != nil {
		s.t.Fatalf("natstest: %v", err)
	}
	return int(v.TotalConnections)
}

// Restart stops the server and starts it again.
func (s *Server) Restart() {
	s.t.Helper()
	s.Stop()
	s.Start()
}

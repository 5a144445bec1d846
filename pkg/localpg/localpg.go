// Package localpg runs a private PostgreSQL cluster as a child process, for standalone and tests only.
//
// The cluster lives in one folder (Config.Dir): data, password (0600), Unix socket and log. Nobody else on the
// machine can use it: the folder is 0700 and every connection needs the random password. A watcher, a shell that
// holds the read end of a pipe whose write end only this process has, stops the server when this process ends in
// whatever way, kill -9 included; so no server is ever left behind.
package localpg

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/healthmed/healthmed/pkg/config"
	"github.com/healthmed/healthmed/pkg/lockfile"
)

// Config of a private cluster.
type Config struct {
	Dir    string // data folder's parent; made if missing, and closed to others
	Cache  string // where fetched binaries are kept; default the user's cache folder
	Mirror string // of Maven Central, to fetch from; default Maven Central itself
	Fsync  bool   // false only for throwaway test data
	Log    *slog.Logger
	Params map[string]string // extra postgresql.conf settings
	// Throwaway removes what is in Dir, and Dir where possible, once the server has ended, also when this process is
	// killed.
	Throwaway bool
}

// Server is a running cluster.
type Server struct {
	cfg      Config
	proc     *process
	lock     *os.File
	password string
	port     int
	socket   string // folder of the Unix socket; "" when its path would be too long
}

const (
	role = "healthmed"
	// A Unix socket's path is limited to 107 bytes on Linux, 103 on macOS.
	maxSocketPath = 103
	startTries    = 5
	readyPoll     = 10 * time.Millisecond
	lingerLimit   = 20 * time.Second
	stopLimit     = 20 * time.Second
	maxLogBytes   = 10 << 20
)

func (c Config) path(name string) string { return filepath.Join(c.Dir, name) }

// Start makes the cluster on first use, starts it on a free loopback port and waits until it answers.
// As root it drops to another uid. The error says plainly what to install when no binaries can be had.
func Start(ctx context.Context, cfg Config) (_ *Server, err error) {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Dir, err = filepath.Abs(cfg.Dir); err != nil {
		return nil, fmt.Errorf("localpg: %w", err)
	}
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("localpg: %w", err)
	}
	if err := os.Chmod(cfg.Dir, 0o700); err != nil && !errors.Is(err, os.ErrPermission) {
		return nil, fmt.Errorf("localpg: %w", err)
	}
	lock, err := lockfile.Take(cfg.path("lock"))
	if errors.Is(err, os.ErrPermission) {
		return nil, fmt.Errorf("localpg: %s belongs to another user: choose another data folder, or run as that user: %w", cfg.Dir, err)
	}
	if err != nil {
		return nil, fmt.Errorf("localpg: %w", err)
	}
	s := &Server{cfg: cfg, lock: lock}
	defer func() {
		if err != nil {
			_ = lock.Close()
		}
	}()
	bin, err := newFinder(cfg).find(ctx)
	if err != nil {
		return nil, fmt.Errorf("localpg: %w", err)
	}
	own, err := chooseOwner(cfg.Dir, bin)
	if err != nil {
		return nil, fmt.Errorf("localpg: %w", err)
	}
	if s.password, err = password(cfg.path("password")); err != nil {
		return nil, fmt.Errorf("localpg: %w", err)
	}
	if err := own.chown(lock.Name(), cfg.path("password")); err != nil {
		return nil, fmt.Errorf("localpg: %w", err)
	}
	if err := s.initialise(ctx, bin, own); err != nil {
		return nil, err
	}
	if err := endLingering(ctx, cfg.path("data")); err != nil {
		return nil, fmt.Errorf("localpg: %w", err)
	}
	if err := s.launch(ctx, bin, own); err != nil {
		return nil, err
	}
	return s, nil
}

// initialise runs initdb unless the cluster exists. It works in a folder of another name and renames it at the
// end, so that an interrupted first start leaves nothing that looks like a cluster.
func (s *Server) initialise(ctx context.Context, bin string, own owner) error {
	data, fresh := s.cfg.path("data"), s.cfg.path("data.new")
	if _, err := os.Stat(filepath.Join(data, "PG_VERSION")); err == nil {
		return nil
	}
	if entries, err := os.ReadDir(data); err == nil && len(entries) > 0 {
		return fmt.Errorf("localpg: %s holds something that is no PostgreSQL cluster: move it away to start afresh", data)
	}
	if err := os.RemoveAll(fresh); err != nil {
		return fmt.Errorf("localpg: %w", err)
	}
	pwfile := s.cfg.path("initdb.password")
	if err := os.WriteFile(pwfile, []byte(s.password), 0o600); err != nil {
		return fmt.Errorf("localpg: %w", err)
	}
	defer func() { _ = os.Remove(pwfile) }()
	if err := own.chown(s.cfg.Dir, pwfile); err != nil {
		return fmt.Errorf("localpg: %w", err)
	}
	began := time.Now()
	// C.UTF-8 folds the case of accented letters and is the same on every machine; where the system lacks it, C.
	var out []byte
	var err error
	for _, locale := range []string{"C.UTF-8", "C"} {
		args := []string{"-D", fresh, "-U", role, "-E", "UTF8", "--locale=" + locale,
			"--auth=scram-sha-256", "--pwfile=" + pwfile}
		if !s.cfg.Fsync {
			args = append(args, "--no-sync")
		}
		cmd := own.command(ctx, s.cfg.Dir, filepath.Join(bin, "initdb"), args...)
		if out, err = cmd.CombinedOutput(); err == nil {
			break
		}
	}
	if err != nil {
		return fmt.Errorf("localpg: initdb: %w: %s", err, lastLines(out))
	}
	if err := os.Rename(fresh, data); err != nil {
		return fmt.Errorf("localpg: %w", err)
	}
	s.cfg.Log.InfoContext(ctx, "database cluster made", "dir", data, "took", time.Since(began))
	return nil
}

// launch starts the server and waits until it answers. A port can be lost between finding and binding it, and a
// killed predecessor's memory can take a moment to go: both are tried again.
func (s *Server) launch(ctx context.Context, bin string, own owner) error {
	socket := s.cfg.path("run")
	if err := os.MkdirAll(socket, 0o700); err != nil {
		return fmt.Errorf("localpg: %w", err)
	}
	if err := own.chown(s.cfg.Dir, socket); err != nil {
		return fmt.Errorf("localpg: %w", err)
	}
	// In a connection string a comma separates hosts.
	if len(socket)+len("/.s.PGSQL.65535") <= maxSocketPath && !strings.Contains(socket, ",") {
		s.socket = socket
	}
	for try := 1; ; try++ {
		err := s.launchOnce(ctx, bin, own)
		if err == nil || try == startTries || !passing(err) {
			return err
		}
		if !sleep(ctx, time.Duration(try)*100*time.Millisecond) {
			return ctx.Err()
		}
	}
}

func (s *Server) launchOnce(ctx context.Context, bin string, own owner) error {
	port, err := freePort(ctx)
	if err != nil {
		return fmt.Errorf("localpg: %w", err)
	}
	s.port = port
	proc, err := startProcess(s.cfg, own, filepath.Join(bin, "postgres"), s.args())
	if err != nil {
		return fmt.Errorf("localpg: %w", err)
	}
	for {
		err := s.ping(ctx)
		if err == nil {
			s.proc = proc
			s.cfg.Log.InfoContext(ctx, "database server started", "port", port, "dir", s.cfg.Dir)
			return nil
		}
		select {
		case <-proc.done:
			return fmt.Errorf("localpg: the server ended at start: %s", proc.logTail())
		case <-ctx.Done():
			proc.stop(context.WithoutCancel(ctx), stopLimit)
			return fmt.Errorf("localpg: the server does not answer: %w (%w): %s", ctx.Err(), err, proc.logTail())
		case <-time.After(readyPoll):
		}
	}
}

func (s *Server) args() []string {
	set := map[string]string{
		"listen_addresses":        "127.0.0.1",
		"port":                    strconv.Itoa(s.port),
		"unix_socket_directories": "",
		"max_connections":         "200",
		"shared_buffers":          "128MB",
		// A private cluster has no replicas and no archive.
		"wal_level":         "minimal",
		"max_wal_senders":   "0",
		"logging_collector": "off",
		"log_line_prefix":   "%m [%p] %d ",
	}
	if s.socket != "" {
		set["unix_socket_directories"] = `"` + strings.ReplaceAll(s.socket, `"`, `""`) + `"` // a list of names
	}
	if !s.cfg.Fsync {
		set["fsync"], set["synchronous_commit"], set["full_page_writes"] = "off", "off", "off"
	}
	for k, v := range s.cfg.Params {
		set[k] = v
	}
	args := []string{"-D", s.cfg.path("data")}
	for k, v := range set {
		args = append(args, "-c", k+"="+v)
	}
	return args
}

func (s *Server) ping(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	conn, err := pgx.Connect(ctx, s.url("postgres"))
	if err != nil {
		return err
	}
	return conn.Close(ctx)
}

func (s *Server) url(database string) string {
	u := url.URL{Scheme: "postgres", User: url.UserPassword(role, s.password), Path: "/" + database}
	q := url.Values{"sslmode": {"disable"}}
	if s.socket != "" {
		q.Set("host", s.socket)
		q.Set("port", strconv.Itoa(s.port))
	} else {
		u.Host = s.Addr()
	}
	u.RawQuery = strings.ReplaceAll(q.Encode(), "+", "%20") // libpq and pgx know no "+" for a space
	return u.String()
}

// Addr is the server's TCP address, for tools that cannot use the URL's Unix socket.
func (s *Server) Addr() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port)) }

// URL is the connection string of a database on the server, which is created if missing.
func (s *Server) URL(ctx context.Context, database string) (config.Secret, error) {
	conn, err := pgx.Connect(ctx, s.url("postgres"))
	if err != nil {
		return "", fmt.Errorf("localpg: %w", err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	var exists bool
	if err := conn.QueryRow(ctx, "SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)", database).Scan(&exists); err != nil {
		return "", fmt.Errorf("localpg: %w", err)
	}
	if !exists {
		_, err := conn.Exec(ctx, "CREATE DATABASE "+pgx.Identifier{database}.Sanitize())
		var pg *pgconn.PgError
		const duplicate, duplicateRow = "42P04", "23505" // another caller was quicker
		if err != nil && (!errors.As(err, &pg) || (pg.Code != duplicate && pg.Code != duplicateRow)) {
			return "", fmt.Errorf("localpg: create database: %w", err)
		}
	}
	return config.Secret(s.url(database)), nil
}

// Done is closed when the server process has ended, wanted or not.
func (s *Server) Done() <-chan struct{} { return s.proc.done }

// Stop ends the server (fast shutdown) and waits. When ctx ends first the server is killed, which is safe: the next
// start recovers.
func (s *Server) Stop(ctx context.Context) error {
	s.proc.stop(ctx, stopLimit)
	return s.lock.Close()
}

// password reads the cluster's password, or makes one of 160 random bits.
func password(file string) (string, error) {
	b, err := os.ReadFile(file)
	if err == nil && len(b) > 0 {
		return strings.TrimSpace(string(b)), nil
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return "", err
	}
	p := rand.Text()
	return p, os.WriteFile(file, []byte(p), 0o600)
}

func freePort(ctx context.Context) (int, error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}

// passing tells failures of a start that another try can mend.
func passing(err error) bool {
	for _, s := range []string{"could not bind", "Address already in use", "pre-existing shared memory", "still in use"} {
		if strings.Contains(err.Error(), s) {
			return true
		}
	}
	return false
}

func sleep(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

func lastLines(b []byte) string {
	const n = 8
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "; ")
}

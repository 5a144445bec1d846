// Package system runs the built programs as processes, for tests that see the system as its users do.
package system

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Standalone is a running deploy/standalone with its addresses.
type Standalone struct {
	Origin  string // public origin, http://127.0.0.1:port
	Inbox   string // inbox origin
	NATS    string // nats://127.0.0.1:port
	Ops     string // operations origin: each service's metrics and health under its name
	DataDir string
	Ready   time.Duration // from start to a 200 on /readyz

	cmd    *exec.Cmd
	output *buffer
	exited chan struct{}
	err    error
}

// Start builds the program (the Go build cache makes repeats cheap), starts it on free ports over dataDir and
// waits until it is ready. It is stopped when the test ends, if the test hasn't done so.
func Start(t testing.TB, dataDir string, env ...string) *Standalone {
	t.Helper()
	s := &Standalone{DataDir: dataDir, output: &buffer{}, exited: make(chan struct{})}
	ports, err := FreeAddrs(t.Context(), 4)
	if err != nil {
		t.Fatal(err)
	}
	s.Origin = "http://" + ports[0]
	s.Inbox = "http://" + ports[1]
	s.NATS = "nats://" + ports[2]
	s.Ops = "http://" + ports[3]
	s.cmd = exec.Command(Build(t, "deploy/standalone"))
	s.cmd.Env = append(os.Environ(), "HTTP_ADDR="+ports[0], "INBOX_ADDR="+ports[1], "NATS_ADDR="+ports[2], "OPS_ADDR="+ports[3],
		"DATA_DIR="+dataDir, "DATABASE_URL=", "AWS_ENDPOINT_URL_SESV2=")
	s.cmd.Env = append(s.cmd.Env, env...)
	s.cmd.Stdout, s.cmd.Stderr = s.output, s.output
	started := time.Now()
	if err := s.cmd.Start(); err != nil {
		t.Fatalf("start standalone: %v", err)
	}
	go func() {
		s.err = s.cmd.Wait()
		close(s.exited)
	}()
	t.Cleanup(func() {
		_ = s.cmd.Process.Signal(syscall.SIGTERM) // may have ended already
		select {
		case <-s.exited:
		case <-time.After(15 * time.Second):
			_ = s.cmd.Process.Kill()
			<-s.exited
		}
		if t.Failed() {
			t.Logf("standalone printed:\n%s", s.Output())
			if log, err := os.ReadFile(filepath.Join(dataDir, "logs", "healthmed.log")); err == nil {
				t.Logf("its log, the end:\n%s", log[max(0, len(log)-8000):])
			}
		}
	})
	Eventually(t, 60*time.Second, "standalone is ready", func() error {
		select {
		case <-s.exited:
			t.Fatalf("standalone ended before it was ready: %v", s.err)
		default:
		}
		return getOK(t.Context(), s.Origin+"/readyz")
	})
	s.Ready = time.Since(started)
	return s
}

// DataDir is a temporary folder that PostgreSQL, which doesn't run as root, may reach too.
func DataDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "healthmed-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) }) // what remains is in the system's temporary folder
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// Stop sends SIGTERM and returns how long the program took to end; an unclean exit fails the test.
func (s *Standalone) Stop(t testing.TB) time.Duration {
	t.Helper()
	began := time.Now()
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatalf("signal: %v", err)
	}
	select {
	case <-s.exited:
	case <-time.After(20 * time.Second):
		t.Fatal("standalone did not end within 20 s of SIGTERM")
	}
	if s.err != nil {
		t.Errorf("standalone ended with %v, want exit status 0", s.err)
	}
	return time.Since(began)
}

// Output is what the program has printed so far.
func (s *Standalone) Output() string { return s.output.String() }

// Build compiles the program of a folder (relative to the repository's root) and returns its path.
func Build(t testing.TB, dir string) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), filepath.Base(dir))
	cmd := exec.Command("go", "build", "-o", program, "./"+dir)
	cmd.Dir = root()
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build %s: %v\n%s", dir, err, out)
	}
	return program
}

// root is the repository's, two folders above this file.
func root() string {
	_, file, _, _ := runtime.Caller(0)
	return filepath.Join(filepath.Dir(file), "..", "..")
}

// Eventually waits until check returns nil, and fails the test with its last error otherwise.
func Eventually(t testing.TB, limit time.Duration, what string, check func() error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := check()
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("%s: not within %s: %v", what, limit, err)
		case <-tick.C:
		}
	}
}

func getOK(ctx context.Context, url string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("status %d", res.StatusCode)
	}
	return nil
}

// buffer collects a process's output while others read it.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

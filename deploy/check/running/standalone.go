// Package running starts the real system for tests of what is deployed with it.
package running

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Standalone is the running system: the real program, on ports that were free.
type Standalone struct {
	Origin   string            // public
	Metrics  string            // of OPS_ADDR
	Services map[string]string // origins behind the gateway, by name
}

// Root is the repository's folder.
func Root() string {
	_, file, _, _ := runtime.Caller(0)
	return filepath.Join(filepath.Dir(file), "..", "..", "..")
}

// output is what the program prints, read while it writes.
type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

// Start builds and starts deploy/standalone with further settings, and waits until it says where it is.
func Start(t *testing.T, settings ...string) Standalone {
	t.Helper()
	t.Setenv("GOWORK", "") // these tests run outside of the workspace, the program is built in it
	program := filepath.Join(t.TempDir(), "healthmed")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", program, "./deploy/standalone")
	build.Dir = Root()
	if printed, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, printed)
	}
	dir, err := os.MkdirTemp("", "healthmed-") //nolint:usetesting // PostgreSQL, which doesn't run as root, must reach it
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) }) // what remains is in the system's temporary folder
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	printed, exited := &output{}, make(chan struct{})
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), program) // the clean-up stops it, gently
	const free = "127.0.0.1:0"
	cmd.Env = append(os.Environ(), "HTTP_ADDR="+free, "INBOX_ADDR="+free, "NATS_ADDR="+free, "OPS_ADDR="+free,
		"DATA_DIR="+dir, "LOG_FILE=-", "DATABASE_URL=", "AWS_ENDPOINT_URL_SESV2=")
	cmd.Env = append(cmd.Env, settings...)
	cmd.Stdout, cmd.Stderr = printed, printed
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = cmd.Wait() // how it ended is in what it printed
		close(exited)
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM) // may have ended already
		select {
		case <-exited:
		case <-time.After(20 * time.Second):
			_ = cmd.Process.Kill()
			<-exited
		}
		if t.Failed() {
			text := printed.String()
			t.Logf("the end of what the program printed:\n%s", text[max(0, len(text)-4000):])
		}
	})
	s := Standalone{Services: map[string]string{}}
	Eventually(t, "the program says where it is", func() error {
		api := regexp.MustCompile(`(?m)^  API +(\S+)`).FindStringSubmatch(printed.String())
		metrics := regexp.MustCompile(`(?m)^  Metrics +(\S+)/scheduling/metrics`).FindStringSubmatch(printed.String())
		if api == nil || metrics == nil {
			return errors.New("not yet")
		}
		s.Origin, s.Metrics = api[1], metrics[1]
		for _, m := range regexp.MustCompile(`"service listens","service":"(\w+)","origin":"([^"]+)"`).FindAllStringSubmatch(printed.String(), -1) {
			s.Services[m[1]] = m[2]
		}
		return nil
	})
	return s
}

// Book makes an appointment as the demo patient with a demo doctor.
func (s Standalone) Book(t *testing.T) {
	t.Helper()
	var session struct {
		AccessToken string `json:"access_token"`
	}
	s.Call(t, "", "/v1/auth/login", map[string]string{"email": "carla.dias@healthmed.example", "password": "Demo#2026"}, http.StatusOK, &session)
	var doctors struct{ Items []struct{ ID string } }
	s.Call(t, session.AccessToken, "/v1/doctors?name=ana", nil, http.StatusOK, &doctors)
	if len(doctors.Items) == 0 {
		t.Fatal("no demo doctor")
	}
	var free struct {
		Slots []struct {
			StartsAt string `json:"starts_at"`
		}
	}
	now := time.Now()
	query := url.Values{"from": {now.Format(time.DateOnly)}, "to": {now.AddDate(0, 0, 7).Format(time.DateOnly)}}
	s.Call(t, session.AccessToken, "/v1/doctors/"+doctors.Items[0].ID+"/slots?"+query.Encode(), nil, http.StatusOK, &free)
	if len(free.Slots) == 0 {
		t.Fatal("the demo doctor has no free time")
	}
	s.Call(t, session.AccessToken, "/v1/appointments", map[string]string{"doctor_id": doctors.Items[0].ID, "starts_at": free.Slots[0].StartsAt}, http.StatusCreated, nil)
}

// Call sends a request, a POST if there is a body, and reads the answer into out.
func (s Standalone) Call(t *testing.T, token, path string, body any, want int, out any) {
	t.Helper()
	method, payload := http.MethodGet, []byte(nil)
	if body != nil {
		method = http.MethodPost
		payload, _ = json.Marshal(body) // maps of strings
	}
	req, err := http.NewRequestWithContext(t.Context(), method, s.Origin+path, bytes.NewReader(payload))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Idempotency-Key", "deploy-check")
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	res, err := (&http.Client{Timeout: 30 * time.Second}).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode != want {
		t.Fatalf("%s %s: status %d, want %d", method, path, res.StatusCode, want)
	}
	if out != nil {
		if err := json.NewDecoder(res.Body).Decode(out); err != nil {
			t.Fatalf("%s %s: %v", method, path, err)
		}
	}
}

// Eventually waits until check returns nil.
func Eventually(t *testing.T, what string, check func() error) {
	t.Helper()
	const limit = 90 * time.Second
	deadline := time.Now().Add(limit)
	for {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal(fmt.Errorf("%s: not within %s: %w", what, limit, err))
		}
		time.Sleep(20 * time.Millisecond)
	}
}

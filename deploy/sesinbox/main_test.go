package main

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/healthmed/healthmed/pkg/config"
)

const mail = `{"FromEmailAddress": "me@example.com", "Destination": {"ToAddresses": ["you@example.com"]},
	"Content": {"Simple": {"Subject": {"Data": "Kept"}, "Body": {"Text": {"Data": "x"}}}}}`

// running starts the program and gives its address and a function that stops it and returns its error.
func running(t *testing.T, dir string) (addr string, stop func() error) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- run(ctx, Config{Listener: listener, Dir: dir}, slog.New(slog.DiscardHandler)) }()
	t.Cleanup(cancel)
	return listener.Addr().String(), func() error {
		cancel()
		return <-done
	}
}

func get(t *testing.T, url string) *http.Response {
	t.Helper()
	answer, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { answer.Body.Close() })
	return answer
}

func TestRun_KeepsMessagesAndStopsAtOnceThoughAPageIsOpen(t *testing.T) {
	dir := t.TempDir()
	addr, stop := running(t, dir)
	if err := healthcheck(t.Context(), addr); err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+addr+"/v2/email/outbound-emails", strings.NewReader(mail))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=dev, SignedHeaders=host, Signature=dev")
	sent, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer sent.Body.Close()
	if sent.StatusCode != http.StatusOK {
		t.Fatalf("sending: %s", sent.Status)
	}
	stream := get(t, "http://"+addr+"/messages/stream")
	if _, err := io.ReadFull(stream.Body, make([]byte, 6)); err != nil { // it is open
		t.Fatal(err)
	}
	began := time.Now()
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took >= stopWithin {
		t.Errorf("stopping took %v", took)
	}
	if err := healthcheck(t.Context(), addr); err == nil {
		t.Error("healthy though stopped")
	}

	addr, stop = running(t, dir)
	body, err := io.ReadAll(get(t, "http://"+addr+"/messages").Body)
	if err != nil || !strings.Contains(string(body), `"subject":"Kept"`) {
		t.Errorf("after a restart: %s, %v", body, err)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}

func TestHealthcheck_SaysWhatIsWrong(t *testing.T) {
	for _, addr := range []string{"", "127.0.0.1", "127.0.0.1:1"} {
		if err := healthcheck(t.Context(), addr); err == nil {
			t.Errorf("%q is healthy", addr)
		}
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	other := &http.Server{Handler: http.NotFoundHandler(), ReadHeaderTimeout: time.Second}
	go func() { _ = other.Serve(listener) }()
	defer other.Close()
	if err := healthcheck(t.Context(), listener.Addr().String()); err == nil || !strings.Contains(err.Error(), "404") {
		t.Errorf("another server: %v", err)
	}
}

func TestConfig_ListensOnLoopbackUnlessToldOtherwise(t *testing.T) {
	cfg, err := config.LoadFrom[Config](map[string]string{"INBOX_HOSTS": "a.example,b.example"})
	if err != nil {
		t.Fatal(err)
	}
	if cfg.Addr != "127.0.0.1:8025" || cfg.Dir != "" || len(cfg.Hosts) != 2 {
		t.Errorf("config = %+v", cfg)
	}
}

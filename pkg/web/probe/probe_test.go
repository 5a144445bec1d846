package probe_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/healthmed/healthmed/pkg/web/probe"
)

func TestLocal(t *testing.T) {
	mux := http.NewServeMux()
	mux.HandleFunc("/good", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	mux.HandleFunc("/bad", func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "the database is away", http.StatusServiceUnavailable)
	})
	mux.HandleFunc("/hangs", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	server := httptest.NewServer(mux)
	defer server.Close()
	_, port, err := net.SplitHostPort(server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("HTTP_PROXY", "http://127.0.0.1:1")

	for _, addr := range []string{":" + port, "0.0.0.0:" + port, "[::]:" + port, "127.0.0.1:" + port} {
		if err := probe.Local(t.Context(), addr, "/good"); err != nil {
			t.Errorf("%s: %v", addr, err)
		}
	}
	for path, want := range map[string]string{"/bad": "503 Service Unavailable the database is away", "/none": "404"} {
		if err := probe.Local(t.Context(), ":"+port, path); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", path, err, want)
		}
	}
	if err := probe.Local(t.Context(), ":"+port, "/hangs"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a server that hangs: %v", err)
	}
	if err := probe.Local(t.Context(), "9090", "/good"); err == nil {
		t.Error("an address without a colon goes well")
	}
	if err := probe.Ops(t.Context(), ":"+port); err == nil || !strings.Contains(err.Error(), "/startupz answers 404") {
		t.Errorf("Ops: %v", err)
	}
}

// Package probe asks a server on this machine how it is, for containers that have no shell to ask with.
package probe

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

// limit is how long an answer may take: less than the supervisors of deploy wait for the probe.
const limit = 2500 * time.Millisecond

// Local asks for path at addr, a host:port to listen on, whose host may be empty or unspecified. It returns nil for an
// answer 2xx, else what the server says.
func Local(ctx context.Context, addr, path string) error {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return err
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+net.JoinHostPort(host, port)+path, nil)
	if err != nil {
		return err
	}
	// Not by a proxy that the environment names for everything else.
	answer, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode/100 == 2 {
		return nil
	}
	said, _ := io.ReadAll(io.LimitReader(answer.Body, 1<<10))
	return fmt.Errorf("%s answers %s %s", path, answer.Status, strings.TrimSpace(string(said)))
}

// Ops asks the operations port of a service, at OPS_ADDR or where that is by default, whether it is up: it was ready once
// and still answers.
func Ops(ctx context.Context, addr string) error {
	if addr == "" {
		addr = ":9090"
	}
	if err := Local(ctx, addr, "/startupz"); err != nil {
		return fmt.Errorf("OPS_ADDR %s: %w", addr, err)
	}
	return nil
}

// Command users runs the users service. Sub-commands: migrate applies migrations; healthcheck asks a running service
// whether it is ready; outbox looks after the events that wait to be published; rotate-keys encrypts anew under the current
// keys; audit-drop ends the retention of old audit entries.
package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/healthmed/healthmed/pkg/config"
	"github.com/healthmed/healthmed/services/users"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "users:", err)
		stop()
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	command := ""
	if len(args) > 0 {
		command = args[0]
	}
	if command == "healthcheck" {
		return healthcheck(ctx)
	}
	cfg, err := config.Load[users.Config]()
	if err != nil {
		return err
	}
	switch command {
	case "":
		return users.Run(ctx, cfg)
	case "migrate":
		return users.Migrate(ctx, cfg)
	}
	return users.Command(ctx, cfg, args, os.Stdout)
}

// healthcheck asks the operations port of this machine, for a container that has no shell.
func healthcheck(ctx context.Context) error {
	addr := os.Getenv("OPS_ADDR")
	if addr == "" {
		addr = ":9090"
	}
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		return fmt.Errorf("OPS_ADDR: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://127.0.0.1:"+port+"/readyz", nil)
	if err != nil {
		return err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return errors.New("not ready: " + res.Status)
	}
	return nil
}

// Command users runs the users service. Sub-commands: migrate applies migrations; healthcheck asks a running service
// whether it is up; outbox looks after the events that wait to be published; rotate-keys encrypts anew under the current
// keys; audit-drop ends the retention of old audit entries.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/healthmed/healthmed/pkg/config"
	"github.com/healthmed/healthmed/pkg/web/probe"
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
		return probe.Ops(ctx, os.Getenv("OPS_ADDR"))
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

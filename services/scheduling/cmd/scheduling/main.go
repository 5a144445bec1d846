// Command scheduling runs the scheduling service.
//
//	scheduling                            run the service
//	scheduling migrate                    apply the database migrations and exit
//	scheduling healthcheck                exit 0 if the service at OPS_ADDR is up
//	scheduling outbox status              what waits to be published, and what is in trouble
//	scheduling outbox replay --since 48h  publish again what was created since then
//	scheduling outbox redrive [ID ...]    try quarantined events again
//	scheduling projection rebuild         make the projection of people anew from the stream USERS
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/healthmed/healthmed/pkg/config"
	"github.com/healthmed/healthmed/pkg/web/probe"
	"github.com/healthmed/healthmed/services/scheduling"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "scheduling:", err)
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
	cfg, err := config.Load[scheduling.Config]()
	if err != nil {
		return err
	}
	switch command {
	case "":
		return scheduling.Run(ctx, cfg)
	case "migrate":
		return scheduling.Migrate(ctx, cfg)
	case "outbox":
		return scheduling.Outbox(ctx, cfg, args[1:], os.Stdout)
	case "projection":
		return scheduling.Projection(ctx, cfg, args[1:], os.Stdout)
	}
	return fmt.Errorf("unknown sub-command %q: want none, migrate, healthcheck, outbox or projection", command)
}

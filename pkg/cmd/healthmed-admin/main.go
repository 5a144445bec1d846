// Command healthmed-admin manages who may use the event server: keys of the services, and partners, the other systems that
// subscribe to events. Without arguments it prints its usage.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/healthmed/healthmed/pkg/access"
	"github.com/healthmed/healthmed/pkg/config"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	cfg, err := config.Load[access.Config]()
	if err == nil {
		err = access.Command(ctx, cfg, os.Args[1:], os.Stdout, os.Stderr)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "healthmed-admin:", err)
		stop()
		os.Exit(1)
	}
}

// Command healthmed runs the whole system in one process tree, for a laptop: PostgreSQL as a private child
// process, a JetStream server, an SES endpoint with an inbox page, the three services and a gateway. It runs the
// same Run functions and the same clients as production; only addresses differ.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/healthmed/healthmed/pkg/config"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	cfg, err := config.Load[Config]()
	if err == nil {
		err = run(ctx, cfg, os.Stdout)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "healthmed:", err)
		os.Exit(1)
	}
}

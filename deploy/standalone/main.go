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
	if err := command(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "healthmed:", err)
		stop()
		os.Exit(1)
	}
}

// command refuses arguments: whoever gives one wants something else than a system that starts.
func command(ctx context.Context, args []string) error {
	if len(args) > 0 {
		return fmt.Errorf("unknown argument %q: healthmed takes none, settings are environment variables (docs/configuration.md)", args[0])
	}
	cfg, err := config.Load[Config]()
	if err != nil {
		return err
	}
	return run(ctx, cfg, os.Stdout)
}

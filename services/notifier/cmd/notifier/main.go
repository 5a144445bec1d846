// Command notifier sends e-mails about appointments and accounts.
//
//	notifier               run the service
//	notifier migrate       apply the database migrations and exit
//	notifier preview DIR   write every message to a folder, to look at them
//	notifier healthcheck   exit 0 if the service at OPS_ADDR is up
//
//	notifier outbox status | replay --since 48h | redrive [ID ...]
//	notifier dead-letters list | redrive ID ... | redrive --all
//	notifier projection rebuild   what is known of people and appointments, anew from the streams; sends nothing
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"syscall"

	"github.com/healthmed/healthmed/pkg/config"
	"github.com/healthmed/healthmed/pkg/web/probe"
	notifier "github.com/healthmed/healthmed/services/notifier"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "notifier:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	command := ""
	if len(args) > 0 {
		command = args[0]
	}
	switch command {
	case "":
		tuneCollector()
		return with(ctx, notifier.Run)
	case "migrate":
		return with(ctx, notifier.Migrate)
	case "preview":
		return preview(args[1:])
	case "outbox":
		return with(ctx, printing(notifier.Outbox, args[1:]))
	case "projection":
		return with(ctx, printing(notifier.Projection, args[1:]))
	case "dead-letters":
		return with(ctx, printing(notifier.DeadLetters, args[1:]))
	case "healthcheck":
		return probe.Ops(ctx, os.Getenv("OPS_ADDR"))
	}
	return fmt.Errorf("unknown command %q: none, migrate, preview, healthcheck, outbox, projection or dead-letters", command)
}

// tuneCollector trades memory for time: what lives is small (some 10 MiB), and each message leaves 200 KiB behind, so
// that a collection at every doubling takes a tenth of the processor while a queue is worked off. GOGC overrides it.
func tuneCollector() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(400)
	}
}

// preview takes a folder and nothing else: an option that it doesn't know must not become one.
func preview(args []string) error {
	dir := "preview"
	if len(args) > 0 {
		dir = args[0]
	}
	if len(args) > 1 || dir == "" || dir[0] == '-' {
		return errors.New("usage: notifier preview [DIR]")
	}
	if err := notifier.Preview(dir); err != nil {
		return err
	}
	fmt.Println("open", filepath.Join(dir, "index.html"))
	return nil
}

// printing is a sub-command that writes to standard output.
func printing(do func(context.Context, notifier.Config, []string, io.Writer) error, args []string) func(context.Context, notifier.Config) error {
	return func(ctx context.Context, cfg notifier.Config) error { return do(ctx, cfg, args, os.Stdout) }
}

func with(ctx context.Context, do func(context.Context, notifier.Config) error) error {
	cfg, err := config.Load[notifier.Config]()
	if err != nil {
		return err
	}
	return do(ctx, cfg)
}

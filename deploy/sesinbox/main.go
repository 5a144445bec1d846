// Command sesinbox runs the Amazon SES v2 endpoint for development by itself, with the inbox page on which the sent
// e-mails are read. Point an SES client at it with AWS_ENDPOINT_URL_SESV2.
//
//	sesinbox              runs until it is told to stop
//	sesinbox healthcheck  asks the one that runs here whether it is well; exit code 0 or 1
package main

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/healthmed/healthmed/pkg/config"
	"github.com/healthmed/healthmed/pkg/sesinbox"
	"github.com/healthmed/healthmed/pkg/sesinbox/queue"
	"github.com/healthmed/healthmed/pkg/web/probe"
)

// stopWithin is how long requests in progress have when the program is told to stop.
const stopWithin = 5 * time.Second

// Config is read from the environment.
type Config struct {
	// Addr to listen on. The endpoint verifies no signature and shows what it holds to whoever asks: keep it on
	// loopback or in a private container network.
	Addr string `env:"INBOX_ADDR" envDefault:"127.0.0.1:8025"`
	// Dir keeps the messages; empty keeps them in memory.
	Dir string `env:"DATA_DIR"`
	// MaxSendRate is what GetAccount tells, in messages a second.
	MaxSendRate float64 `env:"INBOX_MAX_SEND_RATE" envDefault:"200"`
	// MaxMessages are kept; the oldest are dropped beyond.
	MaxMessages int `env:"INBOX_MAX_MESSAGES" envDefault:"10000"`
	// Queue is the name of the SQS queue with the e-mails' feedback (sends, deliveries, simulated bounces), served on
	// the same address: AWS_ENDPOINT_URL_SQS points here too.
	Queue string `env:"INBOX_QUEUE" envDefault:"ses-feedback"`
	// Hosts are further names under which browsers may open the page.
	Hosts []string `env:"INBOX_HOSTS"`

	// Listener overrides Addr.
	Listener net.Listener `env:"-"`
}

func main() {
	log := slog.New(slog.NewJSONHandler(os.Stderr, nil))
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	cfg, err := config.Load[Config]()
	if err == nil {
		switch args := os.Args[1:]; {
		case len(args) == 0:
			err = run(ctx, cfg, log)
		case len(args) == 1 && args[0] == "healthcheck":
			err = healthcheck(ctx, cfg.Addr)
		default:
			err = errors.New("usage: sesinbox [healthcheck]")
		}
	}
	if err != nil {
		log.Error("sesinbox failed", "error", err)
		stop()
		os.Exit(1)
	}
}

// run serves until ctx ends.
func run(ctx context.Context, cfg Config, log *slog.Logger) error {
	inbox, err := sesinbox.New(sesinbox.Config{
		Dir: cfg.Dir, MaxSendRate: cfg.MaxSendRate, MaxMessages: cfg.MaxMessages, Hosts: cfg.Hosts, Log: log,
		Feedback: queue.New(cfg.Queue, 0),
	})
	if err != nil {
		return err
	}
	listener := cfg.Listener
	if listener == nil {
		if listener, err = (&net.ListenConfig{}).Listen(ctx, "tcp", cfg.Addr); err != nil {
			return err
		}
	}
	server := &http.Server{
		Handler:           inbox,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       30 * time.Second,
		WriteTimeout:      30 * time.Second, // live streams extend their own
		IdleTimeout:       2 * time.Minute,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}
	server.RegisterOnShutdown(inbox.Close)
	log.Info("inbox is open", "url", "http://"+listener.Addr().String())

	failed := make(chan error, 1)
	go func() { failed <- server.Serve(listener) }()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	within, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopWithin)
	defer cancel()
	return server.Shutdown(within)
}

// healthcheck asks the endpoint that listens on addr, from the same machine.
func healthcheck(ctx context.Context, addr string) error {
	return probe.Local(ctx, addr, "/healthz")
}

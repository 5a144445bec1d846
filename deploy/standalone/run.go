package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/healthmed/healthmed/pkg/lockfile"
)

// drain bounds each step of stopping; all of them together stay under the 10 s that API.md promises.
const drain = 4 * time.Second

// run starts everything, prints where it is, and stops everything when ctx ends.
func run(ctx context.Context, cfg Config, out io.Writer) (err error) {
	lock, err := takeFolder(cfg.DataDir)
	if err != nil {
		return err
	}
	defer lock.Close()
	public, err := listen(ctx, "HTTP_ADDR", cfg.HTTPAddr)
	if err != nil {
		return err
	}
	defer public.Close()
	inboxListener, err := listen(ctx, "INBOX_ADDR", cfg.InboxAddr)
	if err != nil {
		return err
	}
	defer inboxListener.Close()
	logs, err := openLog(cfg)
	if err != nil {
		return err
	}
	defer logs.Close()
	log := slog.New(slog.NewJSONHandler(logs, nil))

	parts, err := startParts(ctx, cfg, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, parts.stop()) }()
	inboxOrigin := origin(inboxListener)
	services, err := configure(ctx, cfg, parts, origin(public), inboxOrigin, logs)
	if err != nil {
		return err
	}
	defer services.close()
	if err := services.migrate(ctx); err != nil {
		return err
	}

	// The servers outlive ctx a little: first the public origin stops taking requests, then the services end.
	serving, stopServices := context.WithCancel(context.WithoutCancel(ctx))
	defer stopServices()
	group, failed := errgroup.WithContext(serving)
	if err := serveOperations(ctx, failed, &cfg, services, group); err != nil {
		return err
	}
	inboxServer := &http.Server{Handler: parts.inbox, ReadHeaderTimeout: 10 * time.Second}
	inboxServer.RegisterOnShutdown(parts.inbox.Close) // readers of the page hold a stream open
	gateway := newGateway(services.list(), log)
	gatewayServer := &http.Server{Handler: gateway, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: time.Minute}
	group.Go(func() error { return serve(inboxServer, inboxListener) })
	group.Go(func() error { return serve(gatewayServer, public) })
	for _, s := range services.list() {
		log.InfoContext(ctx, "service listens", "service", s.name, "origin", s.origin.String())
	}
	services.run(failed, group)
	group.Go(func() error { return parts.watch(failed) })
	group.Go(func() error {
		err := announce(ctx, failed, cfg, gateway, addresses{origin(public), inboxOrigin, parts.natsURL()}, out)
		if err == nil {
			select {
			case <-ctx.Done():
				fmt.Fprintln(out, "\nStopping.")
			case <-failed.Done():
			}
		}
		return errors.Join(err, shutdown(gatewayServer, inboxServer, stopServices))
	})
	return group.Wait()
}

// takeFolder makes the data folder, and keeps it to one program before anything in it is opened.
func takeFolder(dir string) (io.Closer, error) {
	if err := os.MkdirAll(filepath.Join(dir, "logs"), 0o755); err != nil {
		return nil, fmt.Errorf("DATA_DIR: %w", err)
	}
	lock, err := lockfile.Take(filepath.Join(dir, "lock"))
	if errors.Is(err, os.ErrPermission) {
		return nil, fmt.Errorf("DATA_DIR: %s belongs to another user: choose another folder, or run as that user: %w", dir, err)
	}
	if err != nil {
		return nil, fmt.Errorf("DATA_DIR: %w", err)
	}
	return lock, nil
}

// shutdown ends the public origin, then the services, then the inbox, which takes their last e-mails.
func shutdown(gateway, inbox *http.Server, stopServices context.CancelFunc) error {
	ctx, cancel := context.WithTimeout(context.Background(), drain)
	defer cancel()
	err := gateway.Shutdown(ctx)
	stopServices()
	return errors.Join(ignoreTimeout(err), ignoreTimeout(inbox.Shutdown(ctx)))
}

func ignoreTimeout(err error) error {
	if errors.Is(err, context.DeadlineExceeded) {
		return nil
	}
	return err
}

func serve(server *http.Server, ln net.Listener) error {
	if err := server.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// serveOperations opens OPS_ADDR, where there is one, until failed ends.
func serveOperations(ctx, failed context.Context, cfg *Config, services *healthmed, group *errgroup.Group) error {
	if cfg.OpsAddr == "" {
		return nil
	}
	ln, err := listen(ctx, "OPS_ADDR", cfg.OpsAddr)
	if err != nil {
		return err
	}
	cfg.OpsAddr = ln.Addr().String()
	server := &http.Server{Handler: services.operations(), ReadHeaderTimeout: 10 * time.Second}
	group.Go(func() error { return serve(server, ln) })
	group.Go(func() error {
		<-failed.Done()
		return server.Close()
	})
	return nil
}

// addresses as the banner tells them.
type addresses struct{ public, inbox, events string }

// announce waits until everything is ready, makes the demo accounts and prints what to do now.
func announce(ctx, failed context.Context, cfg Config, g *gateway, at addresses, out io.Writer) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	defer context.AfterFunc(failed, cancel)()
	if err := g.waitForServices(ctx); err != nil {
		return ignoreCancel(err)
	}
	if cfg.Demo {
		if err := seedDemo(ctx, at.public); err != nil {
			return ignoreCancel(err)
		}
	}
	g.prepared.Store(true)
	printBanner(out, cfg, at)
	return nil
}

// ignoreCancel: a stop during the start is no failure of its own; what failed is reported where it failed.
func ignoreCancel(err error) error {
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// listen takes an address, and says which setting to change when somebody else has it.
func listen(ctx context.Context, setting, addr string) (net.Listener, error) {
	ln, err := (&net.ListenConfig{}).Listen(ctx, "tcp", addr)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fmt.Errorf("%s is in use: stop what listens there, or set %s to another address", addr, setting)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", setting, err)
	}
	return ln, nil
}

// origin is the address of a listener as a browser on this machine types it.
func origin(ln net.Listener) string {
	addr := ln.Addr().(*net.TCPAddr)
	host := addr.IP.String()
	if addr.IP.IsLoopback() || addr.IP.IsUnspecified() {
		host = "localhost"
	}
	return (&url.URL{Scheme: "http", Host: net.JoinHostPort(host, strconv.Itoa(addr.Port))}).String()
}

func openLog(cfg Config) (io.WriteCloser, error) {
	if cfg.LogFile == "-" {
		return nopCloser{os.Stderr}, nil
	}
	path := cfg.LogFile
	if path == "" {
		path = filepath.Join(cfg.DataDir, "logs", "healthmed.log")
	}
	file, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o640)
	if err != nil {
		return nil, fmt.Errorf("LOG_FILE: %w", err)
	}
	return file, nil
}

// nopCloser keeps standard error open.
type nopCloser struct{ io.Writer }

func (nopCloser) Close() error { return nil }

func printBanner(out io.Writer, cfg Config, at addresses) {
	fmt.Fprintf(out, `
Health&Med is ready.

  API      %s      (documentation: %s/docs)
  Inbox    %s      (the e-mails that are sent)
  Events   %s  (NATS JetStream)
  Data     %s

`, at.public, at.public, at.inbox, at.events, cfg.DataDir)
	if cfg.OpsAddr != "" {
		fmt.Fprintf(out, "  Metrics  http://%s/scheduling/metrics, /users/metrics, /notifier/metrics\n\n", cfg.OpsAddr)
	}
	printAdmin(out, cfg)
	if cfg.Demo {
		for _, a := range demoAccounts() {
			fmt.Fprintf(out, "  %-8s %-30s %s\n", a.role, a.email(), demoPassword)
		}
	}
	fmt.Fprintf(out, `
Try:
  curl -s '%s/v1/doctors?name=ana'

Ctrl-C stops it; everything is found again at the next start.
`, at.public)
}

// printAdmin prints the administrator's default password, and never one that the operator chose.
func printAdmin(out io.Writer, cfg Config) {
	password := "(ADMIN_PASSWORD)"
	if cfg.AdminPassword == defaultAdminPassword {
		password = cfg.AdminPassword.Reveal()
	}
	fmt.Fprintf(out, "  %-8s %-30s %s\n", "admin", strings.ToLower(cfg.AdminEmail), password)
}

package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"strconv"
	"strings"

	"github.com/caarlos0/env/v11"
	"golang.org/x/sync/errgroup"

	"github.com/healthmed/healthmed/pkg/config"
	"github.com/healthmed/healthmed/services/notifier"
	"github.com/healthmed/healthmed/services/scheduling"
	"github.com/healthmed/healthmed/services/users"
)

// healthmed is the three services, configured and listening on loopback.
type healthmed struct {
	users      users.Config
	scheduling scheduling.Config
	notifier   notifier.Config
	listeners  []net.Listener // public then operations, for users, scheduling, notifier
}

// configure gives each service its production configuration with this program's addresses. Settings of the
// services in the environment, such as DOCTOR_APPROVAL, hold here too.
func configure(ctx context.Context, cfg Config, p *parts, public, inbox string, logs io.Writer) (_ *healthmed, err error) {
	h := &healthmed{}
	defer func() {
		if err != nil {
			h.close()
		}
	}()
	for range 6 {
		ln, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
		if err != nil {
			return nil, fmt.Errorf("loopback: %w", err)
		}
		h.listeners = append(h.listeners, ln)
	}
	common := map[string]string{
		"AUTH_ISSUER":     "urn:healthmed:standalone", // stays when the address changes, so that sign-ins do too
		"AUTH_CLIENT_ID":  "healthmed",
		"AUTH_JWKS_URL":   "http://" + h.listeners[0].Addr().String() + "/.well-known/jwks.json",
		"PUBLIC_URL":      public,
		"TRUSTED_PROXIES": "127.0.0.1",
		"NATS_MAX_BYTES":  strconv.Itoa(1 << 30),
		"KEYS_CPF":        keyed(p.secrets.CPFKey),
		"KEYS_TOKEN":      keyed(p.secrets.TokenKey),
		"KEY_CPF_INDEX":   p.secrets.CPFIndexKey,
		"ADMIN_EMAIL":     cfg.AdminEmail,
		"ADMIN_PASSWORD":  cfg.AdminPassword.Reveal(),
	}
	if cfg.SESEndpoint == "" {
		// The inbox checks that a request is signed, not by whom.
		maps.Copy(common, map[string]string{
			"AWS_ENDPOINT_URL_SESV2": inbox, "AWS_REGION": "sa-east-1", "AWS_ACCESS_KEY_ID": "local", "AWS_SECRET_ACCESS_KEY": "local",
			"AWS_ENDPOINT_URL_SQS": inbox, "FEEDBACK_QUEUE_URL": inbox + "/000000000000/" + feedbackQueue, "SES_CONFIGURATION_SET": "healthmed",
		})
	}
	if strings.HasPrefix(cfg.SESEndpoint, "http://") && os.Getenv("AWS_ACCESS_KEY_ID") == "" {
		// Without keys the SDK would look for a cloud machine's own, and every e-mail would wait for them in vain.
		maps.Copy(common, map[string]string{
			"AWS_REGION": cmp.Or(os.Getenv("AWS_REGION"), "sa-east-1"), "AWS_ACCESS_KEY_ID": "local", "AWS_SECRET_ACCESS_KEY": "local",
		})
	}
	if h.users, err = load(ctx, p, "users", common, func(c *users.Config) { c.Standalone = true }); err != nil {
		return nil, err
	}
	if h.scheduling, err = load[scheduling.Config](ctx, p, "scheduling", common); err != nil {
		return nil, err
	}
	if h.notifier, err = load[notifier.Config](ctx, p, "notifier", common); err != nil {
		return nil, err
	}
	h.users.HTTPListener, h.users.OpsListener = h.listeners[0], h.listeners[1]
	h.scheduling.HTTPListener, h.scheduling.OpsListener = h.listeners[2], h.listeners[3]
	h.notifier.HTTPListener, h.notifier.OpsListener = h.listeners[4], h.listeners[5]
	h.users.Bus.InProcess, h.scheduling.Bus.InProcess, h.notifier.Bus.InProcess = p.nats, p.nats, p.nats
	h.users.Logs.LogOutput, h.scheduling.Logs.LogOutput, h.notifier.Logs.LogOutput = logs, logs, logs
	return h, nil
}

// load reads a service's configuration from the environment, with what this program decides laid over it.
func load[T any](ctx context.Context, p *parts, service string, common map[string]string, set ...func(*T)) (cfg T, err error) {
	database, err := p.database(ctx, service)
	if err != nil {
		return cfg, err
	}
	environ := env.ToMap(os.Environ())
	maps.Copy(environ, common)
	environ["DATABASE_URL"] = database.Reveal()
	if cfg, err = config.LoadFrom(environ, set...); err != nil {
		return cfg, fmt.Errorf("%s: %w", service, err)
	}
	return cfg, nil
}

// migrate brings the three databases up to date, side by side.
func (h *healthmed) migrate(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return named("users", users.Migrate(ctx, h.users)) })
	group.Go(func() error { return named("scheduling", scheduling.Migrate(ctx, h.scheduling)) })
	group.Go(func() error { return named("notifier", notifier.Migrate(ctx, h.notifier)) })
	return group.Wait()
}

// run adds the services to the group; they end with ctx.
func (h *healthmed) run(ctx context.Context, group *errgroup.Group) {
	group.Go(func() error { return named("users", users.Run(ctx, h.users)) })
	group.Go(func() error { return named("scheduling", scheduling.Run(ctx, h.scheduling)) })
	group.Go(func() error { return named("notifier", notifier.Run(ctx, h.notifier)) })
}

func named(service string, err error) error {
	if err != nil {
		return fmt.Errorf("%s: %w", service, err)
	}
	return nil
}

// list names the services with their origins, for the gateway.
func (h *healthmed) list() []service {
	var list []service
	for i, name := range []string{"users", "scheduling", "notifier"} {
		list = append(list, service{name: name, origin: &url.URL{Scheme: "http", Host: h.listeners[2*i].Addr().String()}})
	}
	return list
}

// operations serves each service's operations port under its name: /scheduling/metrics.
func (h *healthmed) operations() http.Handler {
	mux := http.NewServeMux()
	for i, s := range h.list() {
		origin := &url.URL{Scheme: "http", Host: h.listeners[2*i+1].Addr().String()}
		mux.Handle("GET /"+s.name+"/", http.StripPrefix("/"+s.name, httputil.NewSingleHostReverseProxy(origin)))
	}
	return mux
}

// close lets go of the addresses; a service that ran has done so already.
func (h *healthmed) close() {
	for _, ln := range h.listeners {
		ln.Close()
	}
}

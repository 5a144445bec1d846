// Package scheduling is the service of availability, slots, appointments and the waitlist. This file is its wiring.
package scheduling

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"time"

	"github.com/healthmed/healthmed/pkg/auth"
	"github.com/healthmed/healthmed/pkg/auth/keystore"
	"github.com/healthmed/healthmed/pkg/bus"
	"github.com/healthmed/healthmed/pkg/clock"
	"github.com/healthmed/healthmed/pkg/config"
	"github.com/healthmed/healthmed/pkg/outbox"
	pg "github.com/healthmed/healthmed/pkg/postgres"
	"github.com/healthmed/healthmed/pkg/stages"
	"github.com/healthmed/healthmed/pkg/telemetry"
	"github.com/healthmed/healthmed/pkg/web"
	"github.com/healthmed/healthmed/services/scheduling/internal/api"
	"github.com/healthmed/healthmed/services/scheduling/internal/consumer"
	"github.com/healthmed/healthmed/services/scheduling/internal/postgres"
	"github.com/healthmed/healthmed/services/scheduling/internal/worker"
)

// Config of the service.
type Config struct {
	Postgres pg.Config
	Bus      bus.Config
	Auth     auth.Config
	Logs     telemetry.Config
	Clock    clock.Config

	// HTTPAddr serves the API; OpsAddr serves /livez, /startupz, /readyz and /metrics.
	HTTPAddr string `env:"HTTP_ADDR" envDefault:":8080"`
	OpsAddr  string `env:"OPS_ADDR" envDefault:":9090"`
	// PublicURL is the origin that clients see; addresses of calendar feeds begin with it.
	PublicURL string `env:"PUBLIC_URL" envDefault:"http://localhost:8080"`
	// TrustedProxies may set X-Forwarded-For (CIDRs or addresses).
	TrustedProxies []string `env:"TRUSTED_PROXIES"`

	// Overrides, for a program that holds several services.
	HTTPListener net.Listener         `env:"-"`
	OpsListener  net.Listener         `env:"-"`
	Telemetry    *telemetry.Telemetry `env:"-"`
	Now          func() time.Time     `env:"-"`
}

// Validate reports every fault of the configuration.
func (c Config) Validate() error {
	u, err := url.Parse(c.PublicURL)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return errors.New("PUBLIC_URL: want an origin such as https://api.example.com")
	}
	return errors.Join(c.Clock.Validate(), config.RefuseKnown(c.Clock.Environment, map[string]config.Secret{"DATABASE_URL": c.Postgres.URL}))
}

// Migrate applies the service's migrations. Replicas may call it together.
func Migrate(ctx context.Context, cfg Config) error {
	return pg.Migrate(ctx, cfg.Postgres, outbox.Migrations(), keystore.Migrations(), postgres.Migrations())
}

// drainFor bounds what is done after ctx has ended.
const drainFor = 5 * time.Second

// Run serves until ctx ends, then drains. NATS may be down at any time; PostgreSQL being down answers 503.
func Run(ctx context.Context, cfg Config) error {
	if cfg.PublicURL == "" {
		cfg.PublicURL = "http://localhost:8080"
	}
	if err := cfg.Validate(); err != nil {
		return err
	}
	cfg.Now = cfg.Clock.Or(cfg.Now)
	if cfg.Telemetry == nil {
		tel, err := telemetry.New(ctx, "scheduling", cfg.Logs)
		if err != nil {
			return err
		}
		cfg.Telemetry = tel
		defer shutdown(ctx, tel)
	}
	cfg.Postgres.Tracer, cfg.Bus.Tracer = cfg.Telemetry.Tracer, cfg.Telemetry.Tracer
	pool, err := pg.Open(ctx, cfg.Postgres)
	if err != nil {
		return err
	}
	defer pool.Close()
	if err := cfg.Telemetry.Metrics.Register(pg.Collector(pool)); err != nil {
		return err
	}
	conn, err := bus.Connect(ctx, cfg.Bus, "scheduling", cfg.Telemetry.Log, cfg.Telemetry.Metrics)
	if err != nil {
		return err
	}
	defer conn.Close()
	relay, err := outbox.NewRelay(outbox.RelayConfig{
		Pool: pool, JS: conn.JS, Stream: bus.Scheduling, NudgeSubject: "healthmed.nudge.scheduling",
		Log: cfg.Telemetry.Log, Metrics: cfg.Telemetry.Metrics, Tracer: cfg.Telemetry.Tracer, Now: cfg.Now,
	})
	if err != nil {
		return err
	}
	work := worker.New(cfg.Telemetry.Log, cfg.Telemetry.Metrics)
	store := postgres.New(postgres.Config{Pool: pool, Now: cfg.Now, Committed: relay.Nudge, Freed: work.Nudge})
	defer store.Wait()
	work.Store = store
	verifier, err := auth.NewVerifier(cfg.Auth, auth.Options{Keys: keystore.New(pool), Log: cfg.Telemetry.Log, Now: cfg.Now})
	if err != nil {
		return err
	}
	app, err := cfg.app(verifier, store)
	if err != nil {
		return err
	}
	public, ops, err := cfg.listen(ctx)
	if err != nil {
		return err
	}
	// Requests end first and the relay last, so that the events of what ended before it still leave.
	return stages.Run(ctx,
		func(ctx context.Context) error { return app.Run(ctx, public, ops) },
		stages.Together(
			work.Run,
			verifier.Run,
			func(ctx context.Context) error { return conn.MaintainStreams(ctx, bus.Scheduling) },
			func(ctx context.Context) error { warm(ctx, store, cfg.Telemetry); return nil },
			func(ctx context.Context) error {
				return untilDone(ctx, conn.Subscribe(ctx, consumer.Subscription(store)))
			},
		),
		relay.Run,
	)
}

// app is the HTTP side.
func (c Config) app(verifier *auth.Verifier, store *postgres.Store) (*web.App, error) {
	app, err := web.New(web.Config{
		Service: "scheduling", Spec: api.Spec(), Telemetry: c.Telemetry, Verifier: verifier, Ready: store.Ready,
		Mappings: api.Mappings(), Formats: api.Formats(), Rules: api.Rules(), TrustedProxies: c.TrustedProxies,
	})
	if err != nil {
		return nil, err
	}
	server := &api.Server{Store: store, Now: c.Now, PublicURL: c.PublicURL}
	server.Register(app.Fiber)
	return app, nil
}

// warm has the first search find the doctors read already. It isn't waited for: a search that is faster reads them
// itself, and a database that is down is no reason not to start.
func warm(ctx context.Context, store *postgres.Store, tel *telemetry.Telemetry) {
	if err := store.Warm(ctx); err != nil && ctx.Err() == nil {
		tel.Log.WarnContext(ctx, "doctors not read yet; the first search will", "error", err)
	}
}

// untilDone is err, unless it only says that ctx has ended, which is a clean end.
func untilDone(ctx context.Context, err error) error {
	if errors.Is(err, context.Cause(ctx)) {
		return nil
	}
	return err
}

// listen opens the addresses, unless the caller has brought listeners.
func (c Config) listen(ctx context.Context) (public, ops net.Listener, err error) {
	public, ops = c.HTTPListener, c.OpsListener
	var lc net.ListenConfig
	if public == nil {
		if public, err = lc.Listen(ctx, "tcp", c.HTTPAddr); err != nil {
			return nil, nil, fmt.Errorf("HTTP_ADDR: %w", err)
		}
	}
	if ops == nil {
		if ops, err = lc.Listen(ctx, "tcp", c.OpsAddr); err != nil {
			public.Close()
			return nil, nil, fmt.Errorf("OPS_ADDR: %w", err)
		}
	}
	return public, ops, nil
}

func shutdown(ctx context.Context, tel *telemetry.Telemetry) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainFor)
	defer cancel()
	if err := tel.Shutdown(ctx); err != nil {
		tel.Log.WarnContext(ctx, "traces not flushed", "error", err)
	}
}

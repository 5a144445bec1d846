// Package users is the service that keeps accounts: registration, sign-in, profiles. This file is its wiring.
package users

import (
	"context"
	"fmt"
	"net"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/healthmed/healthmed/pkg/auth"
	"github.com/healthmed/healthmed/pkg/auth/keystore"
	"github.com/healthmed/healthmed/pkg/bus"
	"github.com/healthmed/healthmed/pkg/events/eventsdoc"
	"github.com/healthmed/healthmed/pkg/outbox"
	pkgpostgres "github.com/healthmed/healthmed/pkg/postgres"
	"github.com/healthmed/healthmed/pkg/stages"
	"github.com/healthmed/healthmed/pkg/telemetry"
	"github.com/healthmed/healthmed/pkg/web"
	"github.com/healthmed/healthmed/services/users/internal/account"
	"github.com/healthmed/healthmed/services/users/internal/api"
	"github.com/healthmed/healthmed/services/users/internal/consumer"
	"github.com/healthmed/healthmed/services/users/internal/postgres"
	"github.com/healthmed/healthmed/services/users/internal/worker"
)

// Migrate applies the service's migrations. Replicas may call it together.
func Migrate(ctx context.Context, cfg Config) error {
	return pkgpostgres.Migrate(ctx, cfg.Postgres, postgres.Migrations()...)
}

// Run serves until ctx ends, then drains. NATS may be down at any time; PostgreSQL being down answers 503.
func Run(ctx context.Context, cfg Config) error {
	if err := cfg.Validate(); err != nil {
		return err
	}
	tel := cfg.Telemetry
	if tel == nil {
		var err error
		if tel, err = telemetry.New(ctx, "users", cfg.Logs); err != nil {
			return err
		}
		defer shutdown(tel)
	}
	cfg.Postgres.Tracer, cfg.Bus.Tracer = tel.Tracer, tel.Tracer
	pool, err := pkgpostgres.Open(ctx, cfg.Postgres)
	if err != nil {
		return err
	}
	defer pool.Close()
	if err := tel.Metrics.Register(pkgpostgres.Collector(pool)); err != nil {
		return err
	}
	conn, err := bus.Connect(ctx, cfg.Bus, "users", tel.Log, tel.Metrics)
	if err != nil {
		return err
	}
	defer conn.Close()
	s, err := wire(ctx, cfg, tel, pool, conn)
	if err != nil {
		return err
	}
	public, ops, err := cfg.listen(ctx)
	if err != nil {
		return err
	}
	// Requests end first and the relay last, so that the events of what ended before it still leave.
	return stages.Run(ctx,
		func(ctx context.Context) error { return s.app.Run(ctx, public, ops) },
		stages.Together(
			func(ctx context.Context) error { return conn.MaintainStreams(ctx, bus.Users, bus.AccountMail) },
			s.worker.Run,
			s.verifier.Run,
			func(ctx context.Context) error { return consumer.Run(ctx, conn, s.store) },
		),
		s.relay.Run,
	)
}

// service is what runs.
type service struct {
	app      *web.App
	verifier *auth.Verifier
	relay    *outbox.Relay
	worker   *worker.Worker
	store    *postgres.Store
}

func wire(ctx context.Context, cfg Config, tel *telemetry.Telemetry, pool *pgxpool.Pool, conn *bus.Conn) (*service, error) {
	keys, err := cfg.parseKeys()
	if err != nil {
		return nil, err
	}
	now := cfg.now()
	relay, err := outbox.NewRelay(outbox.RelayConfig{
		Pool: pool, JS: conn.JS, StreamFor: bus.StreamOf, NudgeSubject: "healthmed.nudge.users",
		Log: tel.Log, Metrics: tel.Metrics, Tracer: tel.Tracer, Now: now,
	})
	if err != nil {
		return nil, err
	}
	store := postgres.New(postgres.Config{
		Pool: pool, CPF: keys.cpf, Index: keys.index, Now: now, Nudge: relay.Nudge, External: cfg.Identity == "cognito",
	})
	who, err := cfg.identify(ctx, store, keys, tel.Log)
	if err != nil {
		return nil, err
	}
	verifier, err := auth.NewVerifier(cfg.Auth, auth.Options{Keys: keystore.New(pool), Log: tel.Log, Now: now})
	if err != nil {
		return nil, err
	}
	app, err := web.New(web.Config{
		Service: "users", Spec: api.Spec(), Telemetry: tel, Verifier: verifier, Ready: pool.Ping,
		Mappings: api.Mappings(), Formats: api.Formats(now), TrustedProxies: cfg.TrustedProxies,
		// The public origin sends here what belongs to no other service, and so the event contract.
		Pages: eventsdoc.Pages(),
	})
	if err != nil {
		return nil, err
	}
	w := worker.New(worker.Config{
		Log: tel.Log, Now: now, Keys: who.keys, Identity: who.provider, Reconcile: who.reconcile,
		Store: store, JS: conn.JS, Admin: cfg.admin(),
	})
	server := &api.Server{
		Store: store, Identity: who.provider, Keys: who.keys, Limits: cfg.limits(), Log: tel.Log, Now: now, Erased: w.Erased,
	}
	server.Register(app.Fiber)
	return &service{app: app, verifier: verifier, relay: relay, worker: w, store: store}, nil
}

// limits are the budgets of attempts.
func (c Config) limits() api.Limits {
	return api.Limits{
		Account: postgres.Budget{Burst: c.AttemptsPerAccount, Every: time.Minute},
		Address: postgres.Budget{Burst: c.AttemptsPerAddress, Every: 5 * time.Second},
		Mail:    postgres.Budget{Burst: 3, Every: 15 * time.Minute},
	}
}

// admin is the first administrator. Validate has checked the address.
func (c Config) admin() worker.Admin {
	email, err := account.ParseEmail(c.AdminEmail)
	if err != nil {
		return worker.Admin{}
	}
	return worker.Admin{Email: email, Password: c.AdminPassword.Reveal()}
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

func shutdown(tel *telemetry.Telemetry) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := tel.Shutdown(ctx); err != nil {
		tel.Log.WarnContext(ctx, "traces not flushed", "error", err)
	}
}

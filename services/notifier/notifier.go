// Package notifier is the service that turns booking and account events into e-mails. This file is its wiring.
package notifier

import (
	"context"
	"fmt"
	"net"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsconfig "github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/healthmed/healthmed/pkg/auth"
	"github.com/healthmed/healthmed/pkg/auth/keystore"
	"github.com/healthmed/healthmed/pkg/bus"
	"github.com/healthmed/healthmed/pkg/outbox"
	pkgpostgres "github.com/healthmed/healthmed/pkg/postgres"
	"github.com/healthmed/healthmed/pkg/stages"
	"github.com/healthmed/healthmed/pkg/telemetry"
	"github.com/healthmed/healthmed/pkg/web"
	"github.com/healthmed/healthmed/services/notifier/internal/api"
	"github.com/healthmed/healthmed/services/notifier/internal/consumer"
	"github.com/healthmed/healthmed/services/notifier/internal/feedback"
	"github.com/healthmed/healthmed/services/notifier/internal/mail"
	"github.com/healthmed/healthmed/services/notifier/internal/postgres"
	"github.com/healthmed/healthmed/services/notifier/internal/preview"
	"github.com/healthmed/healthmed/services/notifier/internal/worker"
)

// Migrate applies the service's migrations. Replicas may call it together.
func Migrate(ctx context.Context, cfg Config) error {
	return pkgpostgres.Migrate(ctx, cfg.Postgres, outbox.Migrations(), keystore.Migrations(), postgres.Migrations())
}

// gatherNews is how long news of deliveries, which nobody waits for, may be gathered.
const gatherNews = 25 * time.Millisecond

// Run serves until ctx ends, then drains. NATS, SES and PostgreSQL may be down at any time; what is due waits.
func Run(ctx context.Context, cfg Config) error {
	if err := cfg.Validate(); err != nil {
		return fmt.Errorf("notifier: %w", err)
	}
	tel := cfg.Telemetry
	if tel == nil {
		var err error
		if tel, err = telemetry.New(ctx, "notifier", cfg.Logs); err != nil {
			return err
		}
		defer func() {
			flushing, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
			defer cancel()
			_ = tel.Shutdown(flushing) // spans are lost if the collector is away
		}()
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
	conn, err := bus.Connect(ctx, cfg.Bus, "notifier", tel.Log, tel.Metrics)
	if err != nil {
		return err
	}
	defer conn.Close()
	s, err := wire(ctx, cfg, tel, pool, conn)
	if err != nil {
		return err
	}
	public, err := listen(ctx, cfg.HTTPListener, cfg.HTTPAddr)
	if err != nil {
		return err
	}
	ops, err := listen(ctx, cfg.OpsListener, cfg.OpsAddr)
	if err != nil {
		return err
	}
	background := []stages.Part{
		s.worker.Run,
		s.consumer.Run,
		s.verifier.Run,
		func(ctx context.Context) error { return conn.MaintainStreams(ctx, bus.Notifications, bus.DeadLetters) },
	}
	if s.feedback != nil {
		background = append(background, s.feedback.Run)
	}
	// Requests end first and the relay last, so that the events of what ended before it still leave.
	return stages.Run(ctx,
		func(ctx context.Context) error { return s.app.Run(ctx, public, ops) },
		stages.Together(background...),
		s.relay.Run,
	)
}

// service is what runs.
type service struct {
	app      *web.App
	verifier *auth.Verifier
	relay    *outbox.Relay
	worker   *worker.Worker
	consumer *consumer.Consumer
	feedback *feedback.Reader // nil without a queue
}

func wire(ctx context.Context, cfg Config, tel *telemetry.Telemetry, pool *pgxpool.Pool, conn *bus.Conn) (*service, error) {
	now := cfg.now()
	store := postgres.NewStore(pool)
	relay, err := outbox.NewRelay(outbox.RelayConfig{
		Pool: pool, JS: conn.JS, Stream: bus.Notifications, NudgeSubject: "healthmed.nudge.notifier",
		Log: tel.Log, Metrics: tel.Metrics, Tracer: tel.Tracer, Now: now,
		Gather: gatherNews,
	})
	if err != nil {
		return nil, err
	}
	sdk, err := cfg.aws(ctx)
	if err != nil {
		return nil, err
	}
	composer, err := mail.NewComposer(mail.Config{From: cfg.MailFrom, ReplyTo: cfg.MailReplyTo, AppURL: cfg.linkBase()})
	if err != nil {
		return nil, err
	}
	w, err := worker.New(worker.Config{
		Store: store, Composer: composer, Log: tel.Log, Metrics: tel.Metrics, Tracer: tel.Tracer, Now: now, Published: relay.Nudge,
		Service:     mail.NewSES(sdk, cfg.SESEndpoint, cfg.SESConfigurationSet, cfg.sendTimeout(), cfg.concurrency()),
		Timing:      cfg.timing(),
		Concurrency: cfg.concurrency(), SendTimeout: cfg.sendTimeout(), LeaseMargin: cfg.LeaseMargin, FallbackRate: cfg.SendRate, Retention: cfg.retention(),
	})
	if err != nil {
		return nil, err
	}
	verifier, err := auth.NewVerifier(cfg.Auth, auth.Options{Keys: keystore.New(pool), Log: tel.Log, Now: now})
	if err != nil {
		return nil, err
	}
	app, err := web.New(web.Config{
		Service: "notifier", Spec: api.Spec(), Telemetry: tel, Verifier: verifier, Ready: pool.Ping,
		Mappings: api.Mappings(), TrustedProxies: cfg.TrustedProxies,
	})
	if err != nil {
		return nil, err
	}
	var reader *feedback.Reader
	if cfg.FeedbackQueueURL != "" {
		if reader, err = feedback.New(feedback.Config{
			AWS: sdk, Endpoint: cfg.SQSEndpoint, QueueURL: cfg.FeedbackQueueURL, Store: store,
			Log: tel.Log, Metrics: tel.Metrics, Now: now, Published: relay.Nudge, Failed: w.CountFailed,
		}); err != nil {
			return nil, err
		}
	}
	server := &api.Server{Store: store, Conn: conn, Now: now, Nudge: w.Nudge}
	server.Register(app.Fiber)
	return &service{app: app, verifier: verifier, relay: relay, worker: w, feedback: reader, consumer: consumer.New(consumer.Config{
		Conn: conn, Store: store, Policy: cfg.policy(), Log: tel.Log, Now: now, AppURL: cfg.linkBase(), Nudge: w.Nudge,
	})}, nil
}

// aws takes region and credentials from the configuration, or by the SDK's default chain.
func (c Config) aws(ctx context.Context) (aws.Config, error) {
	var given []func(*awsconfig.LoadOptions) error
	if c.AWSRegion != "" {
		given = append(given, awsconfig.WithRegion(c.AWSRegion))
	}
	if c.AWSAccessKeyID != "" {
		given = append(given, awsconfig.WithCredentialsProvider(credentials.NewStaticCredentialsProvider(
			c.AWSAccessKeyID, c.AWSSecretAccessKey.Reveal(), c.AWSSessionToken.Reveal())))
	}
	cfg, err := awsconfig.LoadDefaultConfig(ctx, given...)
	if err != nil {
		return cfg, fmt.Errorf("AWS configuration: %w", err)
	}
	return cfg, nil
}

func (c Config) concurrency() int {
	if c.SendConcurrency == 0 {
		return 64
	}
	return c.SendConcurrency
}

func (c Config) sendTimeout() time.Duration {
	if c.SendTimeout == 0 {
		return 8 * time.Second
	}
	return c.SendTimeout
}

func listen(ctx context.Context, given net.Listener, addr string) (net.Listener, error) {
	if given != nil {
		return given, nil
	}
	var lc net.ListenConfig
	ln, err := lc.Listen(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", addr, err)
	}
	return ln, nil
}

// Preview writes every message in both languages to a folder, as HTML, text and calendar, with an index page.
func Preview(dir string) error {
	composer, err := mail.NewComposer(mail.Config{From: "Health&Med <agenda@healthmed.example>", AppURL: "https://app.healthmed.example"})
	if err != nil {
		return err
	}
	return preview.Write(dir, composer)
}

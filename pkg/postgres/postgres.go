// Package postgres opens connection pools with deliberate limits and runs embedded migrations under a lock.
//
// Nothing here knows a table. Every limit is set as a parameter of the connection, so that it holds for whatever
// a caller runs, and an outage is told from a fault of ours in one place (IsUnavailable).
package postgres

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/exaring/otelpgx"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	pgxuuid "github.com/vgarvardt/pgx-google-uuid/v5"
	"go.opentelemetry.io/otel/trace"

	"github.com/healthmed/healthmed/pkg/config"
)

// Config says where the database is and what one client may ask of it. Embed it in a service's Config.
type Config struct {
	// URL is a PostgreSQL connection string (libpq URI).
	URL config.Secret `env:"DATABASE_URL,required"`
	// CA is the PEM of the CAs that sign the server's certificate, where the system doesn't know them. It asks for a URL
	// with sslmode=verify-full.
	CA string `env:"DATABASE_CA"`
	// MaxConns bounds the pool.
	MaxConns int32 `env:"DATABASE_MAX_CONNS" envDefault:"16"`
	// StatementTimeout, LockTimeout and IdleInTransactionTimeout are set per connection. What queues for a turn waits
	// for it up to three times LockTimeout: keep StatementTimeout longer than that.
	StatementTimeout         time.Duration `env:"DATABASE_STATEMENT_TIMEOUT" envDefault:"2s"`
	LockTimeout              time.Duration `env:"DATABASE_LOCK_TIMEOUT" envDefault:"500ms"`
	IdleInTransactionTimeout time.Duration `env:"DATABASE_IDLE_IN_TRANSACTION_TIMEOUT" envDefault:"5s"`
	// AcquireTimeout bounds the wait for a pooled connection; past it IsUnavailable(err) is true (a 503).
	AcquireTimeout time.Duration `env:"DATABASE_ACQUIRE_TIMEOUT" envDefault:"2s"`
	// Tracer makes the spans of queries; nil means no spans.
	Tracer trace.TracerProvider `env:"-"`
}

const (
	connectTimeout  = 5 * time.Second
	maxConnLifetime = time.Hour
	maxConnIdleTime = 10 * time.Minute
)

// Open connects lazily: a database that is down makes queries fail (IsUnavailable), not Open.
func Open(ctx context.Context, cfg Config) (*pgxpool.Pool, error) {
	pc, err := pgxpool.ParseConfig(cfg.URL.Reveal())
	if err != nil {
		// pgx redacts the password, but a malformed URL can carry it anywhere: say only that it is malformed.
		return nil, errors.New("postgres: DATABASE_URL is not a PostgreSQL connection string: is the password in it percent-encoded?")
	}
	if err := cfg.trust(pc.ConnConfig); err != nil {
		return nil, err
	}
	if cfg.MaxConns > 0 {
		pc.MaxConns = cfg.MaxConns
	}
	pc.MaxConnLifetime = maxConnLifetime
	pc.MaxConnLifetimeJitter = maxConnLifetime / 10
	pc.MaxConnIdleTime = maxConnIdleTime
	pc.PingTimeout = connectTimeout
	pc.ConnConfig.ConnectTimeout = connectTimeout

	params := pc.ConnConfig.RuntimeParams
	for name, d := range map[string]time.Duration{
		"statement_timeout":                   cfg.StatementTimeout,
		"lock_timeout":                        cfg.LockTimeout,
		"idle_in_transaction_session_timeout": cfg.IdleInTransactionTimeout,
	} {
		if _, inURL := params[name]; !inURL && d > 0 {
			params[name] = strconv.FormatInt(d.Milliseconds(), 10)
		}
	}
	params["timezone"] = "UTC"

	t := tracer{acquire: cfg.AcquireTimeout}
	if cfg.Tracer != nil {
		t.spans = otelpgx.NewTracer(otelpgx.WithTracerProvider(cfg.Tracer), otelpgx.WithDisableConnectionDetailsInAttributes(), otelpgx.WithDisableAcquireTracer())
	}
	pc.ConnConfig.Tracer = t.asTracer()
	// Without it pgx writes a uuid.UUID as text and parses that, at ten times the cost.
	pc.AfterConnect = func(_ context.Context, conn *pgx.Conn) error {
		pgxuuid.Register(conn.TypeMap())
		return nil
	}
	pool, err := pgxpool.NewWithConfig(ctx, pc)
	if err != nil {
		return nil, fmt.Errorf("postgres: open: %w", err)
	}
	return pool, nil
}

// trust has the connection believe the CAs of DATABASE_CA. A URL that allows a server that isn't verified is refused, since
// the setting would do nothing.
func (c Config) trust(conn *pgx.ConnConfig) error {
	if c.CA == "" {
		return nil
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM([]byte(c.CA)) {
		return errors.New("postgres: DATABASE_CA is no PEM of certificates")
	}
	if conn.TLSConfig == nil || conn.TLSConfig.InsecureSkipVerify {
		return errors.New("postgres: DATABASE_CA needs sslmode=verify-full in DATABASE_URL")
	}
	conn.TLSConfig.RootCAs = roots
	for _, f := range conn.Fallbacks { // further hosts and addresses
		f.TLSConfig.RootCAs = roots
	}
	return nil
}

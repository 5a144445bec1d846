package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"path/filepath"

	"github.com/jackc/pgx/v5"
	"github.com/nats-io/nats-server/v2/server"
	"golang.org/x/sync/errgroup"

	"github.com/healthmed/healthmed/pkg/config"
	"github.com/healthmed/healthmed/pkg/localpg"
	"github.com/healthmed/healthmed/pkg/sesinbox"
	"github.com/healthmed/healthmed/pkg/sesinbox/queue"
)

// feedbackQueue is the SQS queue that tells what became of the e-mails; the inbox serves it.
const feedbackQueue = "ses-feedback"

// parts are what production has as separate servers: PostgreSQL, NATS, SES.
type parts struct {
	postgres *localpg.Server // nil when DATABASE_URL names another
	nats     *server.Server
	inbox    *sesinbox.Server
	secrets  secrets
	cfg      Config
}

// startParts starts them side by side.
func startParts(ctx context.Context, cfg Config, log *slog.Logger) (*parts, error) {
	p := &parts{cfg: cfg}
	var group errgroup.Group
	group.Go(func() (err error) {
		if cfg.DatabaseURL != "" {
			return nil
		}
		p.postgres, err = localpg.Start(ctx, localpg.Config{Dir: filepath.Join(cfg.DataDir, "postgres"), Fsync: true, Log: log})
		return err
	})
	group.Go(func() (err error) {
		p.nats, err = startNATS(ctx, cfg.NATSAddr, cfg.DataDir)
		return err
	})
	group.Go(func() (err error) {
		p.inbox, err = sesinbox.New(sesinbox.Config{
			Dir: filepath.Join(cfg.DataDir, "inbox"), Log: log, MaxSendRate: 100, Feedback: queue.New(feedbackQueue, 0),
		})
		return err
	})
	group.Go(func() (err error) {
		p.secrets, err = loadSecrets(cfg.DataDir)
		return err
	})
	err := group.Wait()
	if err == nil {
		err = p.settleSecrets(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, p.stop())
	}
	return p, nil
}

// settleSecrets keeps new secrets, unless the database was filled under others: with new ones nobody who is in it
// could sign in, and whoever registers meanwhile would be lost once the right ones are back.
func (p *parts) settleSecrets(ctx context.Context) error {
	if !p.secrets.fresh {
		return nil
	}
	database, err := p.database(ctx, "users")
	if err != nil {
		return err
	}
	conn, err := pgx.Connect(ctx, database.Reveal())
	if err != nil {
		return fmt.Errorf("secrets: %w", err)
	}
	defer conn.Close(ctx)
	var filled bool
	if err := conn.QueryRow(ctx, `SELECT to_regclass('public.users') IS NOT NULL`).Scan(&filled); err != nil {
		return fmt.Errorf("secrets: %w", err)
	}
	if filled {
		return fmt.Errorf("secrets: the database healthmed_users is filled, and %s, without which it cannot be read, is not in %s: "+
			"restore the file, or start anew with an empty database and DATA_DIR", secretsFile, p.cfg.DataDir)
	}
	return p.secrets.keep(p.cfg.DataDir)
}

// database is the connection string of a service's database, which is created if missing.
func (p *parts) database(ctx context.Context, service string) (config.Secret, error) {
	name := "healthmed_" + service
	if p.postgres != nil {
		return p.postgres.URL(ctx, name)
	}
	return createDatabase(ctx, p.cfg.DatabaseURL, name)
}

// createDatabase makes a database on the operator's server unless it is there.
func createDatabase(ctx context.Context, serverURL config.Secret, name string) (config.Secret, error) {
	conn, err := pgx.Connect(ctx, serverURL.Reveal())
	if err != nil {
		return "", fmt.Errorf("DATABASE_URL: %w", err)
	}
	defer conn.Close(ctx)
	var exists bool
	if err := conn.QueryRow(ctx, `SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)`, name).Scan(&exists); err != nil {
		return "", fmt.Errorf("DATABASE_URL: %w", err)
	}
	if !exists {
		if _, err := conn.Exec(ctx, "CREATE DATABASE "+pgx.Identifier{name}.Sanitize()); err != nil {
			return "", fmt.Errorf("DATABASE_URL: create database %s: %w", name, err)
		}
	}
	return replaceDatabase(serverURL, name)
}

// natsURL is where other systems connect.
func (p *parts) natsURL() string { return p.nats.ClientURL() }

// watch fails when a part ends on its own.
func (p *parts) watch(ctx context.Context) error {
	if p.postgres == nil {
		<-ctx.Done()
		return nil
	}
	select {
	case <-p.postgres.Done():
		return errors.New("PostgreSQL ended: see its log in DATA_DIR")
	case <-ctx.Done():
		return nil
	}
}

// stop ends them in the order in which they depend on one another.
func (p *parts) stop() error {
	if p.nats != nil {
		p.nats.Shutdown()
		p.nats.WaitForShutdown()
	}
	if p.postgres == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), drain)
	defer cancel()
	return p.postgres.Stop(ctx)
}

// replaceDatabase gives the connection string with another database.
func replaceDatabase(serverURL config.Secret, name string) (config.Secret, error) {
	u, err := url.Parse(serverURL.Reveal())
	if err != nil || u.Host == "" {
		return "", errors.New("DATABASE_URL: want postgres://user:password@host:port/")
	}
	u.Path = "/" + name
	return config.Secret(u.String()), nil
}

// Package pgtest gives each test its own real PostgreSQL database, cloned from a migrated template.
package pgtest

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/healthmed/healthmed/pkg/localpg"
	"github.com/healthmed/healthmed/pkg/postgres"
)

// shared is this process's server. It has no stop: its watcher ends it and removes its data with the process.
var shared = sync.OnceValues(start)

const startLimit = 2 * time.Minute // a first run may have to fetch PostgreSQL

type cluster struct {
	server *localpg.Server
	admin  *pgxpool.Pool

	mu        sync.Mutex
	templates map[string]func() error // by name, made once
}

func start() (*cluster, error) {
	ctx, cancel := context.WithTimeout(context.Background(), startLimit)
	defer cancel()
	dir, err := os.MkdirTemp("", "pgtest-")
	if err != nil {
		return nil, err
	}
	server, err := localpg.Start(ctx, localpg.Config{Dir: dir, Throwaway: true, Params: map[string]string{
		"max_connections": "500",
		// Nothing here lives long enough to need vacuuming, and a checkpoint would only write to the disk.
		"autovacuum":         "off",
		"checkpoint_timeout": "1h",
		"max_wal_size":       "4GB",
	}})
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	url, err := server.URL(ctx, "postgres")
	if err != nil {
		return nil, err
	}
	admin, err := pgxpool.New(context.Background(), url.Reveal())
	if err != nil {
		return nil, err
	}
	return &cluster{server: server, admin: admin, templates: map[string]func() error{}}, nil
}

// New returns the configuration of a fresh database with the sets applied; it is dropped when the test ends.
// The server is private to the test process, started on first use and gone with the process.
func New(t testing.TB, sets ...postgres.Migrations) postgres.Config {
	t.Helper()
	c, err := shared()
	if err != nil {
		t.Fatalf("pgtest: %v", err)
	}
	template, err := c.template(sets)
	if err != nil {
		t.Fatalf("pgtest: migrations: %v", err)
	}
	ctx := context.Background()
	name := "test_" + strings.ToLower(rand.Text())
	if err := c.create(ctx, name, template); err != nil {
		t.Fatalf("pgtest: %v", err)
	}
	t.Cleanup(func() {
		if _, err := c.admin.Exec(ctx, "DROP DATABASE IF EXISTS "+name+" WITH (FORCE)"); err != nil {
			t.Errorf("pgtest: %v", err)
		}
	})
	cfg, err := c.config(ctx, name)
	if err != nil {
		t.Fatalf("pgtest: %v", err)
	}
	return cfg
}

// config has production's limits, except those that a loaded build machine would pass by accident.
func (c *cluster) config(ctx context.Context, database string) (postgres.Config, error) {
	url, err := c.server.URL(ctx, database)
	return postgres.Config{
		URL: url, MaxConns: 16,
		StatementTimeout: 10 * time.Second, LockTimeout: 5 * time.Second,
		IdleInTransactionTimeout: 10 * time.Second, AcquireTimeout: 10 * time.Second,
	}, err
}

func (c *cluster) create(ctx context.Context, name, template string) error {
	_, err := c.admin.Exec(ctx, "CREATE DATABASE "+pgx.Identifier{name}.Sanitize()+" TEMPLATE "+pgx.Identifier{template}.Sanitize())
	return err
}

// template is the name of a database with the sets applied, made on first use.
func (c *cluster) template(sets []postgres.Migrations) (string, error) {
	if len(sets) == 0 {
		return "template1", nil
	}
	name, err := fingerprint(sets)
	if err != nil {
		return "", err
	}
	c.mu.Lock()
	build, ok := c.templates[name]
	if !ok {
		build = sync.OnceValue(func() error {
			ctx, cancel := context.WithTimeout(context.Background(), startLimit)
			defer cancel()
			if err := c.create(ctx, name, "template1"); err != nil {
				return err
			}
			cfg, err := c.config(ctx, name)
			if err != nil {
				return err
			}
			return postgres.Migrate(ctx, cfg, sets...)
		})
		c.templates[name] = build
	}
	c.mu.Unlock()
	return name, build()
}

// fingerprint names a template by what its sets contain.
func fingerprint(sets []postgres.Migrations) (string, error) {
	h := sha256.New()
	for _, set := range sets {
		fmt.Fprintf(h, "%s\x00", set.Table)
		err := fs.WalkDir(set.FS, ".", func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			f, err := set.FS.Open(path)
			if err != nil {
				return err
			}
			defer func() { _ = f.Close() }()
			fmt.Fprintf(h, "%s\x00", path)
			_, err = io.Copy(h, f)
			return err
		})
		if err != nil {
			return "", err
		}
	}
	return "template_" + hex.EncodeToString(h.Sum(nil))[:16], nil
}

package system

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/healthmed/healthmed/pkg/localpg"
)

// serviceNames lists the services in the order in which they are started.
var serviceNames = [...]string{"users", "scheduling", "notifier"}

// ClusterConfig says how large a cluster is.
type ClusterConfig struct {
	Dir      string              // fresh data folder
	Replicas int                 // of each service, default 1
	Env      map[string][]string // more settings by service name, or "sesinbox"
	Fsync    bool                // PostgreSQL's; false only where durability isn't measured
	// NATSConf is added to the server's configuration, e.g. "jetstream { sync_interval: always }".
	NATSConf string
	// Params are further settings of PostgreSQL.
	Params map[string]string

	NATSNodes int // default 1; with 3, streams have three copies
	// Guarded gives NATS the accounts and permissions of deploy/nats, and each service its key. Without it anybody may do
	// anything, the test included.
	Guarded  bool
	Programs map[string]string // built before, by name; nil builds them
	// Route may put something between two parts: it is given the service's replica (scheduling-2), the part that it
	// calls (postgres, nats, ses, keys) and that part's address, and returns the address to use. The parts of a NATS
	// cluster are nats-1 to nats-3.
	Route func(from, to, addr string) (string, error)
	SES   string // origin of an SES endpoint to use, and of its queue; empty starts a sesinbox
}

// Cluster is the system in the shape of production, on one machine: each service, nats-server, PostgreSQL and the
// SES endpoint as processes of their own.
type Cluster struct {
	Services  map[string][]*Process
	NATS      *Process
	NATSNodes []*Process // NATS is the first
	SES       *Process   // nil with ClusterConfig.SES
	Postgres  *localpg.Server
	NATSURL   string
	Inbox     string

	natsAddrs []string
	origins   map[string][]string
	ops       map[string][]string
	cfg       ClusterConfig
}

// Origin is the address of a service's replica.
func (c *Cluster) Origin(service string, replica int) string { return c.origins[service][replica] }

// Ops is the address of a replica's operations port (/metrics).
func (c *Cluster) Ops(service string, replica int) string { return c.ops[service][replica] }

// StartCluster builds and starts everything, and waits until each replica is ready.
func StartCluster(ctx context.Context, cfg ClusterConfig) (_ *Cluster, err error) {
	cfg.Replicas = max(cfg.Replicas, 1)
	c := &Cluster{cfg: cfg, Services: map[string][]*Process{}, origins: map[string][]string{}, ops: map[string][]string{}}
	defer func() {
		if err != nil {
			err = errors.Join(err, c.Stop())
		}
	}()
	for _, dir := range []string{"bin", "logs", "nats"} {
		if err := os.MkdirAll(filepath.Join(cfg.Dir, dir), 0o755); err != nil {
			return nil, err
		}
	}
	programs := cfg.Programs
	if programs == nil {
		if programs, err = BuildCluster(ctx, filepath.Join(cfg.Dir, "bin")); err != nil {
			return nil, err
		}
	}
	if err := c.startPostgres(ctx); err != nil {
		return nil, err
	}
	nodes := max(cfg.NATSNodes, 1)
	addrs, err := FreeAddrs(ctx, 1+2*nodes+2*len(serviceNames)*cfg.Replicas)
	if err != nil {
		return nil, err
	}
	next := func() string { addr := addrs[0]; addrs = addrs[1:]; return addr }
	if err := c.startNATS(ctx, programs["nats-server"], nodes, next); err != nil {
		return nil, err
	}
	if err := c.startSES(programs["sesinbox"], next()); err != nil {
		return nil, err
	}
	return c, c.startServices(ctx, programs, next)
}

// BuildCluster compiles all that a cluster runs into dir.
func BuildCluster(ctx context.Context, dir string) (map[string]string, error) {
	return BuildAll(ctx, dir, map[string]string{
		"nats-server": "github.com/nats-io/nats-server/v2",
		"sesinbox":    root() + "/deploy/sesinbox",
		"users":       root() + "/services/users/cmd/users",
		"scheduling":  root() + "/services/scheduling/cmd/scheduling",
		"notifier":    root() + "/services/notifier/cmd/notifier",
	})
}

// startSES starts the SES endpoint, unless there is one already.
func (c *Cluster) startSES(program, addr string) error {
	if c.Inbox = c.cfg.SES; c.Inbox != "" {
		return nil
	}
	c.Inbox = "http://" + addr
	c.SES = &Process{Name: "sesinbox", Path: program, Env: []string{"INBOX_ADDR=" + addr, "DATA_DIR=", "INBOX_MAX_SEND_RATE=100000"}, Log: c.logFile("sesinbox")}
	c.SES.Env = append(c.SES.Env, c.cfg.Env["sesinbox"]...)
	return c.SES.Start()
}

// startServices migrates and starts the services, users first: the others verify tokens by its keys.
func (c *Cluster) startServices(ctx context.Context, programs map[string]string, next func() string) error {
	common := []string{
		"NATS_MAX_BYTES=1073741824", fmt.Sprintf("NATS_REPLICAS=%d", len(c.NATSNodes)),
		"AUTH_ISSUER=http://healthmed.test", "AUTH_CLIENT_ID=healthmed", "TRUSTED_PROXIES=127.0.0.1",
		"PUBLIC_URL=http://healthmed.test", "LOG_LEVEL=WARN",
		"AWS_REGION=sa-east-1", "AWS_ACCESS_KEY_ID=local", "AWS_SECRET_ACCESS_KEY=local",
		"KEYS_CPF=k1:" + randomKey(), "KEYS_TOKEN=k1:" + randomKey(), "KEY_CPF_INDEX=" + randomKey(),
		"ADMIN_EMAIL=" + AdminEmail, "ADMIN_PASSWORD=" + AdminPassword,
	}
	for _, name := range serviceNames {
		for replica := range c.cfg.Replicas {
			public, ops := next(), next()
			c.origins[name] = append(c.origins[name], "http://"+public)
			c.ops[name] = append(c.ops[name], "http://"+ops)
			p := &Process{Name: fmt.Sprintf("%s-%d", name, replica+1), Path: programs[name], Log: c.logFile(fmt.Sprintf("%s-%d", name, replica+1))}
			routed, err := c.routed(ctx, name, p.Name)
			if err != nil {
				return err
			}
			p.Env = slices.Concat(common, []string{"HTTP_ADDR=" + public, "OPS_ADDR=" + ops}, c.keyEnv(name), routed, c.cfg.Env[name])
			if replica == 0 {
				if err := c.migrate(ctx, p); err != nil {
					return err
				}
			}
			c.Services[name] = append(c.Services[name], p)
			if err := p.Start(); err != nil {
				return err
			}
		}
	}
	for _, name := range serviceNames {
		for replica := range c.cfg.Replicas {
			if err := WaitReady(ctx, c.origins[name][replica], 30*time.Second); err != nil {
				return fmt.Errorf("%s: %w (its log: %s)", name, err, c.Services[name][replica].Log)
			}
		}
	}
	return nil
}

func (c *Cluster) migrate(ctx context.Context, service *Process) error {
	m := &Process{Name: service.Name + " migrate", Path: service.Path, Args: []string{"migrate"}, Env: service.Env, Log: service.Log}
	if err := m.Start(); err != nil {
		return err
	}
	select {
	case <-m.Exited():
		return m.Stop(time.Second)
	case <-ctx.Done():
		m.Kill()
		return ctx.Err()
	}
}

// Stop ends everything in the order in which the parts depend on one another.
func (c *Cluster) Stop() error {
	var faults []error
	for _, name := range serviceNames {
		for _, p := range c.Services[name] {
			faults = append(faults, p.Stop(20*time.Second))
		}
	}
	for _, p := range append([]*Process{c.SES}, c.NATSNodes...) {
		if p != nil {
			faults = append(faults, p.Stop(10*time.Second))
		}
	}
	if c.Postgres != nil {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		faults = append(faults, c.Postgres.Stop(ctx))
	}
	return errors.Join(faults...)
}

func (c *Cluster) logFile(name string) string { return filepath.Join(c.cfg.Dir, "logs", name+".log") }

// The administrator of a cluster.
const (
	AdminEmail    = "admin@healthmed.test"
	AdminPassword = "Cluster#2026"
)

func randomKey() string {
	var key [32]byte
	rand.Read(key[:]) // never fails (crypto/rand)
	return base64.StdEncoding.EncodeToString(key[:])
}

// WaitReady polls an origin's /readyz until it answers 200.
func WaitReady(ctx context.Context, origin string, limit time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	tick := time.NewTicker(25 * time.Millisecond)
	defer tick.Stop()
	for {
		err := getOK(ctx, origin+"/readyz")
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("not ready within %s: %w", limit, err)
		case <-tick.C:
		}
	}
}

// waitListens waits until something accepts connections at addr.
func waitListens(ctx context.Context, addr string, limit time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for {
		conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
		if err == nil {
			return conn.Close()
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("nothing listens on %s within %s: %w", addr, limit, err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

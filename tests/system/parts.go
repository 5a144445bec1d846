package system

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/healthmed/healthmed/pkg/access"
	"github.com/healthmed/healthmed/pkg/localpg"
)

// What the services stand on: PostgreSQL and NATS, how services reach them, and how they are killed and started again.

func (c *Cluster) startPostgres(ctx context.Context) (err error) {
	params := map[string]string{"max_connections": "200", "shared_buffers": "512MB"}
	maps.Copy(params, c.cfg.Params)
	c.Postgres, err = localpg.Start(ctx, localpg.Config{Dir: c.postgresDir(), Fsync: c.cfg.Fsync, Params: params})
	return err
}

func (c *Cluster) postgresDir() string { return filepath.Join(c.cfg.Dir, "postgres") }

// PostgresPID is the postmaster's process id.
func (c *Cluster) PostgresPID() (int, error) {
	b, err := os.ReadFile(filepath.Join(c.postgresDir(), "data", "postmaster.pid"))
	if err != nil {
		return 0, err
	}
	line, _, _ := strings.Cut(string(b), "\n")
	return strconv.Atoi(strings.TrimSpace(line))
}

// SignalPostgres signals the server and every backend, e.g. SIGSTOP.
func (c *Cluster) SignalPostgres(sig syscall.Signal) error {
	pid, err := c.PostgresPID()
	if err != nil {
		return err
	}
	for _, id := range append([]int{pid}, children(pid)...) {
		if err := syscall.Kill(id, sig); err != nil && !errors.Is(err, syscall.ESRCH) { // a backend may just have ended
			return fmt.Errorf("signal PostgreSQL's process %d: %w", id, err)
		}
	}
	return nil
}

// KillPostgres ends the server and every backend at once, as the end of a machine would.
func (c *Cluster) KillPostgres(ctx context.Context) error {
	if err := c.SignalPostgres(syscall.SIGKILL); err != nil {
		return err
	}
	select {
	case <-c.Postgres.Done():
	case <-ctx.Done():
		return ctx.Err()
	}
	return c.Postgres.Stop(ctx) // lets go of the folder
}

// RestartPostgres starts the server again over its data. Its port may be another: see PostgresAddr.
func (c *Cluster) RestartPostgres(ctx context.Context) error { return c.startPostgres(ctx) }

// PostgresAddr is the server's TCP address.
func (c *Cluster) PostgresAddr() string { return c.Postgres.Addr() }

// Database is the connection string of a service's database, by TCP at addr.
func (c *Cluster) Database(ctx context.Context, service, addr string) (string, error) {
	secret, err := c.Postgres.URL(ctx, service)
	if err != nil || addr == "" {
		return secret.Reveal(), err
	}
	u, err := url.Parse(secret.Reveal())
	if err != nil {
		return "", err
	}
	u.Host, u.RawQuery = addr, "sslmode=disable"
	return u.String(), nil
}

// startNATS starts one nats-server, or a cluster of them. Nodes don't tell clients of one another, or a client would
// find its way around Route.
func (c *Cluster) startNATS(ctx context.Context, program string, nodes int, next func() string) error {
	clients, routes := make([]string, nodes), make([]string, nodes)
	for i := range nodes {
		clients[i], routes[i] = next(), next()
	}
	accounts, err := c.guard()
	if err != nil {
		return err
	}
	for i := range nodes {
		name := "nats-server"
		body := accounts + fmt.Sprintf("listen: %q\njetstream { store_dir: %q, max_file_store: 50GB }\n%s\n", clients[i], c.NATSDir(i), c.cfg.NATSConf)
		if nodes == 1 {
			body += "server_name: bench\n"
		} else {
			name = fmt.Sprintf("nats-%d", i+1)
			body += fmt.Sprintf("server_name: %s\ncluster { name: healthmed, listen: %q, no_advertise: true, routes: [%s] }\n",
				name, routes[i], "nats://"+strings.Join(routes, ", nats://"))
		}
		conf := filepath.Join(c.cfg.Dir, name+".conf")
		if err := os.WriteFile(conf, []byte(body), 0o600); err != nil {
			return err
		}
		p := &Process{Name: name, Path: program, Args: []string{"-c", conf}, Log: c.logFile(name)}
		c.NATSNodes = append(c.NATSNodes, p)
		c.natsAddrs = append(c.natsAddrs, clients[i])
		if err := p.Start(); err != nil {
			return err
		}
	}
	c.NATS = c.NATSNodes[0]
	c.NATSURL = "nats://" + strings.Join(clients, ",nats://")
	for _, addr := range clients { // streams are declared by the services, which wait for the cluster to be formed
		if err := waitListens(ctx, addr, 20*time.Second); err != nil {
			return err
		}
	}
	return nil
}

// guard makes everybody's keys and lays the accounts of deploy/nats beside the server's configuration.
func (c *Cluster) guard() (include string, err error) {
	if !c.cfg.Guarded {
		return "", nil
	}
	if _, err := access.MakeKeys(filepath.Join(c.cfg.Dir, "auth"), filepath.Join(c.cfg.Dir, "seeds")); err != nil {
		return "", err
	}
	body, err := os.ReadFile(filepath.Join(root(), "deploy/nats/accounts.conf"))
	if err != nil {
		return "", err
	}
	return "include ./accounts.conf\n", os.WriteFile(filepath.Join(c.cfg.Dir, "accounts.conf"), body, 0o600)
}

// keyEnv is the setting of a service's key.
func (c *Cluster) keyEnv(service string) []string {
	if !c.cfg.Guarded {
		return nil
	}
	return []string{"NATS_NKEY_FILE=" + filepath.Join(c.cfg.Dir, "seeds", service, access.SeedFile)}
}

// NATSDir is where a node keeps its streams.
func (c *Cluster) NATSDir(node int) string {
	if node == 0 {
		return filepath.Join(c.cfg.Dir, "nats")
	}
	return filepath.Join(c.cfg.Dir, fmt.Sprintf("nats-%d", node+1))
}

// routed are the addresses that a replica calls, by way of Route.
func (c *Cluster) routed(ctx context.Context, service, replica string) ([]string, error) {
	route := c.cfg.Route
	if route == nil {
		route = func(_, to, addr string) (string, error) {
			if to == "postgres" {
				return "", nil // by its Unix socket
			}
			return addr, nil
		}
	}
	postgres, err := route(replica, "postgres", c.PostgresAddr())
	if err != nil {
		return nil, err
	}
	database, err := c.Database(ctx, service, postgres)
	if err != nil {
		return nil, err
	}
	var servers []string
	for i, addr := range c.natsAddrs {
		addr, err := route(replica, fmt.Sprintf("nats-%d", i+1), addr)
		if err != nil {
			return nil, err
		}
		servers = append(servers, "nats://"+addr)
	}
	ses, err := route(replica, "ses", strings.TrimPrefix(c.Inbox, "http://"))
	if err != nil {
		return nil, err
	}
	keys, err := route(replica, "keys", strings.TrimPrefix(c.origins["users"][0], "http://"))
	if err != nil {
		return nil, err
	}
	env := []string{
		"DATABASE_URL=" + database, "NATS_URL=" + strings.Join(servers, ","), "AWS_ENDPOINT_URL_SESV2=http://" + ses,
		"AUTH_JWKS_URL=http://" + keys + "/.well-known/jwks.json",
	}
	if c.cfg.SES != "" {
		env = append(env, "AWS_ENDPOINT_URL_SQS=http://"+ses)
	}
	return env, nil
}

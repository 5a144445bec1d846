package bench

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/healthmed/healthmed/tests/load/fill"
	"github.com/healthmed/healthmed/tests/system"
)

// Config of a run.
type Config struct {
	Dir   string // fresh folder for everything
	Quick bool
	Size  fill.Size
	// Program is this program, which also serves as the bare HTTP server and holds connections.
	Program string
	// Say prints a line of progress.
	Say func(format string, args ...any)
}

// World is the running system, filled, and all that a scenario needs to use it.
type World struct {
	Config  Config
	Cluster *system.Cluster
	Data    *fill.Data
	// Databases of the services, for looking and for the loops that are the limits.
	Users, Scheduling, Notifier *pgxpool.Pool
	NC                          *nats.Conn
	JS                          jetstream.JetStream
	UsersAPI, SchedulingAPI     *API
	Tokens                      *Tokens
	Slots                       *Slots
	Limits                      *Limits

	keys    fill.Keys
	stopped map[string]bool
}

// Services are the names of the services.
func Services() []string { return []string{"users", "scheduling", "notifier"} }

// tokenTTL outlasts a run.
const tokenTTL = 12 * time.Hour

// Start builds and starts the system, and fills it. Stop must be called, whatever the error.
func Start(ctx context.Context, cfg Config) (*World, error) {
	w := &World{Config: cfg, stopped: map[string]bool{}, keys: fill.Keys{CPF: newKey(), CPFIndex: newKey(), Token: newKey()}}
	cfg.Say("building and starting the system …")
	var err error
	w.Cluster, err = system.StartCluster(ctx, system.ClusterConfig{
		Dir: cfg.Dir, Fsync: true,
		Env: map[string][]string{
			"users": {
				"KEYS_CPF=k1:" + w.keys.CPF, "KEYS_TOKEN=k1:" + w.keys.Token, "KEY_CPF_INDEX=" + w.keys.CPFIndex,
				"ACCESS_TOKEN_TTL=" + tokenTTL.String(), "ATTEMPTS_PER_ADDRESS=1000000", "ATTEMPTS_PER_ACCOUNT=1000000",
			},
			"notifier": {"SEND_RATE=100000"},
			"sesinbox": {"INBOX_MAX_MESSAGES=20000", "INBOX_MAX_SEND_RATE=100000"},
		},
		// Commit times tell when an event could first be known. The fill's checkpoints must not reach into the measurements.
		Params: map[string]string{"track_commit_timestamp": "on", "max_wal_size": "8GB", "checkpoint_timeout": "30min", "max_connections": "300"},
	})
	if err != nil {
		return w, err
	}
	if err := w.connect(ctx); err != nil {
		return w, err
	}
	w.Data, err = fill.All(ctx, fill.Target{Users: w.Users, Scheduling: w.Scheduling, Notifier: w.Notifier, Keys: w.keys}, cfg.Size, cfg.Say)
	if err != nil {
		return w, fmt.Errorf("fill: %w", err)
	}
	w.Slots = newSlots(w.Data)
	if w.Tokens, err = newTokens(ctx, w.Users, w.keys.Token); err != nil {
		return w, fmt.Errorf("tokens: %w", err)
	}
	w.Limits = &Limits{w: w}
	// Scheduling fetches the keys that tokens are checked with once; from then on it can do without users for a while.
	return w, w.SchedulingAPI.Do(Call{Method: "GET", Path: "/v1/appointments", Token: w.Tokens.Of(w.Data.Patients[0]), Want: 200})
}

func (w *World) connect(ctx context.Context) error {
	for name, pool := range map[string]**pgxpool.Pool{"users": &w.Users, "scheduling": &w.Scheduling, "notifier": &w.Notifier} {
		url, err := w.Cluster.Postgres.URL(ctx, name)
		if err != nil {
			return err
		}
		cfg, err := pgxpool.ParseConfig(url.Reveal())
		if err != nil {
			return err
		}
		cfg.MaxConns = 64
		if *pool, err = pgxpool.NewWithConfig(ctx, cfg); err != nil {
			return err
		}
	}
	var err error
	if w.NC, err = nats.Connect(w.Cluster.NATSURL, nats.MaxReconnects(-1), nats.ReconnectWait(100*time.Millisecond)); err != nil {
		return err
	}
	if w.JS, err = jetstream.New(w.NC); err != nil {
		return err
	}
	w.UsersAPI = NewAPI(w.Cluster.Origin("users", 0))
	w.SchedulingAPI = NewAPI(w.Cluster.Origin("scheduling", 0))
	return nil
}

// quietWithin bounds the wait between scenarios.
const quietWithin = 5 * time.Minute

// Run runs a scenario, with the services stopped that it does without, once everything before it is done.
func (w *World) Run(ctx context.Context, s Scenario) ([]Row, error) {
	for _, name := range Services() {
		var err error
		if slices.Contains(s.Without, name) {
			err = w.StopService(name)
		} else {
			err = w.StartService(ctx, name)
		}
		if err != nil {
			return nil, err
		}
	}
	if err := w.Quiet(ctx, quietWithin); err != nil {
		return nil, err
	}
	rows, err := s.Run(ctx, w)
	if err == nil {
		err = ctx.Err()
	}
	return rows, err
}

// Stop ends everything that Start began.
func (w *World) Stop() error {
	limits := w.Limits.stop()
	if w.NC != nil {
		w.NC.Close()
	}
	for _, pool := range []*pgxpool.Pool{w.Users, w.Scheduling, w.Notifier} {
		if pool != nil {
			pool.Close()
		}
	}
	if w.Cluster == nil {
		return limits
	}
	return errors.Join(limits, w.Cluster.Stop())
}

// StopService stops a service until StartService.
func (w *World) StopService(name string) error {
	if w.stopped[name] {
		return nil
	}
	if err := w.Cluster.Services[name][0].Stop(20 * time.Second); err != nil {
		return err
	}
	w.stopped[name] = true
	return nil
}

// StartService starts it again and waits until it is ready.
func (w *World) StartService(ctx context.Context, name string) error {
	if !w.stopped[name] {
		return nil
	}
	if err := w.Cluster.Services[name][0].Start(); err != nil {
		return err
	}
	delete(w.stopped, name)
	return system.WaitReady(ctx, w.Cluster.Origin(name, 0), 30*time.Second)
}

// SyncAlways restarts NATS so that it fsyncs every message before it acknowledges it, or, with false, as it was.
func (w *World) SyncAlways(ctx context.Context, always bool) error {
	file := filepath.Join(w.Config.Dir, "nats-server.conf")
	conf, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	const normal, synced = "max_file_store: 50GB }", "max_file_store: 50GB, sync_interval: always }"
	from, to := normal, synced
	if !always {
		from, to = synced, normal
	}
	if !strings.Contains(string(conf), from) {
		return errors.New("the configuration of nats-server is not as expected")
	}
	if err := os.WriteFile(file, []byte(strings.Replace(string(conf), from, to, 1)), 0o600); err != nil {
		return err
	}
	if err := w.Cluster.NATS.Stop(20 * time.Second); err != nil {
		return err
	}
	if err := w.Cluster.NATS.Start(); err != nil {
		return err
	}
	return w.Eventually(ctx, 60*time.Second, "NATS answers and the relays have caught up", func(ctx context.Context) (bool, error) {
		if _, err := w.JS.Stream(ctx, "SCHEDULING"); err != nil {
			return false, nil //nolint:nilerr // not yet
		}
		n, err := w.Unpublished(ctx)
		return n == 0, err
	})
}

// Unpublished counts the events that scheduling's outbox still holds.
func (w *World) Unpublished(ctx context.Context) (n int, err error) {
	err = w.Scheduling.QueryRow(ctx, `SELECT count(*) FROM outbox WHERE published_at IS NULL AND quarantined_at IS NULL`).Scan(&n)
	return n, err
}

// Unsent counts the deliveries that are due.
func (w *World) Unsent(ctx context.Context) (n int, err error) {
	err = w.Notifier.QueryRow(ctx, `SELECT count(*) FROM deliveries WHERE status IN ('pending', 'waiting', 'sending') AND due_at <= now() + interval '40 seconds'`).Scan(&n)
	return n, err
}

// Unread counts the messages that the durable consumers of a stream have not acknowledged yet.
func (w *World) Unread(ctx context.Context, stream string) (n uint64, err error) {
	s, err := w.JS.Stream(ctx, stream)
	if err != nil {
		return 0, err
	}
	list := s.ListConsumers(ctx)
	for info := range list.Info() {
		if info.Config.Durable != "" && !w.stopped[owner(info.Config.Durable)] {
			n += info.NumPending + uint64(info.NumAckPending)
		}
	}
	return n, list.Err()
}

// owner is the service whose durable it is: they are named SERVICE-STREAM.
func owner(durable string) string {
	service, _, _ := strings.Cut(durable, "-")
	return service
}

// Quiet waits until everything that was begun is done: outbox, consumers and, when the notifier runs, its deliveries.
func (w *World) Quiet(ctx context.Context, limit time.Duration) error {
	return w.Eventually(ctx, limit, "the system is quiet", func(ctx context.Context) (bool, error) {
		if n, err := w.Unpublished(ctx); n > 0 || err != nil {
			return false, err
		}
		for _, stream := range []string{"USERS", "SCHEDULING"} {
			if n, err := w.Unread(ctx, stream); n > 0 || err != nil {
				return false, err
			}
		}
		if w.stopped["notifier"] {
			return true, nil
		}
		n, err := w.Unsent(ctx)
		return n == 0, err
	})
}

// Eventually looks until done says so: every 50 ms, or seldom enough to spend a twentieth of the time on looking. A
// count of a long queue would otherwise take a processor from those who work it off.
func (w *World) Eventually(ctx context.Context, limit time.Duration, what string, done func(context.Context) (bool, error)) error {
	limited, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for {
		asked := time.Now()
		ok, err := done(limited)
		if ok && err == nil {
			return nil
		}
		if err != nil && limited.Err() == nil {
			return fmt.Errorf("%s: %w", what, err)
		}
		select {
		case <-limited.Done():
			return fmt.Errorf("%s: not within %s", what, limit)
		case <-time.After(max(50*time.Millisecond, 20*time.Since(asked))):
		}
	}
}

func ownResident() int64 {
	body, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(body))
	if len(fields) < 2 {
		return 0
	}
	pages, _ := strconv.ParseInt(fields[1], 10, 64)
	return pages * int64(os.Getpagesize())
}

func newKey() string {
	var key [32]byte
	rand.Read(key[:]) // never fails (crypto/rand)
	return base64.StdEncoding.EncodeToString(key[:])
}

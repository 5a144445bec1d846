package fault

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/nats-io/nats.go"

	"github.com/healthmed/healthmed/pkg/sesinbox"
	"github.com/healthmed/healthmed/pkg/sesinbox/queue"
	"github.com/healthmed/healthmed/pkg/sestest"
	"github.com/healthmed/healthmed/tests/system"
)

// rig is the system with everything that can be done to it.
type rig struct {
	*system.Cluster
	shape Shape
	dir   string
	links map[string]*system.Link
	mail  *sestest.Endpoint
	stop  func()
	out   io.Writer
	began time.Time

	mu      sync.Mutex
	windows []Window
	locks   map[string]*sync.Mutex
}

// assemble starts a system whose parts meet through links.
func assemble(ctx context.Context, dir string, shape Shape, programs map[string]string, out io.Writer) (_ *rig, err error) {
	r := &rig{shape: shape, dir: dir, links: map[string]*system.Link{}, locks: map[string]*sync.Mutex{}, out: out}
	feedback := queue.New(sestest.QueueName, 0)
	if r.mail, r.stop, err = sestest.Open(sesinbox.Config{MaxMessages: 1 << 20, MaxSendRate: 500, Feedback: feedback}); err != nil {
		return nil, err
	}
	r.mail.SetFault(unhurried)
	if shape.Full {
		if err := mountSmall(filepath.Join(dir, "nats")); err != nil {
			return nil, err
		}
	}
	common := []string{"ENVIRONMENT=development"}
	r.Cluster, err = system.StartCluster(ctx, system.ClusterConfig{
		Dir: dir, Replicas: shape.Replicas, NATSNodes: shape.Nodes, Programs: programs, SES: r.mail.URL, Fsync: true,
		Env: map[string][]string{
			"users":      append([]string{"ATTEMPTS_PER_ADDRESS=1000000", "ACCESS_TOKEN_TTL=4h"}, common...),
			"scheduling": common,
			"notifier": append([]string{
				"SES_CONFIGURATION_SET=chaos", "FEEDBACK_QUEUE_URL=" + feedback.URL(r.mail.URL),
				"SETTLE_AFTER=8s", "SEND_TIMEOUT=3s", "RETRY_BASE=500ms",
			}, common...),
		},
		Route: func(from, to, addr string) (string, error) {
			link, err := system.NewLink(ctx, from+">"+to, addr)
			if err != nil {
				return "", err
			}
			r.links[link.Name] = link
			return link.Addr, nil
		},
	})
	if err != nil {
		r.stop()
		return nil, err
	}
	return r, nil
}

// close ends everything.
func (r *rig) close() error {
	err := r.Stop()
	for _, link := range r.links {
		err = errors.Join(err, link.Close())
	}
	r.stop()
	if r.shape.Full {
		err = errors.Join(err, syscall.Unmount(filepath.Join(r.dir, "nats"), 0))
	}
	return err
}

// process by its name.
func (r *rig) process(name string) *system.Process {
	if n, ok := strings.CutPrefix(name, "nats-"); ok {
		return r.NATSNodes[int(n[0]-'1')]
	}
	service, n, _ := strings.Cut(name, "-")
	return r.Services[service][int(n[0]-'1')]
}

// inject waits for the fault's time, does it, and heals it.
func (r *rig) inject(ctx context.Context, f Fault) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(time.Until(r.began.Add(f.At))):
	}
	lock := r.lock(f.Target)
	if f.Kind == Lead {
		node, err := r.leader(ctx)
		if err != nil {
			return fmt.Errorf("%s: %w", f, err)
		}
		f.Kind, f.Target, f.How = Kill, node, "(leads SCHEDULING)"
		lock = r.lock(node)
	}
	lock.Lock()
	defer lock.Unlock()
	w := Window{Fault: f.String(), Parts: []string{f.Target}, From: time.Now()}
	err := r.doIt(ctx, f)
	w.To = time.Now()
	r.mu.Lock()
	r.windows = append(r.windows, w)
	r.mu.Unlock()
	if err != nil {
		return fmt.Errorf("%s: %w", f, err)
	}
	return nil
}

func (r *rig) lock(target string) *sync.Mutex {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.locks[target] == nil {
		r.locks[target] = &sync.Mutex{}
	}
	return r.locks[target]
}

func (r *rig) doIt(ctx context.Context, f Fault) error {
	switch f.Kind {
	case Kill:
		return r.kill(ctx, f)
	case Freeze:
		return r.freeze(f)
	case Cut:
		return r.disturb(f, system.LinkState{Cut: true})
	case Slow:
		return r.disturb(f, system.LinkState{Delay: f.By})
	case Hush:
		return r.disturb(f, system.LinkState{Hush: true})
	case MailDown:
		return r.misbehave(f)
	case Clock:
		return r.clock(f)
	case HandOver:
		return r.handOver(ctx, f.Target)
	case Roll:
		return r.roll(ctx, f.Target)
	case DiskFull:
		return r.fillDisk(f)
	case StepDown:
		return r.stepDown()
	}
	return errors.New("no such fault")
}

func (r *rig) kill(ctx context.Context, f Fault) error {
	if f.Target == "postgres" {
		if err := r.KillPostgres(ctx); err != nil {
			return err
		}
		time.Sleep(f.For)
		if err := r.RestartPostgres(ctx); err != nil {
			return err
		}
		for name, link := range r.links {
			if strings.HasSuffix(name, ">postgres") {
				link.Retarget(r.PostgresAddr())
			}
		}
		return nil
	}
	p := r.process(f.Target)
	p.Kill()
	time.Sleep(f.For)
	return p.Start()
}

func (r *rig) freeze(f Fault) error {
	signal := r.SignalPostgres
	if f.Target != "postgres" {
		signal = r.process(f.Target).Signal
	}
	if err := signal(syscall.SIGSTOP); err != nil {
		return err
	}
	time.Sleep(f.For)
	return signal(syscall.SIGCONT)
}

func (r *rig) disturb(f Fault, state system.LinkState) error {
	link := r.links[f.Target]
	if link == nil {
		return errors.New("no such link")
	}
	link.Set(state)
	time.Sleep(f.For)
	link.Set(system.LinkState{})
	return nil
}

func (r *rig) misbehave(f Fault) error {
	fault := map[string]sestest.Fault{
		"throttles":          {Status: http.StatusTooManyRequests, Code: "TooManyRequestsException"},
		"answers 500":        {Status: http.StatusInternalServerError, Code: "InternalServiceErrorException"},
		"hangs":              {Hang: true},
		"cuts":               {Cut: true},
		"accepts, then cuts": {Accept: true, Cut: true},
	}[f.How]
	r.mail.SetFault(func(*http.Request) sestest.Fault { return fault })
	time.Sleep(f.For)
	r.mail.SetFault(unhurried)
	return nil
}

// unhurried is the mail service when it is well: it takes its time, so that a kill meets sends under way.
func unhurried(*http.Request) sestest.Fault {
	time.Sleep(rand.N(200 * time.Millisecond)) //nolint:gosec // it only spreads the answers
	return sestest.Fault{}
}

const stopWithin = 20 * time.Second

// end asks a process to end in order. One that has hardly run yet may not listen to the signal so far, and end by it.
func end(p *system.Process) error {
	young := p.Age() < 3*time.Second
	err := p.Stop(stopWithin)
	var exit *exec.ExitError
	if young && errors.As(err, &exit) && exit.Sys().(syscall.WaitStatus).Signal() == syscall.SIGTERM {
		return nil
	}
	return err
}

// clock replaces a replica by one whose clock is off, and later by a sound one.
func (r *rig) clock(f Fault) error {
	p := r.process(f.Target)
	sound := p.Env
	for _, env := range [][]string{append(slices.Clone(sound), "DEV_CLOCK_OFFSET="+f.By.String()), sound} {
		if err := end(p); err != nil {
			return err
		}
		p.Env = env
		if err := p.Start(); err != nil {
			return err
		}
		if len(env) > len(sound) {
			time.Sleep(f.For)
		}
	}
	return nil
}

// handOver ends the session that holds the relay's lock: another replica leads from then on.
func (r *rig) handOver(ctx context.Context, service string) error {
	return r.query(ctx, service, func(ctx context.Context, conn *pgx.Conn) error {
		_, err := conn.Exec(ctx, `SELECT pg_terminate_backend(l.pid) FROM pg_locks l JOIN pg_database d ON d.oid = l.database
			WHERE l.locktype = 'advisory' AND l.granted AND d.datname = current_database()`)
		return err
	})
}

// query runs on a service's database, past its links. PostgreSQL may be away: it is tried for a while.
func (r *rig) query(ctx context.Context, service string, do func(context.Context, *pgx.Conn) error) error {
	ctx, cancel := context.WithTimeout(ctx, 40*time.Second)
	defer cancel()
	lock := r.lock("postgres") // it isn't killed or frozen meanwhile
	lock.Lock()
	defer lock.Unlock()
	url, err := r.Database(ctx, service, "")
	if err != nil {
		return err
	}
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return err
	}
	return errors.Join(do(ctx, conn), conn.Close(ctx))
}

// roll replaces every replica in turn, as a deployment does.
func (r *rig) roll(ctx context.Context, service string) error {
	for i, p := range r.Services[service] {
		lock := r.lock(p.Name)
		lock.Lock()
		err := end(p)
		if err == nil {
			err = p.Start()
		}
		lock.Unlock()
		if err != nil {
			return err
		}
		// Where the database is down meanwhile, the deployment goes on all the same.
		_ = system.WaitReady(ctx, r.Origin(service, i), 5*time.Second)
	}
	return nil
}

// leader is the node that leads SCHEDULING. While another fault lasts there may be none, or none that answers: it is asked
// for until that is over.
func (r *rig) leader(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 40*time.Second)
	defer cancel()
	for {
		node, err := r.askLeader(ctx)
		if err == nil && node != "" {
			return node, nil
		}
		select {
		case <-ctx.Done():
			return "", errors.Join(errors.New("SCHEDULING has no leader"), err)
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// askLeader asks whichever node it meets, once.
func (r *rig) askLeader(ctx context.Context) (string, error) {
	nc, js, err := r.bus()
	if err != nil {
		return "", err
	}
	defer nc.Close()
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	stream, err := js.Stream(ctx, "SCHEDULING")
	if err != nil {
		return "", err
	}
	return stream.CachedInfo().Cluster.Leader, nil
}

func (r *rig) stepDown() error {
	nc, _, err := r.bus()
	if err != nil {
		return err
	}
	defer nc.Close()
	_, err = nc.Request("$JS.API.STREAM.LEADER.STEPDOWN.SCHEDULING", nil, 10*time.Second)
	if errors.Is(err, nats.ErrTimeout) || errors.Is(err, nats.ErrNoResponders) {
		return nil // there may be no leader just now
	}
	return err
}

// smallStore is the size of the NATS store where its disk is to be filled.
const smallStore = 96 << 20

func mountSmall(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	return syscall.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%d", smallStore))
}

// fillDisk leaves the store no byte, then frees it and does what the operator's playbook says: start nats-server
// again, which goes on refusing writes otherwise.
func (r *rig) fillDisk(f Fault) error {
	name := filepath.Join(r.NATSDir(0), "ballast")
	file, err := os.Create(name)
	if err != nil {
		return err
	}
	chunk := make([]byte, 64<<10)
	for err == nil {
		_, err = file.Write(chunk)
	}
	_ = file.Close() // it is removed anyway
	if !errors.Is(err, syscall.ENOSPC) {
		return errors.Join(err, os.Remove(name))
	}
	time.Sleep(f.For)
	if err := os.Remove(name); err != nil {
		return err
	}
	p := r.process("nats-1")
	if err := p.Stop(stopWithin); err != nil {
		p.Kill() // a server that can't write its state may not end by itself
	}
	return p.Start()
}

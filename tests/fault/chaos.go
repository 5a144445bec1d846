// Package fault breaks the running system on purpose and looks, from outside, whether its promises hold.
//
// A round starts every part as a process of its own, with links between them that can misbehave; lets clients act and
// write down what they were told; injects the faults of a seeded schedule; heals everything, waits until it is quiet,
// and checks the invariants (invariants.go) over what clients, subscribers, mail service and databases show.
package fault

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/healthmed/healthmed/tests/system"
)

// Config of a run.
type Config struct {
	Rounds  int
	Seed    uint64 // of the first round; each next round has the next
	Length  time.Duration
	Faults  int // in a round
	Clients int
	Dir     string // kept when something is found
	Only    []Kind // restricts the faults
	Nodes   int    // of NATS; 0 is one node, and three in every third round
	Out     io.Writer
}

// Round is what one round found.
type Round struct {
	Seed       uint64
	Plan       []Fault
	Violations []Violation
	InDoubt    []string // sent again because nobody could know
	Excused    []string // no violations only because the machine stood still
	Outcomes   map[Outcome]int
	Requests   int
	Mails      int
	Events     int
	Quiet      time.Duration // from healing until nothing was under way
}

// Run runs the rounds and tells of each. The error is about the program, not about what it found.
func Run(ctx context.Context, cfg Config) ([]Round, error) {
	programs, err := system.BuildCluster(ctx, filepath.Join(cfg.Dir, "bin"))
	if err != nil {
		return nil, err
	}
	var rounds []Round
	for i := range cfg.Rounds {
		shape := Shape{Length: cfg.Length, Faults: cfg.Faults, Replicas: 2, Nodes: max(cfg.Nodes, 1), Only: cfg.Only}
		seed := cfg.Seed + uint64(i) //nolint:gosec // few
		if cfg.Nodes == 0 && seed%3 == 0 {
			shape.Nodes = 3
		}
		if shape.Full = os.Geteuid() == 0 && shape.Nodes == 1; os.Geteuid() != 0 && i == 0 {
			fmt.Fprintln(cfg.Out, "SKIPPED: disk full on the NATS store needs root (a small tmpfs)")
		}
		dir := filepath.Join(cfg.Dir, fmt.Sprintf("round-%d", seed))
		round, err := one(ctx, cfg, seed, shape, dir, programs)
		if err != nil {
			return rounds, fmt.Errorf("round with seed %d: %w (logs: %s)", seed, err, dir)
		}
		tell(cfg.Out, round, dir)
		rounds = append(rounds, round)
		if len(round.Violations) == 0 {
			if err := os.RemoveAll(dir); err != nil {
				return rounds, err
			}
		}
		if ctx.Err() != nil {
			return rounds, ctx.Err()
		}
	}
	return rounds, nil
}

// quietWithin bounds the wait after healing: a send whose worker was killed keeps its lease for half a minute.
const quietWithin = 2 * time.Minute

func one(ctx context.Context, cfg Config, seed uint64, shape Shape, dir string, programs map[string]string) (round Round, err error) {
	round = Round{Seed: seed, Plan: Plan(seed, shape)}
	fmt.Fprintf(cfg.Out, "round with seed %d, %d NATS node(s)\n", seed, shape.Nodes)
	for _, f := range round.Plan {
		fmt.Fprintln(cfg.Out, "  ", f)
	}
	r, err := assemble(ctx, dir, shape, programs, cfg.Out)
	if err != nil {
		return round, err
	}
	defer func() { err = errors.Join(err, r.close()) }()
	observer, err := r.observe(ctx)
	if err != nil {
		return round, err
	}
	defer observer.nc.Close()
	world, err := newWorld(ctx, r.Cluster, shape.Replicas, 4, 24)
	if err != nil {
		return round, err
	}
	var broken []Violation
	if err := r.storm(ctx, world, cfg.Clients, seed, round.Plan); err != nil {
		broken = append(broken, Violation{"it stops, starts and heals as asked", err.Error()})
	}
	settling, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if err := world.settle(settling); err != nil {
		broken = append(broken, Violation{"it heals", err.Error()})
	}
	var left []string
	if round.Quiet, left = r.quiet(ctx, quietWithin); len(left) > 0 {
		broken = append(broken, Violation{"it comes to rest", fmt.Sprintf("still busy after %s: %s", quietWithin, strings.Join(left[:min(len(left), 5)], "; "))})
	}
	broken = append(broken, r.died()...)
	snapshot, err := r.gather(ctx, observer.seen())
	if err != nil {
		return round, err
	}
	evidence := Evidence{Snapshot: snapshot, Journal: world.journal.Entries(), Windows: r.windows}
	round.Violations = append(broken, Check(evidence)...)
	round.InDoubt, round.Excused = InDoubt(evidence), Excused(evidence)
	round.Outcomes, round.Requests, round.Mails = Tally(evidence.Journal), len(evidence.Journal), len(snapshot.Mails)
	for _, list := range snapshot.Events {
		round.Events += len(list)
	}
	return round, nil
}

// storm runs load and faults together, and heals what is left at the end.
func (r *rig) storm(ctx context.Context, world *world, clients int, seed uint64, plan []Fault) error {
	loaded, stop := context.WithTimeout(ctx, r.shape.Length)
	defer stop()
	r.began = time.Now()
	var wg sync.WaitGroup
	faults := make([]error, len(plan)+1)
	for i, f := range plan {
		wg.Go(func() { faults[i] = r.inject(ctx, f) })
	}
	watched, unwatch := context.WithCancel(ctx)
	watch := sync.WaitGroup{}
	watch.Go(func() { faults[len(plan)] = r.watchMachine(watched) })
	world.run(loaded, clients, seed)
	wg.Wait()
	unwatch()
	watch.Wait()
	if err := errors.Join(faults...); err != nil {
		return err
	}
	for name, replicas := range r.Services {
		for i := range replicas {
			if err := system.WaitReady(ctx, r.Origin(name, i), time.Minute); err != nil {
				return fmt.Errorf("%s-%d does not heal: %w", name, i+1, err)
			}
		}
	}
	return nil
}

// died looks for processes that ended by themselves.
func (r *rig) died() (found []Violation) {
	for _, replicas := range r.Services {
		for _, p := range replicas {
			select {
			case <-p.Exited():
				found = append(found, Violation{"a service never ends by itself", p.Name + " has ended; its log: " + p.Log})
			default:
			}
		}
	}
	return found
}

// tell prints what a round found.
func tell(out io.Writer, r Round, dir string) {
	fmt.Fprintf(out, "   %d requests (writes: %d acknowledged, %d refused, %d unknown), %d events, %d e-mails; quiet %s after healing\n", r.Requests,
		r.Outcomes[Acknowledged], r.Outcomes[Refused], r.Outcomes[Unknown], r.Events, r.Mails, r.Quiet.Round(100*time.Millisecond))
	for _, d := range r.InDoubt {
		fmt.Fprintln(out, "   sent again in doubt:", d)
	}
	for _, x := range r.Excused {
		fmt.Fprintln(out, "   excused, the machine stood still:", x)
	}
	if len(r.Violations) == 0 {
		fmt.Fprintln(out, "   no violation")
		return
	}
	const shown = 25
	for _, v := range r.Violations[:min(len(r.Violations), shown)] {
		fmt.Fprintln(out, "   VIOLATION", v)
	}
	fmt.Fprintf(out, "   %d violations; logs in %s; again with CHAOS_SEED=%d CHAOS_ROUNDS=1\n", len(r.Violations), dir, r.Seed)
}

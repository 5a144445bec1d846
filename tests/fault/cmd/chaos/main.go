// Command chaos breaks the running system by a seeded schedule and checks its promises from outside; see package
// fault and docs/reliability.md.
//
// With the argument "recovery" it measures how bookings and events come through outages instead: CHAOS_RATE bookings a
// second (default 100), NATS away for CHAOS_OUTAGE (default 60s).
//
//	CHAOS_ROUNDS   rounds, default 3
//	CHAOS_SEED     seed of the first round, default drawn; each next round has the next seed
//	CHAOS_LENGTH   of the load in a round, default 25s
//	CHAOS_FAULTS   faults in a round, default 6
//	CHAOS_CLIENTS  clients that act at once, default 6
//	CHAOS_ONLY     kinds of faults, by comma, default all
//	CHAOS_NODES    NATS nodes; default 1, and 3 in every third round
//	CHAOS_DIR      data folder, default a temporary one; a round's folder stays when something is found in it
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/caarlos0/env/v11"

	"github.com/healthmed/healthmed/tests/fault"
)

type settings struct {
	Rounds  int           `env:"CHAOS_ROUNDS" envDefault:"3"`
	Seed    uint64        `env:"CHAOS_SEED"`
	Length  time.Duration `env:"CHAOS_LENGTH" envDefault:"25s"`
	Faults  int           `env:"CHAOS_FAULTS" envDefault:"6"`
	Clients int           `env:"CHAOS_CLIENTS" envDefault:"6"`
	Nodes   int           `env:"CHAOS_NODES"`
	Only    string        `env:"CHAOS_ONLY"`
	Dir     string        `env:"CHAOS_DIR"`
	Rate    int           `env:"CHAOS_RATE" envDefault:"100"`
	Outage  time.Duration `env:"CHAOS_OUTAGE" envDefault:"60s"`
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "chaos:", err)
		stop()
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	s, err := env.ParseAs[settings]()
	if err != nil {
		return err
	}
	if s.Seed == 0 {
		s.Seed = uint64(time.Now().Unix()) //nolint:gosec // after 1970
	}
	if s.Dir == "" {
		if s.Dir, err = os.MkdirTemp("", "chaos-"); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(s.Dir, 0o755); err != nil { // PostgreSQL does not run as root, and must reach its folder
		return err
	}
	if err := os.Chmod(s.Dir, 0o755); err != nil {
		return err
	}
	if len(os.Args) == 2 && os.Args[1] == "recovery" {
		return errors.Join(fault.Recovery(ctx, s.Dir, s.Rate, s.Outage, os.Stdout), os.RemoveAll(s.Dir))
	}
	cfg := fault.Config{Rounds: s.Rounds, Seed: s.Seed, Length: s.Length, Faults: s.Faults, Clients: s.Clients, Nodes: s.Nodes, Dir: s.Dir, Out: os.Stdout}
	for _, kind := range strings.Split(s.Only, ",") {
		if kind != "" {
			cfg.Only = append(cfg.Only, fault.Kind(kind))
		}
	}
	rounds, err := fault.Run(ctx, cfg)
	violations, inDoubt, excused, requests := 0, 0, 0, 0
	for _, r := range rounds {
		violations, inDoubt, excused, requests = violations+len(r.Violations), inDoubt+len(r.InDoubt), excused+len(r.Excused), requests+r.Requests
	}
	fmt.Printf("%d rounds, seeds from %d, %d requests: %d violations, %d e-mails sent again in doubt, %d excused because the machine stood still\n",
		len(rounds), s.Seed, requests, violations, inDoubt, excused)
	if err == nil && violations == 0 {
		return os.RemoveAll(s.Dir)
	}
	if violations > 0 {
		err = errors.Join(err, fmt.Errorf("%d violations", violations))
	}
	return err
}

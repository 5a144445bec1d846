package main

import (
	"context"
	_ "embed"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/healthmed/healthmed/tests/load/bench"
	"github.com/healthmed/healthmed/tests/load/fill"
	"github.com/healthmed/healthmed/tests/load/report"
	"github.com/healthmed/healthmed/tests/load/scenario"
)

//go:embed floors.yaml
var floorsFile []byte

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := run(ctx, os.Args[1:])
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "bench:", err)
		stop()
		os.Exit(1)
	}
}

// options from the command line.
type options struct {
	quick, list, keep bool
	only, out, dir    string
	size              fill.Size
}

func parse(args []string) (options, error) {
	var o options
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	f.BoolVar(&o.quick, "quick", false, "small data and short loads: under two minutes in all; floors marked full are not judged")
	f.BoolVar(&o.list, "list", false, "list the scenarios")
	f.BoolVar(&o.keep, "keep", false, "keep the data folder, with the logs, afterwards")
	f.StringVar(&o.only, "only", "", "comma-separated names of scenarios to run")
	f.StringVar(&o.out, "out", "bench", "folder of the report")
	f.StringVar(&o.dir, "dir", "", "parent of the data folder; default the system's temporary folder")
	f.IntVar(&o.size.Doctors, "doctors", 0, "doctors with a schedule (10000; quick 500)")
	f.IntVar(&o.size.Listed, "listed", 0, "doctors who can be searched by name (100000; quick 2000)")
	f.IntVar(&o.size.Patients, "patients", 0, "patients (200000; quick 10000)")
	f.IntVar(&o.size.Appointments, "appointments", 0, "appointments, most of them past (2000000; quick 60000)")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	full := fill.Size{Doctors: 10_000, Listed: 100_000, Patients: 200_000, Appointments: 2_000_000}
	if o.quick {
		full = fill.Size{Doctors: 500, Listed: 2_000, Patients: 10_000, Appointments: 60_000}
	}
	for field, value := range map[*int]int{&o.size.Doctors: full.Doctors, &o.size.Listed: full.Listed,
		&o.size.Patients: full.Patients, &o.size.Appointments: full.Appointments} {
		if *field == 0 {
			*field = value
		}
	}
	return o, o.size.Validate()
}

func run(ctx context.Context, args []string) error {
	switch {
	case len(args) == 1 && args[0] == "bare":
		return serveBare(ctx)
	case len(args) == 1 && args[0] == "hold":
		return hold(ctx)
	}
	o, err := parse(args)
	if err != nil {
		return err
	}
	if o.list {
		for _, s := range scenario.All() {
			fmt.Printf("%-20s %s\n", s.Name, s.What)
		}
		return nil
	}
	chosen, err := choose(scenario.All(), o.only)
	if err != nil {
		return err
	}
	floors, err := report.ParseFloors(floorsFile)
	if err != nil {
		return err
	}
	result, err := measure(ctx, o, chosen)
	if err != nil {
		return err
	}
	result.Judge(floors, o.only == "")
	if err := result.Write(o.out); err != nil {
		return err
	}
	fmt.Print(result.Table())
	say("report: %s", filepath.Join(o.out, "latest.md"))
	return result.Missed()
}

// choose picks scenarios by name.
func choose(all []bench.Scenario, only string) ([]bench.Scenario, error) {
	if only == "" {
		return all, nil
	}
	var chosen []bench.Scenario
	for name := range strings.SplitSeq(only, ",") {
		found := false
		for _, s := range all {
			if s.Name == strings.TrimSpace(name) {
				chosen, found = append(chosen, s), true
			}
		}
		if !found {
			return nil, fmt.Errorf("there is no scenario %q; -list shows them", name)
		}
	}
	return chosen, nil
}

// measure starts the system, runs the scenarios, and stops it.
func measure(ctx context.Context, o options, chosen []bench.Scenario) (result *report.Report, err error) {
	dir, err := os.MkdirTemp(o.dir, "healthmed-bench-")
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(dir, 0o755); err != nil { // PostgreSQL doesn't run as root
		return nil, err
	}
	program, err := os.Executable()
	if err != nil {
		return nil, err
	}
	began := time.Now()
	w, err := bench.Start(ctx, bench.Config{Dir: dir, Quick: o.quick, Size: o.size, Program: program, Say: say})
	defer func() {
		err = errors.Join(err, w.Stop())
		if o.keep || err != nil {
			say("data and logs: %s", dir)
			return
		}
		err = os.RemoveAll(dir)
	}()
	if err != nil {
		return nil, err
	}
	say("ready after %s", time.Since(began).Round(time.Second))
	result = report.New(o.quick, o.size)
	for n, s := range chosen {
		say("%d/%d %s, at %s", n+1, len(chosen), s.Name, time.Since(began).Round(time.Second))
		started := time.Now()
		rows, err := w.Run(ctx, s)
		for _, row := range rows {
			say("    %s", report.Line(row))
		}
		if err != nil { // the others' figures are not lost with it
			say("    failed: %v", err)
		}
		result.Add(s, rows, time.Since(started), err)
		if ctx.Err() != nil {
			break
		}
	}
	result.Took = time.Since(began).Round(time.Second).String()
	return result, nil
}

// say prints progress. A line that begins with \r replaces the one before it where that began so too.
func say(format string, args ...any) {
	line := fmt.Sprintf(format, args...)
	if rest, over := strings.CutPrefix(line, "\r"); over {
		if !terminal() {
			return
		}
		fmt.Fprintf(os.Stderr, "\r%s\033[K", rest)
		if strings.Contains(rest, "100 %") {
			fmt.Fprintln(os.Stderr)
		}
		return
	}
	fmt.Fprintln(os.Stderr, line)
}

func terminal() bool {
	info, err := os.Stderr.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

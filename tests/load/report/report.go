// Package report turns rows into what is read: a table, Markdown, JSON and a chart, and judges them by floors.
package report

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/healthmed/healthmed/tests/load/bench"
	"github.com/healthmed/healthmed/tests/load/fill"
)

// Report of a run.
type Report struct {
	When     time.Time `json:"when"`
	Took     string    `json:"took"`
	Quick    bool      `json:"quick"`
	Size     fill.Size `json:"size"`
	Machine  Machine   `json:"machine"`
	Sections []Section `json:"scenarios"`
	Verdicts []Verdict `json:"floors"`
}

// Section is what a scenario gave.
type Section struct {
	Name string      `json:"name"`
	What string      `json:"what"`
	Took string      `json:"took"`
	Rows []bench.Row `json:"rows"`
	// Fault is why nothing, or not everything, could be measured.
	Fault string `json:"fault,omitempty"`
}

// Machine that the run was on; everything, the load too, shares it.
type Machine struct {
	Processor  string  `json:"processor"`
	Processors int     `json:"processors"`
	MemoryGiB  float64 `json:"memory_gib"`
	Kernel     string  `json:"kernel"`
	Go         string  `json:"go"`
}

// New report, of this machine, now.
func New(quick bool, size fill.Size) *Report {
	return &Report{When: time.Now().UTC().Truncate(time.Second), Quick: quick, Size: size, Machine: machine()}
}

// Add appends a scenario's rows, and what went wrong with it.
func (r *Report) Add(s bench.Scenario, rows []bench.Row, took time.Duration, fault error) {
	section := Section{Name: s.Name, What: s.What, Took: took.Round(100 * time.Millisecond).String(), Rows: rows}
	if fault != nil {
		section.Fault = fault.Error()
	}
	r.Sections = append(r.Sections, section)
}

// Rows are those of all scenarios.
func (r *Report) Rows() []bench.Row {
	var rows []bench.Row
	for _, s := range r.Sections {
		rows = append(rows, s.Rows...)
	}
	return rows
}

// Write puts latest.json, latest.md and latest.svg into dir.
func (r *Report) Write(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	body, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	write := func(name, content string) error {
		return os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644)
	}
	return errors.Join(write("latest.json", string(body)+"\n"), write("latest.md", r.Markdown()), write("latest.svg", Chart(r.Rows())))
}

// Missed is an error that names the scenarios that failed and the floors that were missed.
func (r *Report) Missed() error {
	var failed []error
	for _, s := range r.Sections {
		if s.Fault != "" {
			failed = append(failed, fmt.Errorf("%s: %s", s.Name, s.Fault))
		}
	}
	return errors.Join(errors.Join(failed...), r.missedFloors())
}

func (r *Report) missedFloors() error {
	var faults []string
	for _, v := range r.Verdicts {
		if !v.Met {
			faults = append(faults, v.String())
		}
	}
	if len(faults) == 0 {
		return nil
	}
	return fmt.Errorf("%d of %d floors missed:\n  %s", len(faults), len(r.Verdicts), strings.Join(faults, "\n  "))
}

func machine() Machine {
	m := Machine{Processors: runtime.NumCPU(), Go: runtime.Version()}
	field := func(file, name string) string {
		body, err := os.ReadFile(file)
		if err != nil {
			return ""
		}
		for line := range strings.Lines(string(body)) {
			if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == name {
				return strings.TrimSpace(value)
			}
		}
		return ""
	}
	m.Processor = field("/proc/cpuinfo", "model name")
	var kib float64
	if _, err := fmt.Sscan(field("/proc/meminfo", "MemTotal"), &kib); err == nil {
		m.MemoryGiB = kib / (1 << 20)
	}
	if body, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		m.Kernel = strings.TrimSpace(string(body))
	}
	return m
}

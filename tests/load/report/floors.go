package report

import (
	"errors"
	"fmt"
	"slices"

	"go.yaml.in/yaml/v4"

	"github.com/healthmed/healthmed/tests/load/bench"
)

// Floor is what a figure must not be worse than.
type Floor struct {
	Row     string   `yaml:"row"`
	Figure  string   `yaml:"figure"`
	AtLeast *float64 `yaml:"at_least"`
	AtMost  *float64 `yaml:"at_most"`
	// Full says that the floor speaks of the full data, or of a load that takes its time: a quick run doesn't judge it.
	Full bool   `yaml:"full"`
	Why  string `yaml:"why"`
}

// ParseFloors reads floors.yaml and reports all that is wrong with it.
func ParseFloors(file []byte) ([]Floor, error) {
	var floors []Floor
	if err := yaml.Load(file, &floors, yaml.WithKnownFields()); err != nil {
		return nil, fmt.Errorf("floors: %w", err)
	}
	var faults []error
	for i, f := range floors {
		switch {
		case f.Row == "" || f.Figure == "":
			faults = append(faults, fmt.Errorf("floor %d: row and figure are needed", i+1))
		case (f.AtLeast == nil) == (f.AtMost == nil):
			faults = append(faults, fmt.Errorf("floor %s %s: want either at_least or at_most", f.Row, f.Figure))
		case f.Why == "":
			faults = append(faults, fmt.Errorf("floor %s %s: say why", f.Row, f.Figure))
		}
	}
	return floors, errors.Join(faults...)
}

// Verdict is a floor beside what was measured.
type Verdict struct {
	Row     string   `json:"row"`
	Figure  string   `json:"figure"`
	AtLeast *float64 `json:"at_least,omitempty"`
	AtMost  *float64 `json:"at_most,omitempty"`
	Value   *float64 `json:"value"` // nil: not measured, which is a miss
	Met     bool     `json:"met"`
	Why     string   `json:"why"`
}

// String is the verdict in words.
func (v Verdict) String() string {
	bound := ""
	if v.AtLeast != nil {
		bound = "at least " + number(*v.AtLeast)
	} else if v.AtMost != nil {
		bound = "at most " + number(*v.AtMost)
	}
	value := "not measured"
	if v.Value != nil {
		value = number(*v.Value)
	}
	return fmt.Sprintf("%s, %s: %s, want %s", v.Row, v.Figure, value, bound)
}

// Judge compares the rows with the floors. A floor whose row is missing is missed in a run of all scenarios: a renamed
// row must not take its floor out of sight.
func (r *Report) Judge(floors []Floor, all bool) {
	r.Verdicts = nil
	rows := r.Rows()
	for _, f := range floors {
		if f.Full && r.Quick {
			continue
		}
		v := Verdict{Row: f.Row, Figure: f.Figure, AtLeast: f.AtLeast, AtMost: f.AtMost, Why: f.Why}
		i := slices.IndexFunc(rows, func(row bench.Row) bool { return row.Name == f.Row })
		if i < 0 && !all {
			continue
		}
		if i >= 0 {
			if value, ok := rows[i].Figure(f.Figure); ok {
				v.Value = &value
				v.Met = (f.AtLeast == nil || value >= *f.AtLeast) && (f.AtMost == nil || value <= *f.AtMost)
			}
		}
		r.Verdicts = append(r.Verdicts, v)
	}
}

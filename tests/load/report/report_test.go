package report_test

import (
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/healthmed/healthmed/tests/load/bench"
	"github.com/healthmed/healthmed/tests/load/fill"
	"github.com/healthmed/healthmed/tests/load/report"
)

const floors = `
- {row: a/x, figure: p95_ms, at_most: 5, why: pages}
- {row: a/x, figure: ratio, at_least: 0.6, why: cost}
- {row: a/big, figure: p95_ms, at_most: 1, full: true, why: the full size}
- {row: gone/x, figure: errors, at_most: 0, why: it was renamed}
`

func sample(quick bool) *report.Report {
	r := report.New(quick, fill.Size{Doctors: 1})
	r.Add(bench.Scenario{Name: "a", What: "A question."}, []bench.Row{
		{Name: "a/x", Load: "closed", PerSecond: 50, Latency: &bench.Latency{P50: 1, P95: 6, P99: 7, Max: 8}, Limit: &bench.Limit{What: "bare", PerSecond: 100, Ratio: 0.7},
			Curve: "A <day>", Offered: 50, ErrorKinds: map[string]int64{"status 503": 2}, Errors: 2, Usage: []bench.Usage{{Process: "users", CPU: 0.5, MiB: 40}}},
		{Name: "a/big", Latency: &bench.Latency{P95: 3}},
	}, 0, nil)
	return r
}

func parse(t *testing.T, body string) []report.Floor {
	t.Helper()
	list, err := report.ParseFloors([]byte(body))
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func TestJudge_SaysWhichFloorsAreMissed(t *testing.T) {
	r := sample(false)
	r.Judge(parse(t, floors), true)
	if len(r.Verdicts) != 4 || r.Verdicts[0].Met || !r.Verdicts[1].Met || r.Verdicts[2].Met || r.Verdicts[3].Met {
		t.Fatalf("verdicts: %+v", r.Verdicts)
	}
	err := r.Missed()
	for _, want := range []string{"3 of 4", "a/x, p95_ms: 6, want at most 5", "gone/x, errors: not measured"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("missed: %v, want it to say %q", err, want)
		}
	}
}

func TestJudge_QuickLeavesOutTheFullSizeAndAPartialRunWhatItDidNotRun(t *testing.T) {
	r := sample(true)
	r.Judge(parse(t, floors), false)
	if len(r.Verdicts) != 2 {
		t.Errorf("verdicts: %+v", r.Verdicts)
	}
}

func TestParseFloors_ReportsEveryFault(t *testing.T) {
	_, err := report.ParseFloors([]byte("- {row: a, figure: x, at_most: 1}\n- {row: b, figure: x, why: y}\n- {figure: x, at_least: 1, why: y}\n"))
	for _, want := range []string{"a x: say why", "b x: want either", "floor 3"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want it to say %q", err, want)
		}
	}
	if _, err := report.ParseFloors([]byte("- {row: a, figure: x, atmost: 1, why: y}")); err == nil {
		t.Error("an unknown field is taken")
	}
	file, err := os.ReadFile("../floors.yaml")
	if err != nil {
		t.Fatal(err)
	}
	parse(t, string(file))
}

func TestWrite_LeavesJSONMarkdownAndAChartThatIsXML(t *testing.T) {
	r := sample(false)
	r.Judge(parse(t, floors), true)
	dir := filepath.Join(t.TempDir(), "bench")
	if err := r.Write(dir); err != nil {
		t.Fatal(err)
	}
	read := func(name string) string {
		body, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		return string(body)
	}
	var back report.Report
	if err := json.Unmarshal([]byte(read("latest.json")), &back); err != nil || len(back.Rows()) != 2 || len(back.Verdicts) != 4 {
		t.Errorf("JSON: %v, %+v", err, back)
	}
	markdown := read("latest.md")
	for _, want := range []string{"A question.", "| a/x | closed | 50 | 1 | 6 | 7 | 8 | 2 | 100 | 70 % | users 0.50 | users 40 |", "2× status 503", "| **no** | a/x | p95_ms | 6 | ≤ 5 | pages |"} {
		if !strings.Contains(markdown, want) {
			t.Errorf("Markdown lacks %q:\n%s", want, markdown)
		}
	}
	chart := xml.NewDecoder(strings.NewReader(read("latest.svg")))
	for {
		if _, err := chart.Token(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatalf("the chart is not XML: %v", err)
		}
	}
	if !strings.Contains(read("latest.svg"), "p99 at 50/s: 7 ms") {
		t.Error("the chart lacks its point")
	}
}

func TestMissed_NamesAScenarioThatFailed(t *testing.T) {
	r := report.New(true, fill.Size{})
	r.Add(bench.Scenario{Name: "a"}, nil, 0, errors.New("the broker is gone"))
	if err := r.Missed(); err == nil || !strings.Contains(err.Error(), "a: the broker is gone") {
		t.Errorf("missed: %v", err)
	}
	if !strings.Contains(r.Markdown(), "**Failed:** the broker is gone") {
		t.Error("the report doesn't say so")
	}
}

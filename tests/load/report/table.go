package report

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/healthmed/healthmed/tests/load/bench"
)

// number writes a figure with three digits that matter.
func number(v float64) string {
	switch a := math.Abs(v); {
	case v == math.Trunc(v) && a < 1e15:
		return fmt.Sprintf("%.0f", v)
	case a >= 100:
		return fmt.Sprintf("%.0f", v)
	case a >= 10:
		return fmt.Sprintf("%.1f", v)
	default:
		return fmt.Sprintf("%.2f", v)
	}
}

// Line is a row in short, for the progress.
func Line(r bench.Row) string {
	parts := []string{r.Name, number(r.PerSecond) + "/s"}
	if r.Latency != nil {
		parts = append(parts, fmt.Sprintf("p50 %s p95 %s p99 %s max %s ms", number(r.Latency.P50), number(r.Latency.P95), number(r.Latency.P99), number(r.Latency.Max)))
	}
	parts = append(parts, fmt.Sprintf("%d errors%s", r.Errors, kinds(r)))
	if r.Limit != nil {
		parts = append(parts, fmt.Sprintf("%s of %s/s (%s)", percent(r.Limit.Ratio), number(r.Limit.PerSecond), r.Limit.What))
	}
	if f := figures(r); f != "" {
		parts = append(parts, f)
	}
	return strings.Join(parts, ", ")
}

func percent(ratio float64) string { return fmt.Sprintf("%.0f %%", 100*ratio) }

// kinds names the most frequent errors.
func kinds(r bench.Row) string {
	if len(r.ErrorKinds) == 0 {
		return ""
	}
	var list []string
	for text, n := range r.ErrorKinds {
		list = append(list, fmt.Sprintf("%d× %s", n, text))
	}
	slices.Sort(list)
	return " (" + strings.Join(list[:min(len(list), 3)], "; ") + ")"
}

func figures(r bench.Row) string {
	var list []string
	for name, value := range r.Figures {
		list = append(list, name+" "+number(value))
	}
	slices.Sort(list)
	return strings.Join(list, ", ")
}

// columns of the table.
func columns() []string {
	return []string{"scenario", "load", "per second", "p50 ms", "p95", "p99", "max", "errors", "limit/s", "ratio", "processors busy", "MiB"}
}

func cells(r bench.Row) []string {
	p50, p95, p99, worst := "", "", "", ""
	if r.Latency != nil {
		p50, p95, p99, worst = number(r.Latency.P50), number(r.Latency.P95), number(r.Latency.P99), number(r.Latency.Max)
	}
	limit, ratio := "", ""
	if r.Limit != nil {
		limit, ratio = number(r.Limit.PerSecond), percent(r.Limit.Ratio)
	}
	var cpu, memory []string
	for _, u := range r.Usage {
		if u.CPU >= 0.01 {
			cpu = append(cpu, fmt.Sprintf("%s %.2f", u.Process, u.CPU))
		}
		if u.Process != bench.Generator && u.MiB >= 1 {
			memory = append(memory, fmt.Sprintf("%s %.0f", u.Process, u.MiB))
		}
	}
	return []string{r.Name, r.Load, number(r.PerSecond), p50, p95, p99, worst, number(float64(r.Errors)), limit, ratio,
		strings.Join(cpu, ", "), strings.Join(memory, ", ")}
}

// Table is all rows for a terminal, and the floors.
func (r *Report) Table() string {
	var b strings.Builder
	t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, strings.Join(columns(), "\t"))
	for _, row := range r.Rows() {
		fmt.Fprintln(t, strings.Join(cells(row), "\t"))
	}
	_ = t.Flush() // into memory
	met := 0
	for _, v := range r.Verdicts {
		if v.Met {
			met++
		}
	}
	fmt.Fprintf(&b, "\n%d of %d floors met\n", met, len(r.Verdicts))
	return b.String()
}

// Markdown is the report for people.
func (r *Report) Markdown() string {
	var b strings.Builder
	kind := "full"
	if r.Quick {
		kind = "quick"
	}
	fmt.Fprintf(&b, "# Benchmarks: %s run of %s\n\n", kind, r.When.Format("2006-01-02 15:04 UTC"))
	fmt.Fprintf(&b, "%d × %s, %.0f GiB, Linux %s, %s; everything, the load too, on this machine. Took %s.\n\n",
		r.Machine.Processors, r.Machine.Processor, r.Machine.MemoryGiB, r.Machine.Kernel, r.Machine.Go, r.Took)
	fmt.Fprintf(&b, "Data: %d doctors with a schedule, %d who can be searched, %d patients, %d appointments.\n\n",
		r.Size.Doctors, r.Size.Listed, r.Size.Patients, r.Size.Appointments)
	for _, s := range r.Sections {
		fmt.Fprintf(&b, "## %s\n\n%s\n\n", s.Name, s.What)
		fmt.Fprintf(&b, "| %s |\n|%s\n", strings.Join(columns(), " | "), strings.Repeat(" --- |", len(columns())))
		for _, row := range s.Rows {
			fmt.Fprintf(&b, "| %s |\n", strings.Join(cells(row), " | "))
		}
		b.WriteString("\n")
		if s.Fault != "" {
			fmt.Fprintf(&b, "**Failed:** %s\n\n", s.Fault)
		}
		for _, row := range s.Rows {
			remark(&b, row)
		}
	}
	b.WriteString("## Floors\n\n| met | row | figure | measured | floor | why |\n| --- | --- | --- | --- | --- | --- |\n")
	for _, v := range r.Verdicts {
		row(&b, v)
	}
	return b.String()
}

// remark tells what has no column.
func remark(b *strings.Builder, r bench.Row) {
	var parts []string
	if r.Limit != nil {
		parts = append(parts, "limit: "+r.Limit.What)
	}
	if f := figures(r); f != "" {
		parts = append(parts, f)
	}
	if k := kinds(r); k != "" {
		parts = append(parts, "errors"+k)
	}
	if r.Note != "" {
		parts = append(parts, r.Note)
	}
	if len(parts) > 0 {
		fmt.Fprintf(b, "- %s: %s\n\n", r.Name, strings.Join(parts, "; "))
	}
}

func row(b *strings.Builder, v Verdict) {
	met, value, bound := "**no**", "not measured", ""
	if v.Met {
		met = "yes"
	}
	if v.Value != nil {
		value = number(*v.Value)
	}
	if v.AtLeast != nil {
		bound = "≥ " + number(*v.AtLeast)
	} else if v.AtMost != nil {
		bound = "≤ " + number(*v.AtMost)
	}
	fmt.Fprintf(b, "| %s | %s | %s | %s | %s | %s |\n", met, v.Row, v.Figure, value, bound, v.Why)
}

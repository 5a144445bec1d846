package report

import (
	"cmp"
	"fmt"
	"html"
	"math"
	"slices"
	"strings"

	"github.com/healthmed/healthmed/tests/load/bench"
)

// The chart's geometry, in pixels.
const (
	chartWidth, chartHeight       = 860.0, 460.0
	left, right, top, bottom      = 70.0, 30.0, 50.0, 60.0
	plotWidth, plotHeight         = chartWidth - left - right, chartHeight - top - bottom
	leastMS, mostMS               = 0.5, 10_000.0
	kneeMS                        = 500.0
	colour50, colour95, colour99  = "#2b8a3e", "#e8890c", "#c92a2a"
	axisColour, gridColour, paper = "#495057", "#dee2e6", "#ffffff"
)

// Chart draws latency (logarithmic) against offered load, from the rows that are points of a curve.
func Chart(rows []bench.Row) string {
	var points []bench.Row
	for _, r := range rows {
		if r.Curve != "" && r.Latency != nil {
			points = append(points, r)
		}
	}
	slices.SortFunc(points, func(a, b bench.Row) int { return cmp.Compare(a.Offered, b.Offered) })
	most := 1.0
	title := "no stepped load was run"
	for _, p := range points {
		most, title = max(most, p.Offered), p.Curve
	}
	c := chart{most: most}
	fmt.Fprintf(&c.b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %g %g" font-family="system-ui, sans-serif" font-size="13" role="img" aria-label="%s">`,
		chartWidth, chartHeight, html.EscapeString(title))
	fmt.Fprintf(&c.b, `<rect width="100%%" height="100%%" fill="%s"/><text x="%g" y="24" font-size="16" fill="%s">%s</text>`,
		paper, left, axisColour, html.EscapeString(title))
	c.grid()
	c.line(points, "p50", colour50, func(l bench.Latency) float64 { return l.P50 }, 0)
	c.line(points, "p95", colour95, func(l bench.Latency) float64 { return l.P95 }, 1)
	c.line(points, "p99", colour99, func(l bench.Latency) float64 { return l.P99 }, 2)
	c.b.WriteString("</svg>\n")
	return c.b.String()
}

type chart struct {
	b    strings.Builder
	most float64 // offered
}

func (c *chart) x(offered float64) float64 { return left + plotWidth*offered/c.most }

func (c *chart) y(ms float64) float64 {
	share := math.Log(min(max(ms, leastMS), mostMS)/leastMS) / math.Log(mostMS/leastMS)
	return top + plotHeight*(1-share)
}

func (c *chart) grid() {
	for _, ms := range []float64{1, 10, 100, 1000, 10_000} {
		y := c.y(ms)
		fmt.Fprintf(&c.b, `<line x1="%g" y1="%.1f" x2="%g" y2="%.1f" stroke="%s"/><text x="%g" y="%.1f" text-anchor="end" fill="%s">%g ms</text>`,
			left, y, chartWidth-right, y, gridColour, left-8, y+4, axisColour, ms)
	}
	for i := range 6 {
		offered := c.most * float64(i) / 5
		fmt.Fprintf(&c.b, `<text x="%.1f" y="%g" text-anchor="middle" fill="%s">%s</text>`, c.x(offered), chartHeight-bottom+22, axisColour, number(math.Round(offered)))
	}
	fmt.Fprintf(&c.b, `<text x="%g" y="%g" text-anchor="middle" fill="%s">requests offered per second</text>`, left+plotWidth/2, chartHeight-14, axisColour)
	y := c.y(kneeMS)
	fmt.Fprintf(&c.b, `<line x1="%g" y1="%.1f" x2="%g" y2="%.1f" stroke="%s" stroke-dasharray="6 4"/><text x="%g" y="%.1f" text-anchor="end" fill="%s">knee: p99 of %g ms</text>`,
		left, y, chartWidth-right, y, colour99, chartWidth-right, y-6, colour99, kneeMS)
}

func (c *chart) line(points []bench.Row, name, colour string, of func(bench.Latency) float64, place int) {
	var path strings.Builder
	for i, p := range points {
		command := "L"
		if i == 0 {
			command = "M"
		}
		x, y := c.x(p.Offered), c.y(of(*p.Latency))
		fmt.Fprintf(&path, "%s%.1f %.1f", command, x, y)
		fmt.Fprintf(&c.b, `<circle cx="%.1f" cy="%.1f" r="3" fill="%s"><title>%s at %s/s: %s ms</title></circle>`, x, y, colour, name, number(p.Offered), number(of(*p.Latency)))
	}
	if path.Len() > 0 {
		fmt.Fprintf(&c.b, `<path d="%s" fill="none" stroke="%s" stroke-width="2"/>`, path.String(), colour)
	}
	x := left + float64(place)*60
	fmt.Fprintf(&c.b, `<circle cx="%g" cy="40" r="5" fill="%s"/><text x="%g" y="44" fill="%s">%s</text>`, x+5, colour, x+15, axisColour, name)
}

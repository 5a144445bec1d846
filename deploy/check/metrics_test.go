package check

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"testing"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/healthmed/healthmed/deploy/check/running"
)

// What rules and dashboards ask for is there in the running system, after a booking has gone its way: a metric by its
// name and labels, and a series where the value cannot be missing (job, method, route, bucket, recipient).
func TestEveryMetricExistsInTheRunningSystem(t *testing.T) {
	traces := make(chan struct{}, 1)
	collector := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost && r.URL.Path == "/v1/traces" {
			select {
			case traces <- struct{}{}:
			default: // one is enough
			}
		}
	}))
	t.Cleanup(collector.Close)
	s := running.Start(t, "OTEL_EXPORTER_OTLP_ENDPOINT="+collector.URL)
	s.Book(t)
	var series []labels.Labels
	running.Eventually(t, "the booking's metrics are there", func() error {
		series = nil
		for _, job := range []string{"users", "scheduling", "notifier"} {
			series = append(series, scrape(t, s.Metrics, job)...)
		}
		if !slices.ContainsFunc(series, func(l labels.Labels) bool { return l.Get("__name__") == "notifier_feedback_total" }) ||
			!slices.ContainsFunc(series, func(l labels.Labels) bool {
				return l.Get("__name__") == "outbox_lag_rows" && l.Get("job") == "notifier"
			}) {
			return fmt.Errorf("%d series so far", len(series))
		}
		return nil
	})
	<-traces // the test's time limit is the limit
	exemplars(t, s.Metrics)
	for where, expression := range expressions(t) {
		for _, selector := range selectors(t, expression, recorded(t)) {
			if fault := missing(series, selector.LabelMatchers); fault != "" {
				t.Errorf("%s: %s: %s", where, selector, fault)
			}
		}
	}
}

// exemplars: from a point on the dashboard one gets to the trace of a booking that took so long.
func exemplars(t *testing.T, origin string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, origin+"/scheduling/metrics", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Accept", "application/openmetrics-text; version=1.0.0") // as Prometheus asks
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	bucket := regexp.MustCompile(`(?m)^http_request_duration_seconds_bucket\{[^}]*method="POST",route="/v1/appointments"[^}]*\} \d+ # \{trace_id="[0-9a-f]{32}"\}`)
	if !bucket.Match(body) {
		t.Error("no bucket of the booking's time leads to its trace")
	}
}

// certain are labels whose values are there from the first booking on; others, such as status="500", may never be.
var certain = []string{"__name__", "job", "method", "route", "le", "recipient"}

// missing says why no series fits.
func missing(series []labels.Labels, matchers []*labels.Matcher) string {
	fits := func(l labels.Labels) bool {
		for _, m := range matchers {
			if slices.Contains(certain, m.Name) && !m.Matches(l.Get(m.Name)) || !l.Has(m.Name) {
				return false
			}
		}
		return true
	}
	if slices.ContainsFunc(series, fits) {
		return ""
	}
	return "no such metric, label or series"
}

// scrape reads a service's metrics as Prometheus would label them.
func scrape(t *testing.T, origin, job string) []labels.Labels {
	t.Helper()
	res, err := http.Get(origin + "/" + job + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(res.Body)
	if err != nil {
		t.Fatalf("%s: %v", job, err)
	}
	var series []labels.Labels
	for _, family := range families {
		vector, err := expfmt.ExtractSamples(&expfmt.DecodeOptions{Timestamp: model.Now()}, family)
		if err != nil {
			t.Fatal(err)
		}
		for _, sample := range vector {
			l := labels.NewBuilder(labels.EmptyLabels()).Set("job", job).Set("instance", "one")
			for name, value := range sample.Metric {
				l.Set(string(name), string(value))
			}
			series = append(series, l.Labels())
		}
	}
	return series
}

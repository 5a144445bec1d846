package outbox_test

import (
	"bytes"
	"errors"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/healthmed/healthmed/pkg/natstest"
	"github.com/healthmed/healthmed/pkg/outbox"
)

func TestReplay_RestoresALostStream_AndRepeatsNothingInOneThatIsWhole(t *testing.T) {
	t.Parallel()
	pool := newPool(t)
	js := connect(t, natstest.NewServer(t))
	metrics := prometheus.NewRegistry()
	cfg := relayConfig(pool, js)
	cfg.Metrics, cfg.Poll = metrics, 20*time.Millisecond
	run(t, cfg)
	want := map[string][]int64{}
	for range 20 {
		id := uuid.New()
		for v := range int64(5) {
			add(t, pool, thing(id, v+1))
			want[id.String()] = append(want[id.String()], v+1)
		}
	}
	secret := outbox.Raw{Subject: "healthmed.test.secret", Data: []byte("link with token"), Secret: true}
	add(t, pool, secret)
	eventually(t, "published", drained(t, pool))
	if n := count(t, pool, "secret AND data = ''"); n != 1 {
		t.Errorf("%d secrets blanked once published, want 1", n)
	}
	const rows = 100

	// As after a crash between acknowledgement and mark: the stream knows the ids and drops the repetitions.
	if n, err := outbox.Replay(t.Context(), pool, time.Now().Add(-time.Hour)); err != nil || n != rows {
		t.Fatalf("%d replayed (%v), want %d: all but the secret", n, err, rows)
	}
	eventually(t, "published again", drained(t, pool))
	if n := len(messages(t, js, stream)); n != rows+1 {
		t.Errorf("%d messages in the stream, want %d: nothing twice", n, rows+1)
	}
	if n := testutil.ToFloat64(collect(t, metrics, "outbox_duplicates_total")); n != rows {
		t.Errorf("%v duplicates counted, want %d", n, rows)
	}

	if err := js.DeleteStream(t.Context(), stream); err != nil {
		t.Fatal(err)
	}
	addStream(t, js, stream, "healthmed.test.>")
	if n, err := outbox.Replay(t.Context(), pool, time.Now().Add(time.Hour)); err != nil || n != 0 {
		t.Fatalf("%d replayed (%v), want none since a time to come", n, err)
	}
	if _, err := outbox.Replay(t.Context(), pool, time.Now().Add(-time.Hour)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "published again", drained(t, pool))
	if diff := cmp.Diff(want, versions(t, js)); diff != "" {
		t.Errorf("versions in the restored stream (-want +got):\n%s", diff)
	}
}

func TestRedrive_TakesOnlyTheEventsNamed(t *testing.T) {
	t.Parallel()
	pool := newPool(t)
	a, b := thing(uuid.New(), 1), thing(uuid.New(), 1)
	a.ID, b.ID = uuid.New(), uuid.New()
	add(t, pool, a, b)
	if _, err := pool.Exec(t.Context(), "UPDATE outbox SET quarantined_at = now(), attempts = 8"); err != nil {
		t.Fatal(err)
	}
	if n, err := outbox.Redrive(t.Context(), pool, b.ID); err != nil || n != 1 {
		t.Fatalf("%d redriven (%v), want 1", n, err)
	}
	state, err := outbox.Status(t.Context(), pool)
	if err != nil {
		t.Fatal(err)
	}
	if state.Pending != 1 || state.Quarantined != 1 || state.Leader != "" || state.Troubled[0].ID != a.ID {
		t.Errorf("state %+v, want %s alone in quarantine, nobody leading", state, a.ID)
	}
}

func TestCommand(t *testing.T) {
	t.Parallel()
	pool := newPool(t)
	bad := thing(uuid.New(), 1)
	bad.ID = uuid.MustParse("0193b5a0-0000-7000-8000-000000000001")
	add(t, pool, bad, thing(uuid.New(), 1))
	if _, err := pool.Exec(t.Context(), `UPDATE outbox SET quarantined_at = now(), attempts = 8, last_error = 'too large' WHERE id = $1`, bad.ID); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args  []string
		want  string // regular expression on the output
		usage bool
	}{
		{args: nil, want: "^usage", usage: true},
		{args: []string{"purge"}, want: "^usage", usage: true},
		{args: []string{"status", "now"}, want: "^usage", usage: true},
		{args: []string{"replay"}, want: "^usage", usage: true},
		{args: []string{"replay", "--since", "yesterday"}, want: "^usage", usage: true},
		{args: []string{"replay", "--since", "-1h"}, want: "^usage", usage: true},
		{args: []string{"redrive", "17"}, want: "^usage", usage: true},
		{args: []string{"status"}, want: `leader: +nobody\npending: +1\noldest: +20\d\d-.*\nquarantined: +1\n(?s:.*)` + bad.ID.String() + ` .* 8 +quarantined +too large`},
		{args: []string{"replay", "--since", "2026-01-02T03:04:05-03:00"}, want: `^0 events since 2026-01-02T06:04:05Z will be published again`},
		{args: []string{"replay", "--since", "48h"}, want: `^0 events since `},
		{args: []string{"redrive", uuid.NewString()}, want: `^0 events taken out of quarantine`},
		{args: []string{"redrive"}, want: `^1 events taken out of quarantine`},
		{args: []string{"status"}, want: `pending: +2\n(?s:.*)quarantined: +0\n$`},
	} {
		var out bytes.Buffer
		err := outbox.Command(t.Context(), c.args, pool, &out)
		if errors.Is(err, outbox.ErrUsage) != c.usage || (err != nil && !c.usage) {
			t.Errorf("%v: error %v, wrong usage expected: %v", c.args, err, c.usage)
		}
		if !regexp.MustCompile(c.want).MatchString(out.String()) {
			t.Errorf("%v: output\n%s\nwant a match of %s", c.args, out.String(), c.want)
		}
	}
}

func TestMetrics_TellLeaderBacklogAndQuarantine(t *testing.T) {
	t.Parallel()
	pool := newPool(t)
	js := connect(t, natstest.NewServer(t))
	stuck, behind := uuid.New(), uuid.New()
	add(t, pool, thing(stuck, 1), thing(stuck, 2), thing(behind, 1))
	// One in quarantine an hour ago, with one behind it, and one put off that came a minute ago.
	for _, sql := range []string{
		"UPDATE outbox SET created_at = now() - interval '1 hour' WHERE aggregate_id = '" + stuck.String() + "'",
		"UPDATE outbox SET quarantined_at = now() WHERE aggregate_version = 1 AND aggregate_id = '" + stuck.String() + "'",
		"UPDATE outbox SET created_at = now() - interval '1 minute', next_attempt_at = now() + interval '1 day' WHERE aggregate_id = '" + behind.String() + "'",
	} {
		if _, err := pool.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	first, second := prometheus.NewRegistry(), prometheus.NewRegistry()
	cfg := relayConfig(pool, js)
	cfg.Metrics = first
	relay, stop := run(t, cfg)
	eventually(t, "leading", relay.Leading)
	cfg.Metrics = second
	standby, _ := run(t, cfg)
	eventually(t, "measured", func() bool { n, _ := testutil.GatherAndCount(first, "outbox_lag_rows"); return n == 1 })
	got := map[string]float64{}
	for _, name := range []string{"outbox_leader", "outbox_lag_rows", "outbox_quarantined_rows"} {
		got[name] = testutil.ToFloat64(collect(t, first, name))
	}
	want := map[string]float64{"outbox_leader": 1, "outbox_lag_rows": 2, "outbox_quarantined_rows": 1}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("metrics of the leader (-want +got):\n%s", diff)
	}
	if s := testutil.ToFloat64(collect(t, first, "outbox_lag_seconds")); s < 59 || s > 120 {
		t.Errorf("lag of %v s, want a minute: what quarantine holds back is counted apart", s)
	}
	if n, _ := testutil.GatherAndCount(second, "outbox_lag_rows"); n != 0 || testutil.ToFloat64(collect(t, second, "outbox_leader")) != 0 {
		t.Error("the standby reports a backlog, want the leader alone to")
	}
	stop()
	eventually(t, "the standby leading", standby.Leading)
	if n, _ := testutil.GatherAndCount(first, "outbox_lag_rows"); n != 0 {
		t.Error("a backlog is still reported by the one that stopped")
	}
	problems, err := testutil.GatherAndLint(second)
	if err != nil || len(problems) > 0 {
		t.Errorf("metrics: %v %v", problems, err)
	}
}

// collect picks one metric out of a registry.
func collect(t *testing.T, reg *prometheus.Registry, name string) prometheus.Collector {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		g := prometheus.NewGauge(prometheus.GaugeOpts{Name: strings.TrimSuffix(name, "_total")})
		m := f.GetMetric()[0]
		g.Set(m.GetGauge().GetValue() + m.GetCounter().GetValue())
		return g
	}
	t.Fatalf("no metric %s", name)
	return nil
}

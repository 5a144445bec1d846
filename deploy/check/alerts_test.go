package check

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/promql/promqltest"
)

const (
	booked   = `http_requests_total{job="scheduling",method="POST",route="/v1/appointments",status="201"} `
	failed   = `http_requests_total{job="scheduling",method="POST",route="/v1/appointments",status="500"} `
	bookings = `http_request_duration_seconds_count{job="scheduling",method="POST",route="/v1/appointments",class="2xx"} `
	quick    = `http_request_duration_seconds_bucket{job="scheduling",method="POST",route="/v1/appointments",class="2xx",le="0.3"} `
	told     = `notifier_event_to_accepted_seconds_count{recipient="doctor"} `
	toldSoon = `notifier_event_to_accepted_seconds_bucket{recipient="doctor",le="30"} `
	overdue  = `notifier_deliveries_overdue{recipient="doctor"} `
	refused  = `notifier_failed_total{recipient="doctor",reason="refused"} `
	givenUp  = `notifier_failed_total{recipient="doctor",reason="in_doubt"} `
	always1  = `1x600`
	always0  = `0x600`
	lookedAt = 10 * time.Hour // when the alerts are looked at; a step is a minute
)

// Each alert fires on what it is for, and not a little below it. After ten hours, each step a minute.
var alertCases = map[string]struct{ fires, quiet []string }{
	"BookingErrors": {
		[]string{booked + "0+98x600", failed + "0+2x600"},    // 2 % > 14.4 × 0.1 %
		[]string{booked + "0+9996x600", failed + "0+4x600"}}, // 0.04 %
	"BookingErrorsLingering": {
		[]string{booked + "0+998x600", failed + "0+2x600"},   // 0.2 %
		[]string{booked + "0+9996x600", failed + "0+4x600"}}, // within the objective
	"BookingSlow":              {[]string{bookings + "0+100x600", quick + "0+80x600"}, []string{bookings + "0+100x600", quick + "0+99.5x600"}},
	"BookingSlowLingering":     {[]string{bookings + "0+100x600", quick + "0+98x600"}, []string{bookings + "0+100x600", quick + "0+99.5x600"}},
	"DoctorsToldLate":          {[]string{told + "0+80x600", toldSoon + "0+80x600", refused + "0+20x600", overdue + always0}, []string{told + "0+100x600", toldSoon + "0+99.5x600", refused + "0x600", overdue + always0}},
	"DoctorsToldLateLingering": {[]string{told + "0+100x600", toldSoon + "0+98x600", refused + "0x600", overdue + always0}, []string{told + "0+100x600", toldSoon + "0+99.5x600", refused + "0x600", overdue + always0}},
	"ServiceDown": {
		[]string{`up{job="users"} 1x600`, `up{job="scheduling"} 1x600`},
		[]string{`up{job="users"} 1x600`, `up{job="scheduling"} 1x600`, `up{job="notifier"} 1x600`, `up{job="other"} 0x600`}},
	"RequestsFailing": {
		[]string{`http_requests_total{job="users",status="200"} 0+90x600`, `http_requests_total{job="users",status="503"} 0+10x600`},
		[]string{`http_requests_total{job="users",status="200"} 0+99x600`, `http_requests_total{job="users",status="503"} 0+1x600`}},
	"PoolExhausted": {
		[]string{`db_pool_canceled_acquires_total 0+1x600`, `db_pool_acquired_connections 1x600`, `db_pool_max_connections 16x600`},
		[]string{`db_pool_canceled_acquires_total 7x600`, `db_pool_acquired_connections 14x600`, `db_pool_max_connections 16x600`}},
	"BackgroundTaskFailing": {[]string{`scheduling_worker_failed_total{task="expire-holds"} 0+1x600`}, []string{`scheduling_worker_failed_total{task="expire-holds"} 3x600`}},
	"EventsNotLeaving":      {[]string{`outbox_lag_seconds{job="users"} 61x600`}, []string{`outbox_lag_seconds{job="users"} 59x600`}},
	"OutboxWithoutLeader": {
		[]string{`outbox_leader{job="users",instance="a"} 0x600`, `outbox_leader{job="users",instance="b"} 0x600`},
		[]string{`outbox_leader{job="users",instance="a"} 0x600`, `outbox_leader{job="users",instance="b"} 1x600`}},
	"EventQuarantined": {[]string{`outbox_quarantined_rows{job="users"} ` + always1}, []string{`outbox_quarantined_rows{job="users"} ` + always0}},
	"BusDisconnected":  {[]string{`bus_connected ` + always0}, []string{`bus_connected ` + always1}},
	"ConsumerBehind":   {[]string{`bus_lag_messages{durable="d",stream="S"} 1001x600`}, []string{`bus_lag_messages{durable="d",stream="S"} 1000x600`}},
	"MessageDeadLettered": {
		[]string{`bus_messages_total{durable="d",stream="S",outcome="dead_lettered"} 0x594 1x6`},
		[]string{`bus_messages_total{durable="d",stream="S",outcome="dead_lettered"} 1x600`, `bus_messages_total{durable="d",stream="S",outcome="failed"} 0+1x600`}},
	"EmailsNotLeaving": {[]string{`notifier_oldest_due_seconds 121x600`}, []string{`notifier_oldest_due_seconds 60x600`}},
	"SendingPaused":    {[]string{`notifier_circuit_open ` + always1}, []string{`notifier_circuit_open ` + always0}},
	"EmailsFailing":    {[]string{refused + "0+1x600"}, []string{refused + "5x600"}},
	"EmailsGivenUp":    {[]string{givenUp + "0x594 1x6"}, []string{givenUp + "7x600", refused + "0+1x600"}},
	"EmailsInDoubt":    {[]string{`notifier_deliveries_in_doubt 21x600`}, []string{`notifier_deliveries_in_doubt 20x600`}},
	"BouncesHigh": {
		[]string{`notifier_feedback_total{kind="send"} 0+100x600`, `notifier_feedback_total{kind="bounce"} 0+5x600`},
		[]string{`notifier_feedback_total{kind="send"} 0+0.1x600`, `notifier_feedback_total{kind="bounce"} 0+0.1x600`}}, // too few to tell
	"FeedbackFailing": {[]string{`notifier_feedback_failures_total 0+1x600`}, []string{`notifier_feedback_failures_total 9x600`}},
}

func TestAlerts_FireOnWhatTheyAreFor(t *testing.T) {
	tested := 0
	for _, r := range rules(t) {
		if r.Alert == "" {
			continue
		}
		c, ok := alertCases[r.Alert]
		if !ok {
			t.Errorf("%s has no case", r.Alert)
			continue
		}
		tested++
		for name, series := range map[string][]string{"fires": c.fires, "quiet": c.quiet} {
			if got := evaluate(t, r.Expr, series); (got != "") != (name == "fires") {
				t.Errorf("%s, %s: got %s", r.Alert, name, got)
			}
		}
	}
	if tested != len(alertCases) {
		t.Errorf("%d cases, %d alerts", len(alertCases), tested)
	}
}

// What the notifier shows while no e-mail leaves, and what it shows on any other day.
func TestAlerts_TellOfEmailsThatDoNotLeave(t *testing.T) {
	queue := func(oldest, due, inDoubt, doctors string) []string {
		return []string{`notifier_oldest_due_seconds ` + oldest, `notifier_deliveries_due ` + due, `notifier_deliveries_in_doubt ` + inDoubt, overdue + doctors}
	}
	none, some := []string{told + "0x600", toldSoon + "0x600", refused + "0x600"}, []string{told + "0+10x600", toldSoon + "0+10x600", refused + "0x600"}
	before := []string{told + "0+10x594 5940x6", toldSoon + "0+10x594 5940x6", refused + "0x600"} // six minutes ago the last one was accepted
	for name, tt := range map[string]struct {
		series []string
		want   []string
	}{
		"nothing waits":                       {append(queue("0x600", "0x600", "0x600", "0x600"), some...), nil},
		"no traffic":                          {append(queue("0x600", "0x600", "0x600", "0x600"), none...), nil},
		"a queue that is worked off":          {append(queue("20x600", "900x600", "0x600", "0x600"), some...), nil},
		"one time-out in doubt, others leave": {append(queue("800x600", "1x600", "1x600", "1x600"), some...), nil},
		"one waits for its retry":             {append(queue("121x600", "1x600", "0x600", "0x600"), some...), []string{"EmailsNotLeaving"}},
		"several in doubt, others leave":      {append(queue("121x600", "4x600", "4x600", "0x600"), some...), []string{"EmailsNotLeaving"}},
		"all wait for their retry":            {append(queue("0x594 60+60x5", "0x594 10+10x5", "0x600", "0x594 200+100x5"), before...), []string{"DoctorsToldLate", "DoctorsToldLateLingering", "EmailsNotLeaving"}},
		"all hang":                            {append(queue("0x594 60+60x5", "0x594 10+10x5", "0x594 10+10x5", "0x594 200+100x5"), before...), []string{"DoctorsToldLate", "DoctorsToldLateLingering", "EmailsNotLeaving"}},
		"some are given up, others leave":     {append(queue("0x600", "0x600", "0x600", "0x600"), append(some, givenUp+"0+2x600")...), []string{"DoctorsToldLate", "DoctorsToldLateLingering", "EmailsGivenUp"}},
		"no e-mail in ten hours was accepted": {append(queue("36000x600", "5x600", "0x600", "3x600"), none...), []string{"DoctorsToldLate", "DoctorsToldLateLingering", "EmailsNotLeaving"}},
	} {
		var got []string
		for _, r := range rules(t) {
			if slices.Contains([]string{"DoctorsToldLate", "DoctorsToldLateLingering", "EmailsNotLeaving", "EmailsGivenUp"}, r.Alert) && evaluate(t, r.Expr, tt.series) != "" {
				got = append(got, r.Alert)
			}
		}
		slices.Sort(got)
		if !slices.Equal(got, tt.want) {
			t.Errorf("%s: %v fire, want %v", name, got, tt.want)
		}
	}
}

// evaluate is what a rule's expression gives at lookedAt; nothing where it doesn't fire.
func evaluate(t *testing.T, expr string, series []string) string {
	t.Helper()
	engine := promqltest.NewTestEngine(t, false, 5*time.Minute, 1_000_000)
	storage := promqltest.LoadedStorage(t, "load 1m\n  "+strings.Join(series, "\n  ")+"\n")
	query, err := engine.NewInstantQuery(t.Context(), storage, nil, expand(t, expr, recorded(t)), time.Unix(0, 0).Add(lookedAt))
	if err != nil {
		t.Fatalf("%s: %v", expr, err)
	}
	defer query.Close()
	result := query.Exec(t.Context())
	if result.Err != nil {
		t.Fatalf("%s: %v", expr, result.Err)
	}
	vector, err := result.Vector()
	if err != nil {
		t.Fatalf("%s: %v", expr, err)
	}
	return vector.String()
}

// expand puts the expressions of recording rules in the place of their names.
func expand(t *testing.T, expression string, byName map[string]string) string {
	t.Helper()
	expr, err := promql.ParseExpr(expression)
	if err != nil {
		t.Fatal(err)
	}
	var found []*parser.VectorSelector
	parser.Inspect(expr, func(n parser.Node, _ []parser.Node) error {
		if s, ok := n.(*parser.VectorSelector); ok && byName[s.Name] != "" {
			found = append(found, s)
		}
		return nil
	})
	slices.SortFunc(found, func(a, b *parser.VectorSelector) int { return int(b.PosRange.Start - a.PosRange.Start) })
	for _, s := range found {
		expression = expression[:s.PosRange.Start] + "(" + byName[s.Name] + ")" + expression[s.PosRange.End:]
	}
	return expression
}

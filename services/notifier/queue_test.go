package notifier_test

import (
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/healthmed/healthmed/pkg/sesinbox"
	"github.com/healthmed/healthmed/pkg/sestest"
)

// metric is the value of one series of the replica that was started last, by its name and labels as they are served.
func (h *house) metric(series string) float64 {
	h.t.Helper()
	for line := range strings.Lines(h.metrics()) {
		if value, ok := strings.CutPrefix(strings.TrimSpace(line), series+" "); ok {
			n, err := strconv.ParseFloat(value, 64)
			if err != nil {
				h.t.Fatal(err)
			}
			return n
		}
	}
	h.t.Fatalf("no metric %s", series)
	return 0
}

// While no e-mail leaves, operators are shown how many wait and for how long, though each attempt puts the next one off.
func TestOutage_TheQueueIsSeenWhateverTheMailServiceDoes(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		fault  sestest.Fault
		status string
	}{
		"refuses for now": {sestest.Fault{Status: 429, Code: "TooManyRequestsException"}, "pending"},
		"is paused":       {sestest.Fault{Status: 400, Code: "SendingPausedException"}, "pending"},
		"cuts":            {sestest.Fault{Cut: true}, "unknown"},
		"hangs":           {sestest.Fault{Delay: time.Hour}, "sending"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHouse(t)
			h.unlimited()
			c := h.withClock()
			h.cfg.LeaseMargin = time.Hour // the moved clock ends no lease
			h.ses.SetFault(func(*http.Request) sestest.Fault { return tt.fault })
			h.start()
			doctor, patient := h.pair()              // with a reminder and an agenda, which wait for their day
			h.book(appointment(uuid.New(), patient)) // nobody knows this doctor: both messages wait
			eventually(t, "two wait", 20*time.Second, func() bool {
				return h.number(`SELECT count(*) FROM deliveries WHERE status = 'waiting'`) == 2
			})
			h.book(appointment(doctor, patient))
			eventually(t, "it is tried", 20*time.Second, func() bool {
				return h.number(`SELECT count(*) FROM deliveries WHERE status = $1 AND attempts > 0`, tt.status) >= 1
			})
			c.advance(5 * time.Minute)
			eventually(t, "both are counted, from when they were planned", 10*time.Second, func() bool {
				oldest := h.metric("notifier_oldest_due_seconds")
				return h.metric("notifier_deliveries_due") == 2 && oldest >= 300 && oldest < 400 &&
					h.metric("notifier_deliveries_waiting") == 2 &&
					h.metric(`notifier_deliveries_overdue{recipient="doctor"}`) == 1 && h.metric(`notifier_deliveries_overdue{recipient="patient"}`) == 1
			})
			h.ses.SetFault(nil)
			eventually(t, "no call is under way", 20*time.Second, func() bool { return h.number(`SELECT count(*) FROM deliveries WHERE status = 'sending'`) == 0 })
			c.advance(20 * time.Minute)
			eventually(t, "nothing is left", 30*time.Second, func() bool {
				return h.metric("notifier_deliveries_due") == 0 && h.metric("notifier_oldest_due_seconds") == 0 &&
					h.metric(`notifier_deliveries_overdue{recipient="doctor"}`) == 0
			})
		})
	}
}

// However a delivery ends as failed, it is counted: alerts look at nothing else.
func TestFailed_IsCountedWhateverTheWay(t *testing.T) {
	t.Parallel()
	throttled := func(*http.Request) sestest.Fault { return sestest.Fault{Status: 429, Code: "TooManyRequestsException"} }
	for reason, arrange := range map[string]func(h *house, c *clock) (then func()){
		"refused": func(h *house, _ *clock) func() {
			h.ses.SetFault(func(*http.Request) sestest.Fault { return sestest.Fault{Status: 400, Code: "MessageRejected"} })
			return func() {}
		},
		"retries_exhausted": func(h *house, c *clock) func() {
			h.ses.SetFault(throttled)
			return func() {
				eventually(h.t, "it is tried", 20*time.Second, func() bool {
					return h.number(`SELECT count(*) FROM deliveries WHERE status = 'pending' AND attempts > 0`) == 2
				})
				c.advance(25 * time.Hour)
			}
		},
		"in_doubt": func(h *house, _ *clock) func() {
			h.cfg.SettleAfter = 300 * time.Millisecond
			h.ses.SetFault(func(*http.Request) sestest.Fault { return sestest.Fault{Cut: true} })
			return func() {}
		},
		"contact_unknown": func(h *house, c *clock) func() {
			return func() {
				eventually(h.t, "they wait", 20*time.Second, func() bool { return h.number(`SELECT count(*) FROM deliveries WHERE status = 'waiting'`) == 2 })
				c.advance(25 * time.Hour)
			}
		},
		"rejected_after_acceptance": func(h *house, _ *clock) func() {
			queue := h.withFeedback(time.Minute)
			return func() {
				eventually(h.t, "both are sent", 20*time.Second, func() bool { return h.sent() == 2 })
				for _, m := range h.ses.Messages() {
					queue.Send(sesinbox.RejectEvent(m, time.Now()))
					queue.Send(sesinbox.RejectEvent(m, time.Now())) // at least once
				}
			}
		},
	} {
		t.Run(reason, func(t *testing.T) {
			t.Parallel()
			h := newHouse(t)
			h.unlimited()
			then := arrange(h, h.withClock())
			h.start()
			series := func(who string) string {
				return `notifier_failed_total{reason="` + reason + `",recipient="` + who + `"}`
			}
			if n := h.metric(series("doctor")); n != 0 { // there from the start, so that the first one is an increase
				t.Errorf("%v before anything failed", n)
			}
			doctor, patient := uuid.New(), uuid.New()
			if reason != "contact_unknown" {
				doctor, patient = h.pair()
			}
			h.book(appointment(doctor, patient))
			then()
			eventually(t, "both are counted", 30*time.Second, func() bool { return h.metric(series("doctor")) == 1 && h.metric(series("patient")) == 1 })
			if n := h.number(`SELECT count(*) FROM deliveries WHERE status = 'failed'`); n != 2 {
				t.Errorf("%d deliveries failed, want 2", n)
			}
		})
	}
}

package notifier_test

import (
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

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
			doctor, patient := h.pair() // with a reminder and an agenda, which wait for their day
			h.book(appointment(doctor, patient))
			h.book(appointment(uuid.New(), patient)) // nobody knows this doctor: both messages wait
			eventually(t, "it is tried", 20*time.Second, func() bool {
				return h.number(`SELECT count(*) FROM deliveries WHERE status = $1 AND attempts > 0`, tt.status) >= 1 &&
					h.number(`SELECT count(*) FROM deliveries WHERE status = 'waiting'`) == 2
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

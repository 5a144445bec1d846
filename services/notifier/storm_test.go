package notifier_test

import (
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/healthmed/healthmed/pkg/events"
	"github.com/healthmed/healthmed/pkg/sesinbox"
	"github.com/healthmed/healthmed/pkg/sestest"
)

// TestStorm: the mail service throttles half of the calls, fails a tenth, lets 2 in 100 hang, and one address never
// works. Everything else is delivered, once as far as feedback tells, at no more than the account's rate.
func TestStorm_AllAreDeliveredWithinTheRate(t *testing.T) {
	n, rate := size(100, 5000), float64(size(200, 400))
	h := newHouse(t)
	h.ses.SetMaxSendRate(rate)
	queue := h.withFeedback(time.Second)
	h.cfg.RetryBase, h.cfg.SendTimeout = 50*time.Millisecond, time.Second
	stop := h.tellOfSends(queue)
	defer stop()
	var seen atomic.Int64
	h.ses.SetFault(func(r *http.Request) sestest.Fault {
		if slices.Contains(read(r).Destination.ToAddresses, "bad@example.com") {
			return sestest.Fault{Hang: true}
		}
		switch i := seen.Add(1) % 50; {
		case i < 25:
			return sestest.Fault{Status: 429, Code: "TooManyRequestsException"}
		case i < 30:
			return sestest.Fault{Status: 500, Code: "InternalServiceErrorException"}
		case i < 31:
			return sestest.Fault{Hang: true}
		}
		return sestest.Fault{}
	})
	lucky := h.person("doctor", "Lucky", "lucky@example.com")
	unlucky, patient := h.person("doctor", "Bad Luck", "bad@example.com"), h.person("patient", "Good Luck", "good@example.com")
	for range 5 {
		h.publish(&events.AppointmentBooked{Appointment: appointment(unlucky, patient)}, 1)
	}
	h.start()
	began := time.Now()
	h.bookings(n, 1)
	total := 2*n + 5
	// Bookings go on: whether feedback is alive shows in later messages'.
	next := time.Now()
	eventually(t, "all but the unlucky are sent", time.Duration(size(90, 600))*time.Second, func() bool {
		if now := time.Now(); now.After(next) {
			next = now.Add(300 * time.Millisecond)
			h.publish(&events.AppointmentBooked{Appointment: appointment(lucky, patient)}, 1)
		}
		return h.number(`SELECT count(*) FROM deliveries WHERE status = 'sent' AND doctor_id <> $1`, lucky) == total
	})
	took := time.Since(began)
	if got := h.number(`SELECT count(*) FROM deliveries WHERE status = 'failed'`); got != 0 {
		t.Errorf("%d deliveries were given up", got)
	}
	for id, c := range h.ses.Counts() {
		if c.Accepted > 1 {
			t.Errorf("delivery %s was accepted %d times", id, c.Accepted)
		}
	}
	peak := peakPerSecond(h.ses.CallTimes())
	if float64(peak) > rate*1.05 {
		t.Errorf("%d calls in one second, the account allows %g", peak, rate)
	}
	t.Logf("%d messages in %s, %d calls, at most %d calls in any second (rate %g)", total, took.Round(time.Millisecond), h.ses.Calls(), peak, rate)
}

// tellOfSends feeds the queue with what SES would tell: a send event for every accepted message, until stopped.
func (h *house) tellOfSends(queue *sestest.Queue) (stop func()) {
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		told := map[string]bool{}
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		for {
			for _, m := range h.ses.Messages() {
				if !told[m.ID] {
					told[m.ID] = true
					queue.Send(sesinbox.SendEvent(m, time.Now()))
				}
			}
			select {
			case <-done:
				return
			case <-tick.C:
			}
		}
	}()
	return sync.OnceFunc(func() {
		close(done)
		<-ended
	})
}

// peakPerSecond is the largest number of times within any one second.
func peakPerSecond(times []time.Time) int {
	peak, first := 0, 0
	for i, at := range times {
		for at.Sub(times[first]) >= time.Second {
			first++
		}
		peak = max(peak, i-first+1)
	}
	return peak
}

package notifier_test

import (
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/healthmed/healthmed/pkg/events"
	"github.com/healthmed/healthmed/pkg/sesinbox"
	"github.com/healthmed/healthmed/pkg/sestest"
)

// The tests of this file take seconds; with NOTIFIER_FULL=1 they run at the sizes of the acceptance numbers.

// bookings publishes n bookings between a few doctors and patients, times times each, and returns when the streams have them.
func (h *house) bookings(n, times int) {
	h.t.Helper()
	var doctors, patients []uuid.UUID
	for i := range 10 {
		doctors = append(doctors, h.person("doctor", fmt.Sprintf("Doctor %c", 'A'+i), fmt.Sprintf("doctor%d@example.com", i)))
		patients = append(patients, h.person("patient", fmt.Sprintf("Patient %c", 'A'+i), fmt.Sprintf("patient%d@example.com", i)))
	}
	for i := range n {
		a := appointment(doctors[i%10], patients[i/10%10])
		env, err := events.New(&events.AppointmentBooked{Appointment: a}, 1)
		if err != nil {
			h.t.Fatal(err)
		}
		body, err := env.Encode()
		if err != nil {
			h.t.Fatal(err)
		}
		for range times { // without Nats-Msg-Id, the stream keeps each
			if _, err := h.conn.JS.PublishAsync(env.Data.Subject(), body, jetstream.WithStallWait(10*time.Second)); err != nil {
				h.t.Fatal(err)
			}
		}
	}
	select {
	case <-h.conn.JS.PublishAsyncComplete():
	case <-time.After(time.Minute):
		h.t.Fatal("the stream did not take the events")
	}
}

// exactly checks that every delivery about an appointment was accepted exactly once, and how many there are.
func (h *house) exactly(emails int) {
	h.t.Helper()
	counts := h.ses.Counts()
	for id, c := range counts {
		if c.Accepted != 1 {
			h.t.Errorf("delivery %s was accepted %d times", id, c.Accepted)
		}
	}
	if len(counts) != emails {
		h.t.Errorf("%d messages reached the mail service, want %d", len(counts), emails)
	}
}

func (h *house) sent() int {
	return h.number(`SELECT count(*) FROM deliveries WHERE status = 'sent'`)
}

func TestDedup_FiveDeliveriesToFourReplicasGiveOneEmailEach(t *testing.T) {
	n := size(200, 10_000) // bookings, each an e-mail to the doctor and one to the patient
	h := newHouse(t)
	h.unlimited()
	for range 4 {
		h.start()
	}
	began := time.Now()
	h.bookings(n, 5)
	eventually(t, "everything is sent", 5*time.Minute, func() bool { return h.sent() == 2*n })
	eventually(t, "every copy of every event is taken in", 5*time.Minute, func() bool { return h.pendingEvents() == 0 })
	if late := h.number(`SELECT count(*) FROM deliveries WHERE planned_at < now() + interval '1 day' AND status <> 'sent'`); late != 0 {
		t.Errorf("%d further deliveries came of repeated events", late)
	}
	h.exactly(2 * n)
	t.Logf("%d events, 5 times each, 4 replicas: %d e-mails in %s", n, 2*n, time.Since(began).Round(time.Millisecond))
}

// pendingEvents is how many messages of SCHEDULING the notifier has not acknowledged yet.
func (h *house) pendingEvents() int { return h.pending("SCHEDULING", "notifier-scheduling") }

// pending is how many messages of a stream a consumer that reads all of it has not acknowledged yet; -1 while there is
// no such consumer. The server tells consumers of a new message after it has confirmed it to its publisher, so what it
// says is pending (NumPending) comes late; what the stream holds doesn't.
func (h *house) pending(stream, durable string) int {
	h.t.Helper()
	s, err := h.conn.JS.Stream(h.t.Context(), stream) // reads its state
	if err != nil {
		return -1
	}
	c, err := h.conn.JS.Consumer(h.t.Context(), stream, durable)
	if err != nil {
		return -1
	}
	info := c.CachedInfo()
	return int(s.CachedInfo().State.LastSeq-min(info.Delivered.Stream, s.CachedInfo().State.LastSeq)) + info.NumAckPending //nolint:gosec // a few thousand
}

func TestInDoubt_FeedbackSettlesWithoutASecondEmail(t *testing.T) {
	n := size(100, 500)
	h := newHouse(t)
	h.unlimited()
	queue := h.withFeedback(time.Minute)
	h.ses.SetFault(func(*http.Request) sestest.Fault { return sestest.Fault{Accept: true, Cut: true} })
	h.start()
	h.bookings(n, 1)
	eventually(t, "every attempt is in doubt", 2*time.Minute, func() bool {
		return h.number(`SELECT count(*) FROM deliveries WHERE status = 'unknown'`) == 2*n
	})
	for _, m := range h.ses.Messages() {
		queue.Send(sesinbox.SendEvent(m, time.Now()))
	}
	eventually(t, "the send events settle them", 20*time.Second, func() bool { return h.sent() == 2*n })
	h.exactly(2 * n)
	if calls := h.ses.Calls(); calls != 2*n {
		t.Errorf("%d calls for %d messages", calls, 2*n)
	}
}

func TestInDoubt_WithoutFeedbackOneResendAtMost(t *testing.T) {
	n := size(100, 500)
	h := newHouse(t)
	h.unlimited()
	h.cfg.SettleAfter = time.Second
	var cut sync.Map
	h.ses.SetFault(func(r *http.Request) sestest.Fault {
		if _, seen := cut.LoadOrStore(tagOf(r), true); seen {
			return sestest.Fault{}
		}
		return sestest.Fault{Accept: true, Cut: true}
	})
	h.start()
	h.bookings(n, 1)
	eventually(t, "everything is sent in the end", 2*time.Minute, func() bool { return h.sent() == 2*n })
	for id, c := range h.ses.Counts() {
		if c.Calls != 2 {
			t.Errorf("delivery %s was tried %d times, want 2", id, c.Calls)
		}
	}
	if resent := h.number(`SELECT sum(resends) FROM deliveries`); resent != 2*n {
		t.Errorf("%d resends are counted, want %d", resent, 2*n)
	}
}

func TestInDoubt_IsGivenUpRatherThanSentForEver(t *testing.T) {
	h := newHouse(t)
	h.unlimited()
	h.cfg.SettleAfter = 300 * time.Millisecond
	h.ses.SetFault(func(*http.Request) sestest.Fault { return sestest.Fault{Accept: true, Cut: true} })
	h.start()
	h.bookings(5, 1)
	eventually(t, "all are given up", time.Minute, func() bool {
		return h.number(`SELECT count(*) FROM deliveries WHERE status = 'failed' AND last_error = 'in_doubt'`) == 10
	})
	for id, c := range h.ses.Counts() {
		if c.Calls != 2 {
			t.Errorf("delivery %s was tried %d times, want 2", id, c.Calls)
		}
	}
}

// Reminders and agendas are sent at most once: one that may have arrived isn't sent again, whatever else feedback tells.
// An operator may, and a send event that comes late still settles it.
func TestInDoubt_ReminderAndAgendaAreNotSentAgain(t *testing.T) {
	h := newHouse(t)
	h.unlimited()
	c := h.withClock()
	queue := h.withFeedback(300 * time.Millisecond)
	stop := h.start()
	doctor, patient := h.pair()
	a := appointment(doctor, patient)
	h.book(a)
	h.wantBecame(doctor, "doctor_booked", map[string]int{"sent": 1})
	h.wantBecame(patient, "patient_booked", map[string]int{"sent": 1})
	booked := h.ses.Messages()[0]
	h.ses.SetFault(func(*http.Request) sestest.Fault { return sestest.Fault{Accept: true, Cut: true} })
	c.set(a.StartsAt.Add(-12 * time.Hour))
	queue.Send(sesinbox.SendEvent(booked, c.Now().Add(time.Hour))) // the channel is alive
	eventually(t, "both are given up or sent again", 20*time.Second, func() bool {
		return h.number(`SELECT count(*) FROM deliveries WHERE template IN ('patient_reminder', 'doctor_agenda')
			AND (status = 'failed' OR resends > 0)`) == 2
	})
	h.wantBecame(patient, "patient_reminder", map[string]int{"failed in_doubt": 1})
	h.wantBecame(doctor, "doctor_agenda", map[string]int{"failed in_doubt": 1})
	h.exactly(4)
	eventually(t, "their failures are published", 10*time.Second, func() bool { return h.published("failed") == 2 })

	for _, m := range h.ses.Messages() {
		if m.Tags["template"] == "patient_reminder" {
			queue.Send(sesinbox.SendEvent(m, c.Now()))
		}
	}
	eventually(t, "the late send event settles the reminder", 10*time.Second, func() bool {
		return h.became(patient, "patient_reminder")["sent"] == 1
	})
	stop()
	h.ses.SetFault(nil)
	c.set(time.Now()) // a token of the API isn't good for days
	h.start()
	id := h.texts(`SELECT id::text FROM deliveries WHERE template = 'doctor_agenda'`)[0]
	if status, body := h.call("POST", "/v1/deliveries/"+id+"/retry", h.admin(), ""); status != 200 {
		t.Errorf("retry: %d %s", status, body)
	}
	h.wantBecame(doctor, "doctor_agenda", map[string]int{"sent": 1})
}

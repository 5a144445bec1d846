package notifier_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/healthmed/healthmed/pkg/bus/accountmail"
	"github.com/healthmed/healthmed/pkg/events"
	"github.com/healthmed/healthmed/pkg/sesinbox"
	"github.com/healthmed/healthmed/pkg/sestest"
)

// published counts the events that tell of deliveries, of one kind: sent, failed or bounced.
func (h *house) published(kind string) int {
	h.t.Helper()
	s, err := h.conn.JS.Stream(h.t.Context(), "NOTIFICATIONS")
	if err != nil {
		h.t.Fatal(err)
	}
	info, err := s.Info(h.t.Context(), jetstream.WithSubjectFilter("healthmed.notifier.delivery."+kind+".v1.>"))
	if err != nil {
		h.t.Fatal(err)
	}
	n := 0
	for _, count := range info.State.Subjects {
		n += int(count) //nolint:gosec // a handful
	}
	return n
}

func TestNews_TenQuickMovesAreOneMessage(t *testing.T) {
	h := newHouse(t)
	h.unlimited()
	h.cfg.RetryBase = 200 * time.Millisecond
	h.start()
	doctor, patient := h.pair()
	told, untold := appointment(doctor, patient), appointment(doctor, patient)
	h.book(told)
	h.wantBecame(doctor, "doctor_booked", map[string]int{"sent": 1})
	h.ses.SetFault(func(*http.Request) sestest.Fault { return sestest.Fault{Status: 429, Code: "TooManyRequestsException"} })
	h.book(untold)
	old := told.StartsAt
	for range 10 {
		told, untold = h.move(told, time.Hour/2), h.move(untold, time.Hour/4)
	}
	eventually(t, "all is taken in", 15*time.Second, func() bool { return h.pendingEvents() == 0 })
	// A call under way can't be taken back: each that began before the last move has to end first.
	taken := time.Now()
	eventually(t, "calls with an older time have ended", 45*time.Second, func() bool {
		return h.number(`SELECT count(*) FROM deliveries WHERE recipient_id = $1 AND status IN ('pending', 'sending')
			AND attempts > 0 AND updated_at <= $2`, doctor, taken) == 0
	})
	h.ses.SetFault(nil)
	eventually(t, "nothing is left to tell", 30*time.Second, func() bool {
		return h.number(`SELECT count(*) FROM deliveries WHERE recipient_id = $1 AND status IN ('pending', 'sending') AND planned_at < now()`, doctor) == 0
	})
	if sent := h.number(`SELECT count(*) FROM deliveries WHERE recipient_id = $1 AND status = 'sent'`, doctor); sent != 3 {
		t.Errorf("%d messages are sent, want 3", sent)
	}
	if n := h.count("helena@example.com"); n != 3 {
		t.Errorf("the doctor got %d e-mails, want 3", n)
	}
	for nth := 2; nth <= 3; nth++ {
		e := h.mailTo("helena@example.com", nth)
		a := untold // never told: announced as new, with its latest time
		if e.Subject != "Health&Med - Nova consulta agendada" {
			a = told
			if !strings.Contains(e.Text, old.Format("15:04")) {
				t.Errorf("the time that the doctor knew is missing:\n%s", e.Text)
			}
		}
		if !strings.Contains(e.Calendar, "DTSTART:"+a.StartsAt.UTC().Format("20060102T150405Z")) || !strings.Contains(e.Calendar, "SEQUENCE:11\r\n") {
			t.Errorf("%s\n%s", e.Subject, e.Calendar)
		}
	}
	back := h.move(h.move(told, time.Hour), -time.Hour) // moved and moved back before anybody was told
	h.cancel(back)
	h.wantBecame(doctor, "doctor_cancelled", map[string]int{"sent": 1})
	if n := h.count("helena@example.com"); n != 4 {
		t.Errorf("the doctor got %d e-mails, want 4", n)
	}
}

func TestNews_WhatWasCancelledIsNotAnnounced(t *testing.T) {
	h := newHouse(t)
	h.unlimited()
	h.cfg.RetryBase = 200 * time.Millisecond
	h.ses.SetFault(func(*http.Request) sestest.Fault { return sestest.Fault{Status: 429, Code: "TooManyRequestsException"} })
	doctor, patient := h.pair()
	a := appointment(doctor, patient)
	h.book(a)
	h.cancel(a)
	late := appointment(doctor, patient) // its cancellation overtakes its booking
	h.cancel(late)
	h.book(late)
	h.start()
	eventually(t, "all is taken in", 15*time.Second, func() bool { return h.pendingEvents() == 0 })
	// A call under way can't be taken back: each that began before its booking's cancellation was known has to end first.
	eventually(t, "calls with an older state have ended", 45*time.Second, func() bool {
		return h.number(`SELECT count(*) FROM deliveries WHERE status = 'sending'`) == 0
	})
	h.ses.SetFault(nil)
	for template, id := range map[string]uuid.UUID{"doctor": doctor, "patient": patient} {
		h.wantBecame(id, template+"_booked", map[string]int{"skipped superseded": 2})
		h.wantBecame(id, template+"_cancelled", map[string]int{"skipped never_announced": 2})
	}
	if n := len(h.ses.Messages()); n != 0 {
		t.Errorf("%d e-mails were sent", n)
	}
}

// A request that is moved asks the doctor anew; what isn't firm goes into no calendar.
func TestNews_AMovedRequestIsANewQuestion(t *testing.T) {
	h := newHouse(t)
	h.unlimited()
	h.start()
	doctor, patient := h.pair()
	a := appointment(doctor, patient)
	a.Status = "requested"
	old := a.StartsAt
	h.publish(&events.AppointmentRequested{Appointment: a}, 1)
	h.wantBecame(doctor, "doctor_requested", map[string]int{"sent": 1})
	a = h.move(a, time.Hour)
	h.wantBecame(doctor, "doctor_rescheduled", map[string]int{"sent": 1})
	h.wantBecame(patient, "patient_rescheduled", map[string]int{"sent": 1})
	for address, words := range map[string][]string{
		"helena@example.com": {"mudou de horário", "/confirm", "/decline"},
		"maria@example.com":  {"vai confirmar ou recusar o novo horário"},
	} {
		e := h.mailTo(address, 2)
		for _, want := range append(words, old.Format("15:04"), a.StartsAt.Format("15:04")) {
			if !strings.Contains(e.Text, want) || !strings.Contains(e.HTML, want) {
				t.Errorf("%s: %q is missing in\n%s", address, want, e.Text)
			}
		}
		if e.Calendar != "" {
			t.Errorf("%s: an invitation to what isn't firm:\n%s", address, e.Calendar)
		}
	}
	// Moved once more and confirmed at once: the confirmation tells both.
	a = h.move(a, time.Hour)
	a.Status, a.Version = "booked", a.Version+1
	h.publish(&events.AppointmentBooked{Appointment: a}, a.Version)
	h.wantBecame(patient, "patient_confirmed", map[string]int{"sent": 1})
	h.wantBecame(patient, "patient_rescheduled", map[string]int{"sent": 1, "skipped superseded": 1})
	if e := h.mailTo("maria@example.com", 3); !strings.Contains(e.Calendar, "DTSTART:"+a.StartsAt.UTC().Format("20060102T150405Z")) {
		t.Errorf("%s\n%s", e.Subject, e.Calendar)
	}
}

// An attempt in doubt may have told its reader: a cancellation is told, and a move names the time that they may know.
func TestNews_PerhapsToldCountsAsTold(t *testing.T) {
	h := newHouse(t)
	h.unlimited()
	h.cfg.SettleAfter = 300 * time.Millisecond
	h.ses.SetFault(func(*http.Request) sestest.Fault { return sestest.Fault{Accept: true, Cut: true} })
	h.start()
	doctor, patient := h.pair()
	moved, cancelled := appointment(doctor, patient), appointment(doctor, patient)
	h.book(moved)
	h.book(cancelled)
	eventually(t, "given up", 20*time.Second, func() bool {
		return h.number(`SELECT count(*) FROM deliveries WHERE template LIKE '%booked' AND status = 'failed'`) == 4
	})
	h.ses.SetFault(nil)
	before, old := h.count("helena@example.com"), moved.StartsAt
	h.move(moved, time.Hour)
	h.cancel(cancelled)
	h.wantBecame(doctor, "doctor_cancelled", map[string]int{"sent": 1})
	h.wantBecame(patient, "patient_cancelled", map[string]int{"sent": 1})
	h.wantBecame(doctor, "doctor_rescheduled", map[string]int{"sent": 1})
	got := map[string]bool{}
	for nth := h.count("helena@example.com"); nth > before; nth-- {
		e := h.mailTo("helena@example.com", nth)
		got[e.Subject+", "+e.Method] = true
		if e.Subject == "Health&Med - Consulta remarcada" && !strings.Contains(e.Text, old.Format("15:04")) {
			t.Errorf("the time that the doctor may know is missing:\n%s", e.Text)
		}
	}
	if !got["Health&Med - Consulta cancelada, CANCEL"] || !got["Health&Med - Consulta remarcada, REQUEST"] {
		t.Errorf("the doctor got %v", got)
	}
}

// The same while the message waits to be tried again; and feedback that comes late settles what was left out meanwhile.
func TestNews_PerhapsToldThoughItIsTriedAgain(t *testing.T) {
	h := newHouse(t)
	h.unlimited()
	h.cfg.RetryBase = 200 * time.Millisecond
	queue := h.withFeedback(300 * time.Millisecond)
	var calls atomic.Int32
	h.ses.SetFault(func(*http.Request) sestest.Fault {
		if calls.Add(1) <= 2 {
			return sestest.Fault{Accept: true, Cut: true}
		}
		return sestest.Fault{Status: 429, Code: "TooManyRequestsException"}
	})
	h.start()
	doctor, patient := h.pair()
	a := appointment(doctor, patient)
	h.book(a)
	eventually(t, "tried again", 20*time.Second, func() bool {
		return h.number(`SELECT count(*) FROM deliveries WHERE template LIKE '%booked' AND attempts >= 2 AND resends > 0`) == 2
	})
	h.cancel(a)
	booked := `SELECT count(*) FROM deliveries WHERE template LIKE '%booked' AND status = $1`
	eventually(t, "left out", 20*time.Second, func() bool { return h.number(booked, "skipped") == 2 })
	h.ses.SetFault(nil)
	h.wantBecame(doctor, "doctor_cancelled", map[string]int{"sent": 1})
	if e := h.mailTo("helena@example.com", 2); e.Method != "CANCEL" {
		t.Errorf("%s: method %q, want CANCEL", e.Subject, e.Method)
	}
	for _, m := range h.ses.Messages() {
		queue.Send(sesinbox.SendEvent(m, time.Now()))
	}
	eventually(t, "settled", 20*time.Second, func() bool { return h.number(booked, "sent") == 2 })
}

// What an attempt was to tell and surely didn't, because the mail service refused it, isn't taken for told.
func TestNews_WhatWasRefusedAfterADoubtIsToldByTheNext(t *testing.T) {
	h := newHouse(t)
	h.unlimited()
	h.cfg.RetryBase = 200 * time.Millisecond
	h.withFeedback(300 * time.Millisecond)
	var refused atomic.Pointer[string] // the booking's message to the doctor, refused once the others go through
	var through atomic.Bool
	h.ses.SetFault(func(r *http.Request) sestest.Fault {
		switch mine := refused.Load(); {
		case mine == nil:
			return sestest.Fault{Accept: true, Cut: true}
		case !through.Load():
			return sestest.Fault{Status: 429, Code: "TooManyRequestsException"}
		case tagOf(r) == *mine:
			return sestest.Fault{Status: 400, Code: "MessageRejected"}
		}
		return sestest.Fault{}
	})
	h.start()
	doctor, patient := h.pair()
	a := appointment(doctor, patient)
	h.book(a)
	eventually(t, "in doubt", 20*time.Second, func() bool { return h.number(`SELECT count(*) FROM deliveries WHERE status = 'unknown'`) == 2 })
	id := h.texts(`SELECT id::text FROM deliveries WHERE recipient_id = $1 AND template = 'doctor_booked'`, doctor)[0]
	refused.Store(&id)
	h.move(a, time.Hour)
	eventually(t, "sent again, and put off", 20*time.Second, func() bool {
		return h.number(`SELECT count(*) FROM deliveries WHERE id::text = $1 AND resends > 0 AND attempts >= 3`, id) == 1
	})
	through.Store(true)
	h.wantBecame(doctor, "doctor_rescheduled", map[string]int{"sent": 1})
	if e := h.mailTo("helena@example.com", 2); !strings.Contains(e.Text, a.StartsAt.Format("15:04")) {
		t.Errorf("%s: the time that the doctor may know is missing:\n%s", e.Subject, e.Text)
	}
}

func TestNews_PatientErasedMeanwhile(t *testing.T) {
	h := newHouse(t)
	h.unlimited()
	doctor, patient := h.pair()
	h.book(appointment(doctor, patient))
	h.publish(&events.UserErased{UserID: patient, Role: "patient", OccurredAt: time.Now()}, 2)
	stop := h.start()
	eventually(t, "the patient is erased", 10*time.Second, func() bool {
		return h.number(`SELECT count(*) FROM contacts WHERE user_id = $1 AND erased`, patient) == 1
	})
	h.book(appointment(doctor, patient))
	eventually(t, "the patient's news is skipped", 10*time.Second, func() bool { return h.became(patient, "patient_booked")["skipped recipient_erased"] >= 1 })
	h.wantBecame(doctor, "doctor_booked", map[string]int{"sent": 2})
	if e := h.mailTo("helena@example.com", h.count("helena@example.com")); !strings.Contains(e.Text, "paciente com cadastro excluído") {
		t.Errorf("text:\n%s", e.Text)
	}
	stop()
	if n := h.number(`SELECT count(*) FROM contacts WHERE name LIKE 'Maria%' OR email LIKE 'maria%'`); n != 0 {
		t.Error("the name or the address is still there")
	}
}

func TestUnknownDoctor_IsADeadLetterAfterADayAndCanBeRedriven(t *testing.T) {
	h := newHouse(t)
	h.unlimited()
	c := h.withClock()
	stop := h.start()
	patient := h.person("patient", "Maria Souza", "maria@example.com")
	doctor := uuid.New()
	h.book(appointment(doctor, patient))
	eventually(t, "both wait", 10*time.Second, func() bool { return h.number(`SELECT count(*) FROM deliveries WHERE status = 'waiting'`) == 2 })
	c.advance(23 * time.Hour)
	h.wantBecame(doctor, "doctor_booked", map[string]int{"waiting": 1})
	c.advance(2 * time.Hour)
	h.wantBecame(doctor, "doctor_booked", map[string]int{"failed contact_unknown": 1})
	stop()
	c.set(time.Now()) // a token of the API isn't good for a day
	h.start()
	var page struct {
		Items []struct{ ID, Stream, Reason string }
	}
	_, body := h.call("GET", "/v1/dead-letters", h.admin(), "")
	if err := json.Unmarshal([]byte(body), &page); err != nil || len(page.Items) != 2 || page.Items[0].Reason != "contact_unknown" {
		t.Fatalf("dead letters: %s", body)
	}
	eventually(t, "the failures are published", 10*time.Second, func() bool { return h.published("failed") == 2 })
	h.publish(&events.UserRegistered{
		UserID: doctor, Role: "doctor", Status: "active", Name: "Ana Lima", Email: "ana@example.com", Locale: "pt-BR", OccurredAt: time.Now(),
		Doctor: &events.DoctorProfile{CRM: events.CRM{Number: "1", State: "SP"}, Specialties: []string{"cardiology"}},
	}, 1)
	for _, letter := range page.Items {
		if status, body := h.call("POST", "/v1/dead-letters/"+letter.ID+"/redrive", h.admin(), ""); status != 202 {
			t.Errorf("redrive: %d %s", status, body)
		}
	}
	h.mailTo("ana@example.com", 1)
	h.mailTo("maria@example.com", 1)
}

func TestFeedback_BounceSuppressesTheAddressUntilItChanges(t *testing.T) {
	h := newHouse(t)
	h.unlimited()
	queue := h.withFeedback(time.Minute)
	h.start()
	doctor, patient := h.pair()
	h.book(appointment(doctor, patient))
	h.wantBecame(doctor, "doctor_booked", map[string]int{"sent": 1})
	h.wantBecame(patient, "patient_booked", map[string]int{"sent": 1})
	for _, m := range h.ses.Messages() {
		event := sesinbox.BounceEvent(m, time.Now(), m.To[0] == "helena@example.com") // the patient's is full for now
		queue.Send(event)
		queue.Send(event) // at least once
		queue.Send(sesinbox.SendEvent(m, time.Now()))
	}
	eventually(t, "both bounced", 10*time.Second, func() bool { return h.published("bounced") == 2 })
	h.book(appointment(doctor, patient))
	h.wantBecame(doctor, "doctor_booked", map[string]int{"bounced": 1, "skipped address_undeliverable": 1})
	h.wantBecame(patient, "patient_booked", map[string]int{"bounced": 1, "sent": 1})

	h.publish(&events.UserUpdated{
		UserID: doctor, Role: "doctor", Status: "active", Name: "Helena Prado", Email: "new@example.com", Locale: "pt-BR", OccurredAt: time.Now(),
		Doctor: &events.DoctorProfile{CRM: events.CRM{Number: "1", State: "SP"}, Specialties: []string{"cardiology"}},
	}, 2)
	eventually(t, "the new address is known", 10*time.Second, func() bool {
		return h.number(`SELECT count(*) FROM contacts WHERE email = 'new@example.com' AND undeliverable = ''`) == 1
	})
	h.book(appointment(doctor, patient))
	h.mailTo("new@example.com", 1)
	h.wantBecame(doctor, "doctor_booked", map[string]int{"bounced": 1, "sent": 1, "skipped address_undeliverable": 1})
	for _, m := range h.ses.Messages() {
		if m.To[0] == "new@example.com" {
			queue.Send(sesinbox.ComplaintEvent(m, time.Now()))
		}
	}
	eventually(t, "a complaint suppresses too", 10*time.Second, func() bool {
		return h.number(`SELECT count(*) FROM contacts WHERE undeliverable = 'complaint'`) == 1
	})
	eventually(t, "what was sent is published, once each", 10*time.Second, func() bool { return h.published("sent") == 5 })
}

// Who has their mail forwarded bounces, or complains, as another mailbox: theirs must not be written to all the same.
func TestFeedback_OfAForwardedMailboxSuppressesTheOneItWasSentTo(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.unlimited()
	queue := h.withFeedback(time.Minute)
	h.start()
	doctor, patient := h.person("doctor", "Helena Prado", "Helena@example.com"), h.person("patient", "Maria Souza", "maria@example.com")
	moved := h.person("patient", "Maria Souza", "old@example.com")
	h.book(appointment(doctor, patient))
	h.book(appointment(doctor, moved))
	h.wantBecame(doctor, "doctor_booked", map[string]int{"sent": 2})
	h.wantBecame(patient, "patient_booked", map[string]int{"sent": 1})
	h.wantBecame(moved, "patient_booked", map[string]int{"sent": 1})
	h.publish(&events.UserUpdated{
		UserID: moved, Role: "patient", Status: "active", Name: "Maria Souza", Email: "new@example.com", Locale: "pt-BR", OccurredAt: time.Now(),
	}, 2)
	eventually(t, "the new address is known", 10*time.Second, func() bool { return h.number(`SELECT count(*) FROM contacts WHERE email = 'new@example.com'`) == 1 })
	for _, m := range h.ses.Messages() {
		event := sesinbox.BounceEvent(m, time.Now(), true)
		if m.To[0] == "maria@example.com" {
			event = sesinbox.ComplaintEvent(m, time.Now())
		}
		forwarded := strings.ReplaceAll(event, `\"emailAddress\":\"`+m.To[0], `\"emailAddress\":\"elsewhere@example.net`)
		if forwarded == event {
			t.Fatalf("no mailbox in %s", event)
		}
		queue.Send(strings.ReplaceAll(forwarded, "Helena@example.com", "helena@EXAMPLE.com"))
	}
	eventually(t, "all came back", 10*time.Second, func() bool { return h.published("bounced") == 4 })
	for id, want := range map[uuid.UUID]string{doctor: "bounce_permanent_general", patient: "complaint", moved: ""} {
		eventually(t, "the address is judged", 10*time.Second, func() bool {
			return h.texts(`SELECT undeliverable FROM contacts WHERE user_id = $1`, id)[0] == want
		})
	}
	h.book(appointment(doctor, moved))
	h.mailTo("new@example.com", 1)
	h.wantBecame(doctor, "doctor_booked", map[string]int{"bounced": 2, "skipped address_undeliverable": 1})
}

func TestCircuit_NothingIsTriedWhileTheAccountCannotSend(t *testing.T) {
	for _, code := range []string{"SendingPausedException", "AccountSuspendedException"} {
		t.Run(code, func(t *testing.T) {
			h := newHouse(t)
			h.unlimited()
			c := h.withClock()
			var paused atomic.Bool
			paused.Store(true)
			h.ses.SetFault(func(*http.Request) sestest.Fault {
				if paused.Load() {
					// Long enough for a second probe to set out, if there were one.
					return sestest.Fault{Status: 400, Code: code, Delay: 100 * time.Millisecond}
				}
				return sestest.Fault{}
			})
			h.start()
			h.bookings(20, 1)
			// A pause counts from its answer, so the clock is moved only once every answer is recorded.
			answered := func() bool {
				return h.number(`SELECT coalesce(sum(attempts), 0) FROM deliveries WHERE status = 'pending' AND last_error = $1`, code) == h.ses.Calls()
			}
			eventually(t, "the first calls are refused", 20*time.Second, func() bool { return h.ses.Calls() >= 1 && h.pendingEvents() == 0 && answered() })
			calls := h.ses.Calls() // those that were under way together
			c.advance(10 * time.Minute)
			eventually(t, "another one probes", 20*time.Second, func() bool { return h.ses.Calls() > calls && answered() })
			paused.Store(false)
			c.advance(2 * time.Hour)
			eventually(t, "all are sent, and none was given up", 30*time.Second, func() bool { return h.sent() == 40 })
			if probes := h.ses.Calls() - calls - 40; probes != 1 {
				t.Errorf("%d calls probed while the account could not send, want 1", probes)
			}
		})
	}
}

func TestRate_IsSharedAmongReplicas(t *testing.T) {
	const rate = 60
	h := newHouse(t)
	h.ses.SetMaxSendRate(rate)
	h.bookings(90, 1)
	for range 3 {
		h.start()
	}
	eventually(t, "all are sent", time.Minute, func() bool { return h.sent() == 180 })
	if peak := peakPerSecond(h.ses.CallTimes()); peak > rate*1.05 {
		t.Errorf("%d calls in one second by three replicas, the account allows %d", peak, rate)
	}
	h.exactly(180)
}

func TestRate_IsReadAgainAndReplacedByTheConfiguredOneWhereDenied(t *testing.T) {
	h := newHouse(t)
	h.ses.SetMaxSendRate(40)
	c := h.withClock()
	h.start()
	limit := func(want string) func() bool {
		return func() bool { return strings.Contains(h.metrics(), "notifier_send_rate_limit "+want+"\n") }
	}
	eventually(t, "nine tenths of the account's rate", 10*time.Second, limit("36"))
	h.ses.SetMaxSendRate(20)
	c.advance(6 * time.Minute)
	eventually(t, "the new rate", 15*time.Second, limit("18"))

	denied := newHouse(t)
	denied.unlimited()
	denied.cfg.SendRate = 10
	denied.start()
	eventually(t, "the configured rate", 10*time.Second, func() bool {
		return strings.Contains(denied.metrics(), "notifier_send_rate_limit 9\n") &&
			strings.Contains(denied.logs.String(), "the account's sending rate can't be read")
	})
}

func TestAccountMail_CarriesItsLinkAndForgetsIt(t *testing.T) {
	h := newHouse(t)
	h.unlimited()
	h.start()
	user := uuid.New()
	post := func(kind accountmail.Kind, token string, changed bool) {
		t.Helper()
		m := accountmail.Message{ID: uuid.Must(uuid.NewV7()), Kind: kind, UserID: user, Name: "Maria Souza", Email: "maria@example.com",
			Locale: "en", Token: token, Changed: changed, ExpiresAt: time.Now().Add(time.Hour)}
		body, err := m.Encode()
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if _, err := h.conn.JS.Publish(t.Context(), m.Subject(), body); err != nil {
				t.Fatal(err)
			}
		}
	}
	for i, tt := range []struct {
		kind    accountmail.Kind
		token   string
		subject string
		link    string
		changed bool
	}{
		{accountmail.VerifyEmail, "t-o-k-e-n-1", "Health&Med - Confirm your e-mail", "https://app.healthmed.example/verify-email?token=t-o-k-e-n-1", false},
		{accountmail.ResetPassword, "t-o-k-e-n-2", "Health&Med - Password reset", "https://app.healthmed.example/reset-password?token=t-o-k-e-n-2", false},
		{accountmail.PasswordChanged, "", "Health&Med - Your password was changed", "", false},
		{accountmail.VerifyEmail, "t-o-k-e-n-3", "Health&Med - Confirm your new e-mail", "https://app.healthmed.example/verify-email?token=t-o-k-e-n-3", true},
	} {
		post(tt.kind, tt.token, tt.changed)
		e := h.mailTo("maria@example.com", i+1)
		if e.Subject != tt.subject || !strings.Contains(e.Text, tt.link) || !strings.Contains(e.HTML, tt.link) {
			t.Errorf("%q:\n%s", e.Subject, e.Text)
		}
	}
	eventually(t, "the secrets are gone", 10*time.Second, func() bool {
		return h.number(`SELECT count(*) FROM deliveries WHERE secret IS NULL AND status = 'sent'`) == 4
	})
	if n := h.count("maria@example.com"); n != 4 {
		t.Errorf("%d e-mails, want 4", n)
	}
	if logs := h.logs.String(); strings.Contains(logs, "t-o-k-e-n") {
		t.Error("a token is in the logs")
	}
}

func TestRetry_ByAnOperator(t *testing.T) {
	h := newHouse(t)
	h.unlimited()
	var broken atomic.Bool
	broken.Store(true)
	h.ses.SetFault(func(*http.Request) sestest.Fault {
		if broken.Load() {
			return sestest.Fault{Status: 400, Code: "MessageRejected"}
		}
		return sestest.Fault{}
	})
	h.start()
	doctor, patient := h.pair()
	h.book(appointment(doctor, patient))
	h.wantBecame(doctor, "doctor_booked", map[string]int{"failed MessageRejected": 1})
	broken.Store(false)
	id := h.texts(`SELECT id::text FROM deliveries WHERE recipient_id = $1 AND status = 'failed'`, doctor)[0]
	for role, want := range map[string]int{"": 401, h.admin(): 200} {
		if status, body := h.call("POST", "/v1/deliveries/"+id+"/retry", role, ""); status != want {
			t.Errorf("%d %s, want %d", status, body, want)
		}
	}
	h.mailTo("helena@example.com", 1)
	eventually(t, "it can't be retried once sent", 10*time.Second, func() bool {
		status, _ := h.call("POST", "/v1/deliveries/"+id+"/retry", h.admin(), "")
		return status == 409
	})
	eventually(t, "events tell both", 10*time.Second, func() bool { return h.published("failed") >= 1 && h.published("sent") == 1 })
}

// A producer that says more than the contract allows does not get it into an e-mail.
func TestPrivacy_NoClinicalTextInAnyMessage(t *testing.T) {
	h := newHouse(t)
	h.unlimited()
	h.start()
	doctor, patient := h.pair()
	env, err := events.New(&events.AppointmentBooked{Appointment: appointment(doctor, patient)}, 1)
	if err != nil {
		t.Fatal(err)
	}
	body, err := env.Encode()
	if err != nil {
		t.Fatal(err)
	}
	body = []byte(strings.Replace(string(body), `"data":{`, `"data":{"reason":"dor no peito","specialty":"oncology",`, 1))
	if !strings.Contains(string(body), "dor no peito") {
		t.Fatal("the event doesn't carry it")
	}
	if _, err := h.conn.JS.Publish(t.Context(), env.Data.Subject(), body); err != nil {
		t.Fatal(err)
	}
	for _, address := range []string{"helena@example.com", "maria@example.com"} {
		e := h.mailTo(address, 1)
		for _, part := range []string{e.Subject, e.Text, e.HTML, e.Calendar} {
			for _, word := range []string{"dor no peito", "oncology", "cardiology", "cardiologia"} {
				if strings.Contains(strings.ToLower(part), word) {
					t.Errorf("%q is in the message to %s", word, address)
				}
			}
		}
	}
}

package notifier_test

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/healthmed/healthmed/pkg/auth"
	"github.com/healthmed/healthmed/pkg/events"
	"github.com/healthmed/healthmed/services/notifier/internal/notice"
)

// clock runs like the real one, from wherever a test puts it.
type clock struct{ ahead atomic.Int64 }

func (c *clock) Now() time.Time { return time.Now().Add(time.Duration(c.ahead.Load())) }

func (c *clock) set(t time.Time) { c.ahead.Store(int64(time.Until(t))) }

func (c *clock) advance(d time.Duration) { c.ahead.Add(int64(d)) }

// withClock gives the service a clock that the test moves.
func (h *house) withClock() *clock {
	c := &clock{}
	h.cfg.Now = c.Now
	return c
}

// became waits until no delivery to a person is due or under way, and says what became of those of a template.
func (h *house) became(recipient uuid.UUID, template string) map[string]int {
	h.t.Helper()
	now := time.Now
	if h.cfg.Now != nil {
		now = h.cfg.Now
	}
	eventually(h.t, "nothing is due", 15*time.Second, func() bool {
		return h.pending("USERS", "notifier-users") == 0 && h.pendingEvents() == 0 && h.number(`SELECT count(*) FROM deliveries WHERE recipient_id = $1 AND
			(status = 'pending' AND (due_at <= $2 OR last_error IS NOT NULL) OR status = 'sending'
			OR status = 'waiting' AND due_at <= $2::timestamptz + interval '5 seconds')`, recipient, now()) == 0
	})
	out := map[string]int{}
	for _, s := range h.texts(`SELECT CASE WHEN status IN ('skipped', 'failed') THEN status || ' ' || last_error ELSE status END
		FROM deliveries WHERE recipient_id = $1 AND template = $2`, recipient, template) {
		out[s]++
	}
	return out
}

func (h *house) wantBecame(recipient uuid.UUID, template string, want map[string]int) {
	h.t.Helper()
	if got := h.became(recipient, template); fmt.Sprint(got) != fmt.Sprint(want) {
		h.t.Errorf("%s became %v, want %v", template, got, want)
	}
}

// pair registers a doctor and a patient.
func (h *house) pair() (doctor, patient uuid.UUID) {
	h.t.Helper()
	return h.person("doctor", "Helena Prado", "helena@example.com"), h.person("patient", "Maria Souza", "maria@example.com")
}

func (h *house) book(a events.Appointment) {
	h.t.Helper()
	h.publish(&events.AppointmentBooked{Appointment: a}, a.Version)
}

// move publishes that an appointment has another time; it returns the new state.
func (h *house) move(a events.Appointment, by time.Duration) events.Appointment {
	h.t.Helper()
	previous := events.Interval{StartsAt: a.StartsAt, EndsAt: a.EndsAt}
	a.StartsAt, a.EndsAt, a.Version = a.StartsAt.Add(by), a.EndsAt.Add(by), a.Version+1
	h.publish(&events.AppointmentRescheduled{Appointment: a, Previous: previous}, a.Version)
	return a
}

func (h *house) cancel(a events.Appointment) {
	h.t.Helper()
	a.Status, a.Version = "cancelled", a.Version+1
	h.publish(&events.AppointmentCancelled{Appointment: a, CancelledBy: a.Actor}, a.Version)
}

func TestByTheClock_ReminderAndAgendaComeOnceAcrossRestarts(t *testing.T) {
	h := newHouse(t)
	h.unlimited()
	c := h.withClock()
	stop := h.start()
	doctor, patient := h.pair()
	a, b := appointment(doctor, patient), appointment(doctor, patient)
	b.StartsAt, b.EndsAt = b.StartsAt.Add(time.Hour), b.EndsAt.Add(time.Hour)
	h.book(a)
	h.book(b)
	h.wantBecame(patient, "patient_booked", map[string]int{"sent": 2})
	h.wantBecame(patient, "patient_reminder", map[string]int{"pending": 2})
	stop()

	c.set(a.StartsAt.Add(-24*time.Hour - time.Minute))
	stop = h.start()
	h.wantBecame(patient, "patient_reminder", map[string]int{"pending": 2})
	stop()
	c.set(a.StartsAt.Add(-24*time.Hour + time.Minute))
	stops := []func(){h.start(), h.start()}
	h.wantBecame(patient, "patient_reminder", map[string]int{"sent": 1, "pending": 1})
	c.set(b.StartsAt.Add(-24*time.Hour + time.Minute))
	h.wantBecame(patient, "patient_reminder", map[string]int{"sent": 2})
	h.wantBecame(doctor, "doctor_agenda", map[string]int{"pending": 1})
	c.set(a.StartsAt.Add(-16 * time.Hour)) // 18:00 of the eve
	h.wantBecame(doctor, "doctor_agenda", map[string]int{"sent": 1})
	for _, stop := range stops {
		stop()
	}
	h.start()
	c.advance(time.Hour)
	h.wantBecame(doctor, "doctor_agenda", map[string]int{"sent": 1})
	agenda := h.mailTo("helena@example.com", 3)
	if want := "10:00-10:30  Maria Souza\n11:00-11:30  Maria Souza"; agenda.Subject != "Health&Med - Sua agenda de amanhã" || !contains(agenda.Text, want) {
		t.Errorf("%s:\n%s", agenda.Subject, agenda.Text)
	}
	h.exactly(7)
}

func TestByTheClock_FollowsMovesAndCancellations(t *testing.T) {
	h := newHouse(t)
	h.unlimited()
	c := h.withClock()
	h.start()
	doctor, patient := h.pair()
	moved, cancelled := appointment(doctor, patient), appointment(doctor, patient)
	h.book(moved)
	h.book(cancelled)
	h.wantBecame(patient, "patient_booked", map[string]int{"sent": 2})
	later := h.move(moved, 5*24*time.Hour)
	h.cancel(cancelled)
	h.wantBecame(patient, "patient_rescheduled", map[string]int{"sent": 1})
	h.wantBecame(patient, "patient_cancelled", map[string]int{"sent": 1})

	c.set(moved.StartsAt.Add(-12 * time.Hour)) // of the old day: nothing is left on it
	h.wantBecame(patient, "patient_reminder", map[string]int{"skipped superseded": 2, "pending": 1})
	h.wantBecame(doctor, "doctor_agenda", map[string]int{"skipped nothing_to_tell": 1, "pending": 1})
	c.set(later.StartsAt.Add(-12 * time.Hour))
	h.wantBecame(patient, "patient_reminder", map[string]int{"skipped superseded": 2, "sent": 1})
	h.wantBecame(doctor, "doctor_agenda", map[string]int{"skipped nothing_to_tell": 1, "sent": 1})
}

func TestByTheClock_LateOnlyIfItStillMakesSense(t *testing.T) {
	h := newHouse(t)
	h.unlimited()
	c := h.withClock()
	stop := h.start()
	doctor, patient := h.pair()
	early, late := appointment(doctor, patient), appointment(doctor, patient)
	late.StartsAt, late.EndsAt = late.StartsAt.Add(3*time.Hour), late.EndsAt.Add(3*time.Hour)
	h.book(early)
	h.book(late)
	h.wantBecame(patient, "patient_booked", map[string]int{"sent": 2})
	h.wantBecame(doctor, "doctor_booked", map[string]int{"sent": 2})
	stop()
	c.set(early.StartsAt.Add(-30 * time.Minute)) // everything was down since before the reminders were due
	h.start()
	h.wantBecame(patient, "patient_reminder", map[string]int{"skipped expired": 1, "sent": 1})
	h.wantBecame(doctor, "doctor_agenda", map[string]int{"sent": 1}) // of today, before it began
	if e := h.mailTo("helena@example.com", 3); e.Subject != "Health&Med - Sua agenda de hoje" {
		t.Errorf("subject %q", e.Subject)
	}
}

// An agenda that comes when the day has begun tells what is still ahead.
func TestByTheClock_AnAgendaThatIsLateTellsTheRest(t *testing.T) {
	h := newHouse(t)
	h.unlimited()
	c := h.withClock()
	stop := h.start()
	doctor, patient := h.pair()
	early, late := appointment(doctor, patient), appointment(doctor, patient)
	late.StartsAt, late.EndsAt = late.StartsAt.Add(3*time.Hour), late.EndsAt.Add(3*time.Hour)
	h.book(early)
	h.book(late)
	h.wantBecame(doctor, "doctor_booked", map[string]int{"sent": 2})
	stop()
	c.set(early.StartsAt.Add(5 * time.Minute))
	h.start()
	h.wantBecame(doctor, "doctor_agenda", map[string]int{"sent": 1})
	clock := func(at time.Time) string { return at.In(notice.Zone(early.TimeZone)).Format("15:04") }
	if e := h.mailTo("helena@example.com", 3); !strings.Contains(e.Text, clock(late.StartsAt)) || strings.Contains(e.Text, clock(early.StartsAt)) {
		t.Errorf("want %s alone:\n%s", clock(late.StartsAt), e.Text)
	}
}

func TestByTheClock_NothingForWhoBookedLaterThanThat(t *testing.T) {
	h := newHouse(t)
	h.unlimited()
	c := h.withClock()
	doctor, patient := h.pair()
	a := appointment(doctor, patient)
	a.OccurredAt = a.StartsAt.Add(-15 * time.Hour) // 19:00 of the eve
	c.set(a.OccurredAt)
	h.start()
	h.book(a)
	h.wantBecame(patient, "patient_booked", map[string]int{"sent": 1})
	h.wantBecame(patient, "patient_reminder", map[string]int{})
	h.wantBecame(doctor, "doctor_agenda", map[string]int{})
}

func TestByTheClock_OptingOut(t *testing.T) {
	h := newHouse(t)
	h.unlimited()
	stop := h.start()
	doctor, patient := h.pair()
	a := appointment(doctor, patient)
	h.book(a)
	h.wantBecame(patient, "patient_booked", map[string]int{"sent": 1})
	for role, id := range map[auth.Role]uuid.UUID{auth.Doctor: doctor, auth.Patient: patient} {
		token := h.issuer.Token(auth.Principal{ID: id, Role: role})
		if status, body := h.call("PUT", "/v1/notification-preferences", token, `{"daily_agenda":false,"reminders":false}`); status != 200 {
			t.Fatalf("%d %s", status, body)
		}
		if status, body := h.call("GET", "/v1/notification-preferences", token, ""); status != 200 || !contains(body, `"reminders":false`) {
			t.Errorf("%d %s", status, body)
		}
	}
	stop()
	h.withClock().set(a.StartsAt.Add(-12 * time.Hour))
	h.start()
	h.wantBecame(patient, "patient_reminder", map[string]int{"skipped opted_out": 1})
	h.wantBecame(doctor, "doctor_agenda", map[string]int{"skipped opted_out": 1})
	h.cancel(a) // what concerns an appointment can't be turned off
	h.wantBecame(patient, "patient_cancelled", map[string]int{"sent": 1})
}

package notifier_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/healthmed/healthmed/pkg/bus"
	"github.com/healthmed/healthmed/pkg/events"
	"github.com/healthmed/healthmed/services/notifier"
)

func (h *house) rebuild() string {
	h.t.Helper()
	var out strings.Builder
	if err := notifier.Projection(h.t.Context(), h.cfg, []string{"rebuild"}, &out); err != nil {
		h.t.Fatal(err)
	}
	return out.String()
}

// projections are all that is known from the streams; updated_at tells when a row was written, not what it says.
func (h *house) projections() []string {
	return append(
		h.texts(`SELECT concat_ws('|', user_id, role, name, email, locale, version, erased, undeliverable, agenda, reminders) FROM contacts ORDER BY 1`),
		h.texts(`SELECT concat_ws('|', id, doctor_id, patient_id, starts_at, ends_at, time_zone, status, version, actor_role) FROM appointments ORDER BY 1`)...)
}

func TestProjection_RebuiltFromNothingIsTheSameAndSendsNothing(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.unlimited()
	h.start()
	doctor, patient := h.person("doctor", "Helena Prado", "helena@clinic.example"), h.person("patient", "Carla Dias", "carla@mail.example")
	erased := h.person("patient", "Rui Costa", "rui@mail.example")
	h.publish(&events.UserErased{UserID: erased, Role: "patient", OccurredAt: time.Now()}, 2)
	const bookings = 12
	for i := range bookings {
		a := appointment(doctor, patient)
		a.StartsAt, a.EndsAt = a.StartsAt.Add(time.Duration(i)*time.Hour), a.EndsAt.Add(time.Duration(i)*time.Hour)
		h.publish(&events.AppointmentBooked{Appointment: a}, 1)
		if i%3 == 0 {
			b := a
			b.Version, b.Status = 2, "cancelled"
			h.publish(&events.AppointmentCancelled{Appointment: b, CancelledBy: b.Actor}, 2)
		}
	}
	idle := func() bool {
		return h.number(`SELECT count(*) FROM appointments`) == bookings && h.number(`SELECT count(*) FROM appointments WHERE version = 2`) == bookings/3 &&
			h.number(`SELECT count(*) FROM deliveries WHERE status IN ('pending', 'waiting', 'sending') AND due_at < now() + interval '1 hour'`) == 0
	}
	eventually(t, "all is sent", 30*time.Second, idle)
	want, sent, deliveries := h.projections(), len(h.ses.Messages()), h.number(`SELECT count(*) FROM deliveries`)
	if sent == 0 {
		t.Fatal("nothing was sent in the first place")
	}

	for damage, sql := range map[string]string{
		"none":         `SELECT 1`,
		"all lost":     `DELETE FROM contacts; DELETE FROM appointments`,
		"wrong values": `UPDATE contacts SET email = 'x@wrong.example', version = 0 WHERE NOT erased; UPDATE appointments SET status = 'booked', version = 1`,
	} {
		if _, err := h.pool.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
		out := h.rebuild()
		if diff := cmp.Diff(want, h.projections()); diff != "" {
			t.Errorf("%s: %s%s", damage, out, diff)
		}
	}
	eventually(t, "idle again", 30*time.Second, idle)
	if now := h.number(`SELECT count(*) FROM deliveries`); now != deliveries || len(h.ses.Messages()) != sent {
		t.Errorf("the rebuild sent %d e-mails and planned %d", len(h.ses.Messages())-sent, now-deliveries)
	}
}

func TestProjection_KeepsWhatPeopleChose(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.start()
	id := h.person("patient", "Carla Dias", "carla@mail.example")
	eventually(t, "known", 20*time.Second, func() bool { return h.number(`SELECT count(*) FROM contacts`) == 1 })
	if _, err := h.pool.Exec(t.Context(), `UPDATE contacts SET agenda = false, reminders = false, undeliverable = 'bounced', undeliverable_at = now(), name = 'wrong'`); err != nil {
		t.Fatal(err)
	}
	h.rebuild()
	if n := h.number(`SELECT count(*) FROM contacts WHERE user_id = $1 AND NOT agenda AND NOT reminders AND undeliverable = 'bounced' AND name = 'Carla Dias'`, id); n != 1 {
		t.Error("choices were lost")
	}
}

// A stream that is lost and filled again from the outbox brings every event a second time: nobody is told twice.
func TestStreamLost_ReplayTellsNobodyTwice(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.unlimited()
	h.start()
	doctor, patient := h.person("doctor", "Helena Prado", "helena@clinic.example"), h.person("patient", "Carla Dias", "carla@mail.example")
	var published []events.Envelope
	for range 5 {
		published = append(published, h.publish(&events.AppointmentBooked{Appointment: appointment(doctor, patient)}, 1))
	}
	eventually(t, "all are told", 30*time.Second, func() bool { return h.sent() == 10 })
	if err := h.conn.JS.DeleteStream(t.Context(), bus.Scheduling); err != nil {
		t.Fatal(err)
	}
	if err := h.conn.EnsureStreams(t.Context(), bus.Scheduling); err != nil {
		t.Fatal(err)
	}
	for _, env := range published {
		h.publishEnvelope(env)
	}
	h.publish(&events.AppointmentBooked{Appointment: appointment(doctor, patient)}, 1)
	eventually(t, "the new one is told", 30*time.Second, func() bool { return h.sent() == 12 && h.pendingEvents() == 0 })
	h.exactly(12)
}

func TestDeadLetters_AreListedAndHandedBack(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.start()
	if _, err := h.conn.JS.Publish(t.Context(), "healthmed.scheduling.appointment.booked.v1.a.b", []byte("rubbish")); err != nil {
		t.Fatal(err)
	}
	eventually(t, "dead-lettered", 20*time.Second, func() bool { return h.number(`SELECT count(*) FROM dead_letters`) == 1 })
	run := func(args ...string) (string, error) {
		var out strings.Builder
		err := notifier.DeadLetters(t.Context(), h.cfg, args, &out)
		return out.String(), err
	}
	out, err := run("list")
	if err != nil || !strings.Contains(out, "healthmed.scheduling.appointment.booked.v1.a.b") || !strings.Contains(out, "undecodable") {
		t.Errorf("%v\n%s", err, out)
	}
	id := h.texts(`SELECT id::text FROM dead_letters`)[0]
	if out, err := run("redrive", "--all"); err != nil || !strings.HasPrefix(out, id) {
		t.Errorf("%v\n%s", err, out)
	}
	eventually(t, "it failed again", 20*time.Second, func() bool { return h.number(`SELECT count(*) FROM dead_letters`) == 2 })
	if out, err := run("redrive", id); err == nil || !strings.Contains(err.Error(), "has not been again") || out != "" {
		t.Errorf("a second time: %v\n%s", err, out)
	}
	// One that is refused keeps nobody else from being handed back.
	if out, err := run("redrive", id, h.texts(`SELECT id::text FROM dead_letters WHERE redriven_at IS NULL`)[0]); err == nil || !strings.Contains(err.Error(), id) || strings.Count(out, "handed back") != 1 {
		t.Errorf("the new one: %v\n%s", err, out)
	}
	for _, wrong := range [][]string{nil, {"redrive"}, {"redrive", "x"}, {"drop"}, {"redrive", uuid.NewString()}} {
		if out, err := run(wrong...); err == nil {
			t.Errorf("%v: %s", wrong, out)
		}
	}
}

// Whoever asks again is told that nothing happened, and when it was that something did.
func TestDeadLetters_HandedBackTwiceSaysSo(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.start()
	if _, err := h.conn.JS.Publish(t.Context(), "healthmed.scheduling.appointment.booked.v1.a.b", []byte("rubbish")); err != nil {
		t.Fatal(err)
	}
	eventually(t, "dead-lettered", 20*time.Second, func() bool { return h.number(`SELECT count(*) FROM dead_letters`) == 1 })
	id := h.texts(`SELECT id::text FROM dead_letters`)[0]
	redrive := func(want int) (answer struct {
		Type, Detail string
		RedrivenAt   time.Time `json:"redriven_at"`
	}) {
		t.Helper()
		status, body := h.call("POST", "/v1/dead-letters/"+id+"/redrive", h.admin(), "")
		if err := json.Unmarshal([]byte(body), &answer); err != nil || status != want {
			t.Fatalf("%d %s, want %d", status, body, want)
		}
		return answer
	}
	at := redrive(202).RedrivenAt
	eventually(t, "it failed again", 20*time.Second, func() bool { return h.number(`SELECT count(*) FROM dead_letters`) == 2 })
	for range 2 {
		answer := redrive(409)
		if answer.Type != "/problems/already-redriven" || !strings.Contains(answer.Detail, at.Format(time.RFC3339)) ||
			!strings.Contains(answer.Detail, at.Add(time.Hour).Format(time.RFC3339)) {
			t.Errorf("%+v, handed back at %s", answer, at)
		}
	}
	if n := h.number(`SELECT count(*) FROM dead_letters WHERE id = $1 AND redriven_at = $2`, id, at); n != 1 {
		t.Errorf("redriven_at is %s, was %s", h.texts(`SELECT redriven_at::text FROM dead_letters WHERE id = $1`, id), at)
	}
	// The answer to the first one may be lost before it is noted: who asks again has what they asked for.
	if _, err := h.pool.Exec(t.Context(), `UPDATE dead_letters SET redriven_at = NULL WHERE id = $1`, id); err != nil {
		t.Fatal(err)
	}
	redrive(202)
	redrive(409)
	if status, body := h.call("GET", "/problems/already-redriven", "", ""); status != 200 {
		t.Errorf("the problem's page: %d %s", status, body)
	}
}

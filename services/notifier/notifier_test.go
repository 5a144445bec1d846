package notifier_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/healthmed/healthmed/pkg/events"
)

func TestBooking_TellsDoctorAndPatientOnce(t *testing.T) {
	h := newHouse(t)
	h.start()
	doctor := h.person("doctor", "Helena Prado", "helena@example.com")
	patient := h.person("patient", "Maria Souza", "maria@example.com")
	a := appointment(doctor, patient)
	booked, err := events.New(&events.AppointmentBooked{Appointment: a}, 1)
	if err != nil {
		t.Fatal(err)
	}
	h.publishEnvelope(booked)
	h.publishEnvelope(booked) // no Nats-Msg-Id: the stream keeps it twice

	e := h.mailTo("helena@example.com", 1)
	if e.Subject != "Health&Med - Nova consulta agendada" {
		t.Errorf("subject %q", e.Subject)
	}
	date := a.StartsAt.Format("02/01/2006")
	if !strings.HasPrefix(e.Text, "Olá, Dr. Helena Prado!") ||
		!strings.Contains(e.Text, "Você tem uma nova consulta marcada! Paciente: Maria Souza. Data e horário: "+date+" às 10:00.") {
		t.Errorf("text is not as agreed:\n%s", e.Text)
	}
	if e.Method != "REQUEST" || !strings.Contains(e.Calendar, "UID:"+a.AppointmentID.String()+"@") {
		t.Errorf("no invitation (method %q):\n%s", e.Method, e.Calendar)
	}
	if e := h.mailTo("maria@example.com", 1); e.Subject != "Health&Med - Sua consulta está marcada" {
		t.Errorf("patient's subject %q", e.Subject)
	}

	a.Version, a.Status, a.OccurredAt = 2, "cancelled", time.Now()
	h.publish(&events.AppointmentCancelled{Appointment: a, CancelledBy: a.Actor}, 2)
	if e := h.mailTo("helena@example.com", 2); e.Subject != "Health&Med - Consulta cancelada" || e.Method != "CANCEL" ||
		!strings.Contains(e.Calendar, "SEQUENCE:2") || !strings.Contains(e.Calendar, "STATUS:CANCELLED") {
		t.Errorf("cancellation %q, method %q:\n%s", e.Subject, e.Method, e.Calendar)
	}
	if e := h.mailTo("maria@example.com", 2); e.Method != "CANCEL" {
		t.Errorf("patient's cancellation has method %q", e.Method)
	}
	if n := h.count("helena@example.com"); n != 2 {
		t.Errorf("the doctor got %d e-mails, want 2", n)
	}

	eventually(t, "four deliveries are shown as sent", 5*time.Second, func() bool {
		status, body := h.call("GET", "/v1/deliveries?appointment_id="+a.AppointmentID.String()+"&status=sent", h.admin(), "")
		var page struct {
			Items []struct{ Template, Status string }
		}
		return status == 200 && json.Unmarshal([]byte(body), &page) == nil && len(page.Items) == 4
	})
}

// A replica of scheduling whose clock is ahead dates its events in our future; nobody waits for their e-mail until then.
func TestBooking_IsToldAtOnceThoughThePublishersClockIsAhead(t *testing.T) {
	h := newHouse(t)
	h.start()
	doctor := h.person("doctor", "Helena Prado", "helena@example.com")
	patient := h.person("patient", "Maria Souza", "maria@example.com")
	a := appointment(doctor, patient)
	a.OccurredAt = time.Now().Add(10 * time.Minute)
	h.publish(&events.AppointmentBooked{Appointment: a}, 1)
	h.mailTo("helena@example.com", 1)
	h.mailTo("maria@example.com", 1)
	if n := h.number(`SELECT count(*) FROM deliveries WHERE template = 'patient_reminder' AND planned_at > now()`); n != 1 {
		t.Errorf("%d reminders are planned, want 1, for the eve", n)
	}
}

func TestBooking_WaitsForAPersonNotYetKnown(t *testing.T) {
	h := newHouse(t)
	h.start()
	patient := h.person("patient", "Maria Souza", "maria@example.com")
	doctor := appointment(patient, patient).AppointmentID // an id nobody has registered yet
	h.publish(&events.AppointmentBooked{Appointment: appointment(doctor, patient)}, 1)
	eventually(t, "both deliveries wait", 10*time.Second, func() bool {
		_, body := h.call("GET", "/v1/deliveries?status=waiting", h.admin(), "")
		return strings.Count(body, `"contact_unknown"`) == 2
	})
	h.publish(&events.UserRegistered{
		UserID: doctor, Role: "doctor", Status: "active", Name: "Dra. Ana Lima", Email: "ana@example.com", Locale: "pt-BR", OccurredAt: time.Now(),
		Doctor: &events.DoctorProfile{CRM: events.CRM{Number: "1", State: "SP"}, Specialties: []string{"cardiology"}},
	}, 1)
	if e := h.mailTo("ana@example.com", 1); !strings.HasPrefix(e.Text, "Olá, Dra. Ana Lima!") {
		t.Errorf("text:\n%s", e.Text)
	}
	h.mailTo("maria@example.com", 1)
}

func TestReplicaStartsWhileTheIssuerIsAway(t *testing.T) {
	h := newHouse(t)
	deliveries := func() {
		t.Helper()
		if status, body := h.call("GET", "/v1/deliveries", h.admin(), ""); status != 200 {
			t.Fatalf("deliveries: %d: %s", status, body)
		}
	}
	h.start()
	deliveries()
	eventually(t, "the keys are kept", 10*time.Second, func() bool { return h.number(`SELECT count(*) FROM issuer_keys`) == 1 })
	h.issuer.SetDown(true)
	h.start()
	deliveries()
}

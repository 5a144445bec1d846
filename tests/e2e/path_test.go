// Package e2e follows the main job through the running system, from outside: HTTP, e-mail and events.
package e2e

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/healthmed/healthmed/pkg/events"
	"github.com/healthmed/healthmed/tests/system"
)

const password = "Cons#ulta2026"

type appointment struct {
	ID        string    `json:"id"`
	DoctorID  string    `json:"doctor_id"`
	PatientID string    `json:"patient_id"`
	StartsAt  time.Time `json:"starts_at"`
	EndsAt    time.Time `json:"ends_at"`
	TimeZone  string    `json:"time_zone"`
	Status    string    `json:"status"`
	Version   int64     `json:"version"`
}

type mail struct {
	ID      string   `json:"id"`
	To      []string `json:"to"`
	Subject string   `json:"subject"`
}

// TestPath is the whole path: register, sign in, publish hours, list slots, book, be refused, replay, read the
// e-mail and the event, cancel, read the cancellation, stop, start again and find everything.
func TestPath(t *testing.T) {
	dir := system.DataDir(t)
	sys := system.Start(t, dir)
	if sys.Ready > 20*time.Second {
		t.Errorf("first start took %s, want under 20 s", sys.Ready)
	}
	anyone := system.Client{Origin: sys.Origin}

	cast := newCast(t, sys.Origin)
	doctorID, patientID, doctor, patient, other := cast.doctorID, cast.patientID, cast.doctor, cast.patient, cast.other

	doctor.Do(t, http.MethodPut, "/v1/doctors/"+doctorID+"/availability", everyDay()).Want(t, http.StatusOK)
	slot := firstSlot(t, anyone, doctorID)

	booking := map[string]any{"doctor_id": doctorID, "starts_at": slot, "reason": "Dor no peito ao correr"}
	began := time.Now()
	answer := patient.With("Idempotency-Key", "e2e-1").Do(t, http.MethodPost, "/v1/appointments", booking).Want(t, http.StatusCreated)
	var booked appointment
	answer.JSON(t, &booked)
	if booked.Status != "booked" || booked.Version != 1 || booked.DoctorID != doctorID || booked.PatientID != patientID || !booked.StartsAt.Equal(slot) {
		t.Errorf("booked %+v", booked)
	}
	if got, want := answer.Header.Get("Location"), "/v1/appointments/"+booked.ID; got != want {
		t.Errorf("Location %q, want %q", got, want)
	}

	t.Run("the slot is taken for everyone else", func(t *testing.T) {
		problem(t, other.With("Idempotency-Key", "e2e-2").Do(t, http.MethodPost, "/v1/appointments", booking), http.StatusConflict, "slot-taken")
	})
	t.Run("a replay gives the first answer again", func(t *testing.T) {
		again := patient.With("Idempotency-Key", "e2e-1").Do(t, http.MethodPost, "/v1/appointments", booking).Want(t, http.StatusCreated)
		if string(again.Body) != string(answer.Body) || again.Header.Get("Idempotent-Replayed") != "true" {
			t.Errorf("replay %s (Idempotent-Replayed %q), first %s", again.Body, again.Header.Get("Idempotent-Replayed"), answer.Body)
		}
	})
	t.Run("the doctor reads it in an e-mail", func(t *testing.T) {
		source := waitForMail(t, sys, "helena.prado@clinic.example", "Health&Med - Nova consulta agendada", began, time.Now)
		zone, err := time.LoadLocation("America/Sao_Paulo")
		if err != nil {
			t.Fatal(err)
		}
		local := slot.In(zone)
		text := textPart(t, source)
		if !strings.HasPrefix(text, "Olá, Dr. Helena Prado!") {
			t.Errorf("text begins %.60q", text)
		}
		// A text part is wrapped for its reader; the words are what counts.
		words := strings.Join(strings.Fields(text), " ")
		if want := fmt.Sprintf("Você tem uma nova consulta marcada! Paciente: Marcos Vinícius Alves. Data e horário: %s às %s.", local.Format("02/01/2006"), local.Format("15:04")); !strings.Contains(words, want) {
			t.Errorf("text lacks %q:\n%s", want, text)
		}
		invitation(t, source, "REQUEST", booked)
		if strings.Contains(string(source), "Dor no peito") {
			t.Error("the reason for the visit is in the e-mail")
		}
	})
	t.Run("another system reads the event", func(t *testing.T) {
		readEvents(t, sys.NATS, doctorID, []string{"*events.AppointmentBooked"}, booked)
	})

	patient.With("Idempotency-Key", "e2e-3").Do(t, http.MethodPost, "/v1/appointments/"+booked.ID+"/cancel", map[string]string{"reason": "Viagem"}).Want(t, http.StatusOK)
	t.Run("the doctor reads the cancellation", func(t *testing.T) {
		source := waitForMail(t, sys, "helena.prado@clinic.example", "cancel", began, time.Now)
		invitation(t, source, "CANCEL", booked)
	})
	t.Run("the event of the cancellation follows", func(t *testing.T) {
		readEvents(t, sys.NATS, doctorID, []string{"*events.AppointmentBooked", "*events.AppointmentCancelled"}, booked)
	})

	t.Run("it stops cleanly and finds everything again", func(t *testing.T) {
		if took := sys.Stop(t); took > 10*time.Second {
			t.Errorf("stopping took %s, want under 10 s", took)
		}
		later := system.Start(t, dir)
		if later.Ready > 5*time.Second {
			t.Errorf("a later start took %s, want under 5 s", later.Ready)
		}
		patient, _ := system.SignIn(t, later.Origin, "marcos.alves@mail.example", password)
		var found appointment
		patient.Do(t, http.MethodGet, "/v1/appointments/"+booked.ID, nil).Want(t, http.StatusOK).JSON(t, &found)
		if found.Status != "cancelled" || found.Version != 2 {
			t.Errorf("after the restart %+v, want cancelled, version 2", found)
		}
		if list := mails(t, later); len(list) == 0 {
			t.Error("the e-mails are gone after the restart")
		}
		t.Logf("later start: %s", later.Ready.Round(10*time.Millisecond))
	})
	noSecretsInLogs(t, dir, "390.533.447-05", "39053344705", "86288366757", password, "marcos.alves@mail.example", "Dor no peito")
	t.Logf("first start: %s", sys.Ready.Round(10*time.Millisecond))
}

// cast are the people of a test, registered and signed in.
type cast struct {
	doctorID, patientID    string
	doctor, patient, other system.Client // other is a patient too
}

func newCast(t *testing.T, origin string) (c cast) {
	t.Helper()
	anyone := system.Client{Origin: origin}
	c.doctorID = register(t, anyone, "doctors", map[string]any{
		"name": "Helena Prado", "cpf": "390.533.447-05", "email": "helena.prado@clinic.example", "password": password,
		"crm": map[string]string{"number": "778899", "state": "SP"}, "specialties": []string{"cardiology"},
	})
	c.patientID = register(t, anyone, "patients", map[string]any{
		"name": "Marcos Vinícius Alves", "cpf": "86288366757", "email": "marcos.alves@mail.example", "password": password,
	})
	register(t, anyone, "patients", map[string]any{
		"name": "Outra Paciente", "cpf": "714.287.938-60", "email": "outra@mail.example", "password": password,
	})
	c.doctor, _ = system.SignIn(t, origin, "helena.prado@clinic.example", password)
	c.patient, _ = system.SignIn(t, origin, "MARCOS.ALVES@mail.example", password)
	c.other, _ = system.SignIn(t, origin, "outra@mail.example", password)
	return c
}

func register(t *testing.T, c system.Client, role string, body map[string]any) string {
	t.Helper()
	var account struct{ ID, CPF string }
	answer := c.Do(t, http.MethodPost, "/v1/"+role, body).Want(t, http.StatusCreated)
	answer.JSON(t, &account)
	if !strings.HasPrefix(account.CPF, "***.") || !strings.HasSuffix(account.CPF, "-**") {
		t.Errorf("CPF in the answer is %q, want it masked", account.CPF)
	}
	return account.ID
}

func everyDay() map[string]any {
	var weekly []map[string]string
	for _, day := range []string{"monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"} {
		weekly = append(weekly, map[string]string{"weekday": day, "start": "09:00", "end": "12:00"})
	}
	return map[string]any{
		"time_zone": "America/Sao_Paulo", "slot_minutes": 30, "buffer_minutes": 0, "min_notice_minutes": 0,
		"horizon_days": 30, "booking_mode": "instant", "weekly": weekly,
	}
}

// firstSlot is the first free slot from the day after tomorrow.
func firstSlot(t *testing.T, c system.Client, doctorID string) time.Time {
	t.Helper()
	from := time.Now().AddDate(0, 0, 2)
	query := url.Values{"from": {from.Format(time.DateOnly)}, "to": {from.AddDate(0, 0, 3).Format(time.DateOnly)}}
	var list struct {
		TimeZone string `json:"time_zone"`
		Slots    []struct {
			StartsAt time.Time `json:"starts_at"`
			EndsAt   time.Time `json:"ends_at"`
		} `json:"slots"`
	}
	c.Do(t, http.MethodGet, "/v1/doctors/"+doctorID+"/slots?"+query.Encode(), nil).Want(t, http.StatusOK).JSON(t, &list)
	if len(list.Slots) != 4*6 || list.TimeZone != "America/Sao_Paulo" {
		t.Fatalf("%d slots in %s, want 24 in America/Sao_Paulo", len(list.Slots), list.TimeZone)
	}
	return list.Slots[0].StartsAt
}

// problem checks an RFC 9457 answer.
func problem(t *testing.T, a system.Answer, status int, name string) {
	t.Helper()
	var p struct {
		Type      string `json:"type"`
		Title     string `json:"title"`
		Status    int    `json:"status"`
		RequestID string `json:"request_id"`
	}
	a.Want(t, status).JSON(t, &p)
	if got := a.Header.Get("Content-Type"); !strings.HasPrefix(got, "application/problem+json") {
		t.Errorf("Content-Type %q", got)
	}
	if p.Type != "/problems/"+name || p.Status != status || p.Title == "" || p.RequestID == "" {
		t.Errorf("problem %+v, want /problems/%s", p, name)
	}
}

func mails(t *testing.T, sys *system.Standalone) []mail {
	t.Helper()
	var list struct{ Items []mail }
	system.Client{Origin: sys.Inbox}.Do(t, http.MethodGet, "/messages", nil).Want(t, http.StatusOK).JSON(t, &list)
	return list.Items
}

// waitForMail returns the source of the one e-mail to the address whose subject contains the words.
func waitForMail(t *testing.T, sys *system.Standalone, to, subject string, began time.Time, now func() time.Time) []byte {
	t.Helper()
	var id string
	system.Eventually(t, 15*time.Second, "e-mail "+subject, func() error {
		var found []string
		for _, m := range mails(t, sys) {
			if len(m.To) == 1 && m.To[0] == to && strings.Contains(m.Subject, subject) {
				found = append(found, m.ID)
			}
		}
		if len(found) != 1 {
			return fmt.Errorf("%d such e-mails, want 1", len(found))
		}
		id = found[0]
		return nil
	})
	t.Logf("e-mail %q was there %s after the request began", subject, now().Sub(began).Round(time.Millisecond))
	return system.Client{Origin: sys.Inbox}.Do(t, http.MethodGet, "/messages/"+id+"/raw", nil).Want(t, http.StatusOK).Body
}

// readEvents subscribes as another system would, with a durable consumer of its own, and checks the types of the
// appointment's events in order.
func readEvents(t *testing.T, address, doctorID string, types []string, want appointment) {
	t.Helper()
	nc, err := nats.Connect(address)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	consumer, err := js.CreateConsumer(t.Context(), "SCHEDULING", jetstream.ConsumerConfig{
		Durable: strings.NewReplacer("/", "_", " ", "_").Replace(t.Name()), AckPolicy: jetstream.AckExplicitPolicy,
		FilterSubject: "healthmed.scheduling.appointment.*.v1." + doctorID + ".>",
	})
	if err != nil {
		t.Fatal(err)
	}
	for i, name := range types {
		m, err := consumer.Next(jetstream.FetchMaxWait(10 * time.Second))
		if err != nil {
			t.Fatalf("event %d (%s): %v", i+1, name, err)
		}
		e, err := events.Decode(m.Data())
		if err != nil {
			t.Fatalf("event %d: %v\n%s", i+1, err, m.Data())
		}
		if got := fmt.Sprintf("%T", e.Data); got != name || e.Sequence != int64(i+1) || e.Data.AggregateID().String() != want.ID {
			t.Errorf("event %d is %s, sequence %d, about %s; want %s, %d, %s", i+1, got, e.Sequence, e.Data.AggregateID(), name, i+1, want.ID)
		}
		if got := m.Headers().Get("traceparent"); got == "" || got != e.TraceParent {
			t.Errorf("traceparent %q in the header, %q in the envelope", got, e.TraceParent)
		}
		if got := m.Headers().Get("Nats-Msg-Id"); got != e.ID.String() {
			t.Errorf("Nats-Msg-Id %q, want the event's id %s", got, e.ID)
		}
		for _, secret := range []string{"Marcos", "Helena", "@", "Dor no peito", "Viagem"} {
			if strings.Contains(string(m.Data()), secret) {
				t.Errorf("event %d tells %q: %s", i+1, secret, m.Data())
			}
		}
		if err := m.DoubleAck(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if m, err := consumer.Next(jetstream.FetchMaxWait(300 * time.Millisecond)); err == nil {
		t.Errorf("one event too many: %s", m.Data())
	} else if !errors.Is(err, nats.ErrTimeout) {
		t.Fatal(err)
	}
}

// noSecretsInLogs looks for what may never be logged, in every log file of the data folder.
func noSecretsInLogs(t *testing.T, dir string, secrets ...string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "logs", "*"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no log files in %s (%v)", dir, err)
	}
	for _, file := range files {
		body, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range secrets {
			if strings.Contains(string(body), s) {
				t.Errorf("%s tells %q", filepath.Base(file), s)
			}
		}
	}
}

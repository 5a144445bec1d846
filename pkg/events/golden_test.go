package events_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/healthmed/healthmed/pkg/events"
)

var update = flag.Bool("update", false, "write the examples under testdata/ anew")

func id(suffix string) uuid.UUID {
	return uuid.MustParse("0193b5a0-7a00-7000-8000-" + suffix)
}

func clock(day, hour, minute int) time.Time {
	return time.Date(2026, time.December, day, hour, minute, 0, 0, time.UTC)
}

// examples is one message per event: a small story about one doctor and one patient.
func examples() map[string]events.Envelope {
	doctor, patient := id("00000000d0c1"), id("0000000000a1")
	byPatient, byDoctor := events.Actor{Role: "patient", ID: patient}, events.Actor{Role: "doctor", ID: doctor}
	appointment := func(suffix, status string, version int64, actor events.Actor, at time.Time) events.Appointment {
		return events.Appointment{
			AppointmentID: id(suffix), DoctorID: doctor, PatientID: patient, StartsAt: clock(10, 12, 0), EndsAt: clock(10, 12, 30),
			TimeZone: "America/Sao_Paulo", Status: status, Version: version, Actor: actor, OccurredAt: at,
		}
	}
	registered := events.UserRegistered{
		UserID: doctor, Role: "doctor", Status: "pending_verification", Name: "Ana Beatriz Souza", Email: "ana.souza@example.com", Locale: "pt-BR",
		Doctor:     &events.DoctorProfile{CRM: events.CRM{Number: "123456", State: "SP"}, Specialties: []string{"cardiology"}},
		OccurredAt: time.Date(2026, 12, 1, 13, 0, 0, 123456000, time.UTC),
	}
	updated := events.UserUpdated(registered)
	updated.Status, updated.OccurredAt = "active", clock(1, 14, 5)
	moved := &events.AppointmentRescheduled{
		Appointment: appointment("0000000000b1", "booked", 2, byPatient, clock(3, 18, 0)),
		Previous:    events.Interval{StartsAt: clock(10, 12, 0), EndsAt: clock(10, 12, 30)},
	}
	moved.StartsAt, moved.EndsAt = clock(11, 13, 0), clock(11, 13, 30)
	cancelled := &events.AppointmentCancelled{
		Appointment: appointment("0000000000b3", "cancelled", 2, byDoctor, clock(4, 11, 0)), CancelledBy: byDoctor,
	}
	delivery := func(suffix, reason string, at time.Time) events.Delivery {
		return events.Delivery{DeliveryID: id(suffix), EventID: id("0000000000e5"), Template: "doctor_booked", RecipientID: doctor, Reason: reason, OccurredAt: at}
	}
	story := []struct {
		sequence int64
		ev       events.Event
	}{
		{1, &registered},
		{2, &updated},
		{3, &events.UserErased{UserID: patient, Role: "patient", OccurredAt: clock(20, 9, 0)}},
		{1, &events.AppointmentRequested{Appointment: appointment("0000000000b2", "requested", 1, byPatient, clock(2, 15, 0))}},
		{1, &events.AppointmentBooked{Appointment: appointment("0000000000b1", "booked", 1, byPatient, clock(2, 15, 10))}},
		{2, &events.AppointmentDeclined{Appointment: appointment("0000000000b2", "declined", 2, events.Actor{Role: "system"}, clock(3, 15, 0))}},
		{2, moved},
		{2, cancelled},
		{3, &events.AppointmentCompleted{Appointment: appointment("0000000000b1", "completed", 3, byDoctor, clock(11, 13, 40))}},
		{2, &events.AppointmentNoShow{Appointment: appointment("0000000000b4", "no_show", 2, byDoctor, clock(10, 12, 45))}},
		{7, &events.AvailabilityChanged{DoctorID: doctor, Version: 7, OccurredAt: clock(1, 16, 0)}},
		{1, &events.WaitlistOffered{
			EntryID: id("0000000000c1"), DoctorID: doctor, PatientID: patient, HoldID: id("0000000000c2"), StartsAt: clock(10, 12, 0),
			EndsAt: clock(10, 12, 30), TimeZone: "America/Sao_Paulo", ExpiresAt: clock(4, 11, 30), OccurredAt: clock(4, 11, 0),
		}},
		{1, &events.DeliverySent{Delivery: delivery("0000000000f1", "", clock(2, 15, 10))}},
		{1, &events.DeliveryFailed{Delivery: delivery("0000000000f2", "rejected", clock(2, 15, 11))}},
		{2, &events.DeliveryBounced{Delivery: delivery("0000000000f1", "mailbox_full", clock(2, 15, 12))}},
	}
	all := make(map[string]events.Envelope, len(story))
	for i, s := range story {
		d, _ := events.Lookup(s.ev.Type())
		all[d.Name] = events.Envelope{
			ID: id("0000000000e" + string("123456789abcdef"[i])), Sequence: s.sequence, CorrelationID: id("0000000000" + "9" + string("123456789abcdef"[i])).String(),
			TraceParent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", Data: s.ev,
		}
	}
	return all
}

// What this package writes is exactly what the published examples show, and it reads them back as it wrote them.
func TestExamples_AreWhatIsWrittenAndRead(t *testing.T) {
	all := examples()
	for _, d := range events.All() {
		t.Run(d.Name, func(t *testing.T) {
			env, ok := all[d.Name]
			if !ok {
				t.Fatal("no example")
			}
			var got bytes.Buffer
			if err := json.Indent(&got, mustEncode(t, env), "", "  "); err != nil {
				t.Fatal(err)
			}
			got.WriteByte('\n')
			path := filepath.Join("testdata", d.Name+".json")
			if *update {
				if err := os.WriteFile(path, got.Bytes(), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got.Bytes(), want) {
				t.Errorf("written: %s\nexample: %s", got.Bytes(), want)
			}
			back, err := events.Decode(want)
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(back, env) {
				t.Errorf("read %+v, want %+v", back.Data, env.Data)
			}
		})
	}
}

// Nothing lies about that belongs to no event, and what a service serves is complete.
func TestFiles_HoldOneSchemaAndOneExamplePerEvent(t *testing.T) {
	known := map[string]bool{"envelope.v1.json": true}
	for _, d := range events.All() {
		known[d.Name+".json"] = true
		if len(d.Schema()) == 0 || len(d.Example()) == 0 {
			t.Errorf("%s: schema or example is empty", d.Name)
		}
	}
	for _, dir := range []string{"schemas", "testdata", "released"} {
		entries, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			if filepath.Ext(e.Name()) == ".json" && !known[e.Name()] {
				t.Errorf("%s/%s belongs to no event", dir, e.Name())
			}
		}
	}
}

package scheduling_test

import (
	"bytes"
	"io"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/emersion/go-ical"
	"github.com/google/go-cmp/cmp"

	"github.com/healthmed/healthmed/pkg/auth"
	"github.com/healthmed/healthmed/pkg/events"
	"github.com/healthmed/healthmed/services/scheduling"
)

func TestCalendarFeedNamesNobodyUnlessAsked(t *testing.T) {
	s := start(t, func(c *scheduling.Config) { c.PublicURL = "https://saude.example" })
	doctor, patient := s.doctor(allWeek("09:00", "12:00")), s.person(auth.Patient)
	s.publish(&events.UserRegistered{UserID: patient.id, Role: "patient", Status: "active", Name: "Beto Reis", Email: "b@example.com", Locale: "pt-BR", OccurredAt: s.clock.now()})
	eventually(t, "patient known", func() bool { return s.count(`SELECT count(*) FROM people`) == 1 })
	id := s.must(201, patient, "POST", "/v1/appointments", object{"doctor_id": doctor.id, "starts_at": s.slots(doctor.id, 1)[0].StartsAt, "reason": "segredo"}).field(t, "id")
	feed := func(body any) (path, content string) {
		url := s.must(201, doctor, "POST", "/v1/me/calendar", body).field(t, "url")
		path = strings.TrimPrefix(url, "https://saude.example")
		r := s.must(200, person{}, "GET", path, nil)
		if got := r.header.Get("Content-Type"); got != "text/calendar; charset=utf-8" {
			t.Errorf("Content-Type %q", got)
		}
		return path, strings.ReplaceAll(string(r.body), "\r\n ", "")
	}
	old, plain := feed(nil)
	if strings.Contains(plain, "Beto") || strings.Contains(plain, "segredo") || !strings.Contains(plain, "UID:"+id) || !strings.Contains(plain, "STATUS:CONFIRMED") {
		t.Error(plain)
	}
	for _, line := range []string{"PRODID:-//Health&Med//Agenda//PT", "REFRESH-INTERVAL;VALUE=DURATION:PT15M"} {
		if !strings.Contains(plain, line+"\r\n") {
			t.Errorf("no line %s", line)
		}
	}
	if strings.Contains(strings.ReplaceAll(plain, "\r\n", ""), "\n") {
		t.Error("bare line feeds")
	}
	path, named := feed(object{"include_names": true})
	if !strings.Contains(named, "Beto Reis") || strings.Contains(named, "segredo") {
		t.Error(named)
	}
	s.must(404, person{}, "GET", old, nil)
	s.must(200, doctor, "POST", "/v1/appointments/"+id+"/cancel", object{"reason": "x"})
	if r := s.must(200, person{}, "GET", path, nil); !strings.Contains(string(r.body), "STATUS:CANCELLED") || !strings.Contains(string(r.body), "SEQUENCE:2") {
		t.Errorf("%s", r.body)
	}
	s.must(204, doctor, "DELETE", "/v1/me/calendar", nil)
	s.must(404, person{}, "GET", path, nil)
}

// Another program's parser reads what the doctor's and the patient's calendars need, whatever names hold.
func TestCalendarFeedAsAnotherProgramReadsIt(t *testing.T) {
	s := start(t)
	doctor, patient := s.doctor(allWeek("09:00", "12:00", object{"time_zone": "America/Noronha"})), s.person(auth.Patient)
	s.known(doctor, "Ana Conceição", "active", "cardiology")
	name := "Maria Antônia; da Conceição, filha de \\n José " + strings.Repeat("Araújo e Guimarães ", 4) + "Ção"
	s.publish(&events.UserRegistered{UserID: patient.id, Role: "patient", Status: "active", Name: name, Email: "b@example.com", Locale: "pt-BR", OccurredAt: s.clock.now()})
	eventually(t, "patient known", func() bool { return s.count(`SELECT count(*) FROM people`) == 2 })
	free := s.slots(doctor.id, 2)
	kept := s.book(patient, doctor, free[0].StartsAt)
	moved := s.book(patient, doctor, free[1].StartsAt)
	s.must(200, patient, "POST", "/v1/appointments/"+moved+"/reschedule", object{"starts_at": free[7].StartsAt})
	cancelled := s.book(patient, doctor, free[2].StartsAt)
	s.must(200, patient, "POST", "/v1/appointments/"+cancelled+"/cancel", object{"reason": "segredo"})
	s.must(201, patient, "POST", "/v1/holds", booking(doctor, free[3].StartsAt)) // no appointment yet: not shown

	type event struct {
		UID, Status, Summary, Sequence string
		Start, End                     time.Time
	}
	read := func(by person, body any) map[string]event {
		t.Helper()
		url := s.must(201, by, "POST", "/v1/me/calendar", body).field(t, "url")
		r := s.must(200, person{}, "GET", url[strings.Index(url, "/v1/"):], nil)
		for line := range strings.SplitSeq(strings.TrimSuffix(string(r.body), "\r\n"), "\r\n") {
			if len(line) > 75 || !utf8.ValidString(line) || strings.ContainsAny(line, "\r\n") {
				t.Errorf("line of %d octets, or cut inside a character: %q", len(line), line)
			}
		}
		calendar, err := ical.NewDecoder(bytes.NewReader(r.body)).Decode()
		if err != nil {
			t.Fatal(err)
		}
		if err := ical.NewEncoder(io.Discard).Encode(calendar); err != nil {
			t.Errorf("not a calendar as RFC 5545 wants it: %v", err)
		}
		found := map[string]event{}
		for _, e := range calendar.Events() {
			text := func(name string) string {
				p := e.Props.Get(name)
				if p == nil {
					t.Fatalf("no %s", name)
				}
				value, err := p.Text()
				if err != nil {
					return p.Value
				}
				return value
			}
			start, err := e.DateTimeStart(time.UTC)
			if err != nil {
				t.Fatal(err)
			}
			end, err := e.DateTimeEnd(time.UTC)
			if err != nil {
				t.Fatal(err)
			}
			id, _, _ := strings.Cut(text("UID"), "@")
			found[id] = event{id, text("STATUS"), text("SUMMARY"), text("SEQUENCE"), start.UTC(), end.UTC()}
		}
		return found
	}
	want := func(summary string) map[string]event {
		return map[string]event{
			kept:      {kept, "CONFIRMED", summary, "1", free[0].StartsAt, free[0].EndsAt},
			moved:     {moved, "CONFIRMED", summary, "2", free[7].StartsAt, free[7].EndsAt},
			cancelled: {cancelled, "CANCELLED", summary, "2", free[2].StartsAt, free[2].EndsAt},
		}
	}
	for _, c := range []struct {
		by      person
		body    any
		summary string
	}{
		{doctor, nil, "Consulta"}, {doctor, object{"include_names": true}, "Consulta: " + name},
		{patient, nil, "Consulta com Dr(a). Ana Conceição"}, {patient, object{"include_names": true}, "Consulta com Dr(a). Ana Conceição"},
	} {
		if diff := cmp.Diff(want(c.summary), read(c.by, c.body)); diff != "" {
			t.Errorf("%s %v: %s", c.by.role, c.body, diff)
		}
	}
}

package scheduling_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/healthmed/healthmed/pkg/auth"
)

func TestAvailabilityIsTheDoctorsOwn(t *testing.T) {
	s := start(t)
	doctor, other, patient := s.doctor(allWeek("09:00", "12:00")), s.person(auth.Doctor), s.person(auth.Patient)
	path := "/v1/doctors/" + doctor.id.String() + "/availability"
	s.must(403, other, "PUT", path, allWeek("09:00", "12:00"))
	s.must(403, patient, "PUT", path, allWeek("09:00", "12:00"))
	s.must(401, person{}, "PUT", path, allWeek("09:00", "12:00"))
	s.must(404, person{}, "GET", "/v1/doctors/"+other.id.String()+"/availability", nil)
	r := s.must(422, doctor, "PUT", path, object{"time_zone": "Mars/Olympus", "slot_minutes": 1, "weekly": []object{
		{"weekday": "monday", "start": "9:00", "end": "12:00"}}})
	for _, pointer := range []string{"/time_zone", "/slot_minutes", "/weekly/0/start"} {
		if !strings.Contains(string(r.body), `"`+pointer+`"`) {
			t.Errorf("%s is not among the faults: %s", pointer, r.body)
		}
	}
	r = s.must(422, doctor, "PUT", path, object{"time_zone": "UTC", "slot_minutes": 30, "weekly": []object{
		{"weekday": "monday", "start": "09:00", "end": "12:00"}, {"weekday": "monday", "start": "11:00", "end": "13:00"}, {"weekday": "friday", "start": "11:00", "end": "10:00"}}})
	for _, pointer := range []string{"/weekly/1", "/weekly/2/end"} {
		if !strings.Contains(string(r.body), `"`+pointer+`"`) {
			t.Errorf("%s is not among the faults: %s", pointer, r.body)
		}
	}
	free := s.slots(doctor.id, 1)
	id := s.book(patient, doctor, free[0].StartsAt)
	s.must(412, doctor, "PUT", path, allWeek("10:00", "12:00"), "If-Match", `"7"`)
	if got := s.must(200, doctor, "PUT", path, allWeek("10:00", "12:00"), "If-Match", `"1"`).header.Get("ETag"); got != `"2"` {
		t.Errorf("ETag %s", got)
	}
	if got := s.must(200, patient, "GET", "/v1/appointments/"+id, nil).field(t, "status"); got != "booked" {
		t.Errorf("a booked appointment became %s", got)
	}
	r = s.must(200, doctor, "GET", path+"/conflicts", nil)
	if !strings.Contains(string(r.body), id) {
		t.Errorf("conflicts: %s", r.body)
	}
	day := free[0].StartsAt.Format(time.DateOnly)
	s.must(200, doctor, "PUT", "/v1/doctors/"+doctor.id.String()+"/exceptions/"+day, object{"closed": true, "note": "congresso"})
	if got := s.slots(doctor.id, 1); len(got) != 0 {
		t.Errorf("closed, but %v", got)
	}
	s.must(204, doctor, "DELETE", "/v1/doctors/"+doctor.id.String()+"/exceptions/"+day, nil)
	if got := s.slots(doctor.id, 1); len(got) != 4 {
		t.Errorf("%d slots from 10 to 12, want 4", len(got))
	}
	if diff := cmp.Diff([]string{"availability.changed.v1 1", "availability.changed.v1 2", "availability.changed.v1 3", "availability.changed.v1 4"}, s.told(doctor.id)); diff != "" {
		t.Error(diff)
	}
}

func TestAppointmentsAreListedToThoseInThem(t *testing.T) {
	s := start(t)
	doctor, patient, stranger := s.doctor(allWeek("09:00", "12:00")), s.person(auth.Patient), s.person(auth.Patient)
	var want []string
	for _, slot := range s.slots(doctor.id, 1)[:5] {
		want = append(want, s.book(patient, doctor, slot.StartsAt))
	}
	list := func(by person, query string) (ids []string) {
		for next := ""; ; {
			var l struct {
				Items      []struct{ ID string }
				NextCursor *string `json:"next_cursor"`
			}
			if err := json.Unmarshal(s.must(200, by, "GET", "/v1/appointments?limit=2"+query+next, nil).body, &l); err != nil {
				t.Fatal(err)
			}
			for _, a := range l.Items {
				ids = append(ids, a.ID)
			}
			if l.NextCursor == nil {
				return ids
			}
			next = "&cursor=" + *l.NextCursor
		}
	}
	for name, c := range map[string]struct {
		by    person
		query string
		want  []string
	}{
		"patient":             {patient, "", want},
		"doctor":              {doctor, "&status=booked", want},
		"attendant":           {s.person(auth.Admin), "&patient_id=" + patient.id.String(), want},
		"attendant, all":      {s.person(auth.Admin), "", want},
		"stranger":            {stranger, "", nil},
		"stranger, of others": {stranger, "&patient_id=" + patient.id.String(), nil},
		"another status":      {patient, "&status=cancelled", nil},
	} {
		if diff := cmp.Diff(c.want, list(c.by, c.query)); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
	s.must(404, stranger, "GET", "/v1/appointments/"+want[0], nil)
	s.must(404, stranger, "GET", "/v1/appointments/"+want[0]+"/history", nil)
	s.must(404, stranger, "POST", "/v1/appointments/"+want[0]+"/cancel", object{"reason": "x"})
	s.must(422, patient, "GET", "/v1/appointments?cursor=x", nil)
	s.must(422, patient, "GET", "/v1/appointments?x=1", nil)
}

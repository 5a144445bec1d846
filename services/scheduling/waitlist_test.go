package scheduling_test

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/healthmed/healthmed/pkg/auth"
	"github.com/healthmed/healthmed/pkg/events"
)

func TestWaitlistOffersFreedTimeToTheFirstInLine(t *testing.T) {
	s := start(t)
	second := s.config
	second.HTTPListener, second.OpsListener = listen(t), listen(t)
	s.run(second) // two replicas work the same lines
	doctor := s.doctor(allWeek("09:00", "10:00"))
	s.publish(&events.UserRegistered{UserID: doctor.id, Role: "doctor", Status: "active", Name: "Ana Lima", Email: "ana@example.com",
		Locale: "pt-BR", Doctor: &events.DoctorProfile{CRM: events.CRM{Number: "1234", State: "SP"}, Specialties: []string{"cardiology"}}, OccurredAt: s.clock.now()})
	eventually(t, "doctor known", func() bool { return s.count(`SELECT count(*) FROM people`) == 1 })
	free := s.slots(doctor.id, 1)
	holder := s.person(auth.Patient)
	id := s.book(holder, doctor, free[0].StartsAt)
	s.book(s.person(auth.Patient), doctor, free[1].StartsAt)
	day := free[0].StartsAt.Format(time.DateOnly)
	line := make([]person, 4)
	for i := range line {
		line[i] = s.person(auth.Patient)
		want := object{"doctor_id": doctor.id, "from": day, "to": day}
		if i%2 == 1 {
			want = object{"specialty": "cardiology", "from": day, "to": day}
		}
		s.must(201, line[i], "POST", "/v1/waitlist", want)
	}
	late := object{"doctor_id": doctor.id, "from": s.clock.now().AddDate(0, 0, 9).Format(time.DateOnly), "to": s.clock.now().AddDate(0, 0, 9).Format(time.DateOnly)}
	s.must(201, holder, "POST", "/v1/waitlist", late) // wants another day

	statuses := func() (list []string) {
		for _, p := range line {
			var l struct{ Items []struct{ Status string } }
			if err := json.Unmarshal(s.must(200, p, "GET", "/v1/waitlist", nil).body, &l); err != nil {
				t.Fatal(err)
			}
			list = append(list, l.Items[0].Status)
		}
		return list
	}
	becomes := func(want ...string) {
		t.Helper()
		eventually(t, fmt.Sprint(want), func() bool { return cmp.Equal(want, statuses()) })
		if n := s.count(`SELECT coalesce(max(n), 0) FROM (SELECT count(*) AS n FROM appointments WHERE status = 'held' GROUP BY starts_at) AS q`); n > 1 {
			t.Errorf("%d offers of one slot", n)
		}
	}
	s.must(200, holder, "POST", "/v1/appointments/"+id+"/cancel", object{"reason": "x"})
	becomes("offered", "waiting", "waiting", "waiting")
	if r := s.do(holder, "POST", "/v1/appointments", booking(doctor, free[0].StartsAt)); r.problem() != "/problems/slot-taken" {
		t.Errorf("the offer is exclusive: %s", r.body)
	}
	s.clock.advance(31 * time.Minute) // the offer lapses
	becomes("missed", "offered", "waiting", "waiting")
	var l struct {
		Items []struct {
			HoldID uuid.UUID `json:"hold_id"`
			ID     string
		}
	}
	if err := json.Unmarshal(s.must(200, line[1], "GET", "/v1/waitlist", nil).body, &l); err != nil {
		t.Fatal(err)
	}
	s.must(204, line[1], "DELETE", "/v1/holds/"+l.Items[0].HoldID.String(), nil) // refused
	becomes("missed", "missed", "offered", "waiting")
	if err := json.Unmarshal(s.must(200, line[2], "GET", "/v1/waitlist", nil).body, &l); err != nil {
		t.Fatal(err)
	}
	with := booking(doctor, free[0].StartsAt)
	with["hold_id"] = l.Items[0].HoldID
	s.must(201, line[2], "POST", "/v1/appointments", with)
	becomes("missed", "missed", "fulfilled", "waiting")
	if diff := cmp.Diff([]string{"waitlist.offered.v1 1"}, s.told(l.Items[0].ID)); diff != "" {
		t.Error(diff)
	}
	s.must(200, doctor, "PUT", "/v1/doctors/"+doctor.id.String()+"/exceptions/"+day, object{"hours": []object{{"start": "09:00", "end": "11:00"}}})
	becomes("missed", "missed", "fulfilled", "offered") // hours were opened
	s.must(404, line[0], "DELETE", "/v1/waitlist/"+l.Items[0].ID, nil)
}

func TestWaitlistKnowsTheSpecialties(t *testing.T) {
	t.Parallel()
	s := start(t)
	day := s.clock.now().AddDate(0, 0, 2).Format(time.DateOnly)
	patient := s.person(auth.Patient)
	s.must(201, patient, "POST", "/v1/waitlist", object{"specialty": "cardiology", "from": day, "to": day})
	if r := s.do(patient, "POST", "/v1/waitlist", object{"specialty": "no-such", "from": day, "to": day}); r.status != 422 || r.problem() != "/problems/validation" {
		t.Errorf("%d %s", r.status, r.body)
	}
}

package scheduling_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/healthmed/healthmed/pkg/auth"
	"github.com/healthmed/healthmed/pkg/events"
)

// known publishes the doctor's profile.
func (s *service) known(doctor person, name, status string, specialties ...string) {
	s.t.Helper()
	s.publish(&events.UserRegistered{UserID: doctor.id, Role: "doctor", Status: status, Name: name, Email: "a@example.com", Locale: "pt-BR",
		Doctor: &events.DoctorProfile{CRM: events.CRM{Number: "1234", State: "SP"}, Specialties: specialties}, OccurredAt: s.clock.now()})
	eventually(s.t, "doctor known", func() bool {
		return s.count(`SELECT count(*) FROM people WHERE id = $1 AND status = $2`, doctor.id, status) == 1
	})
}

// search lists who is free, page by page: name and first slots by the doctor's clock.
func (s *service) search(query string) (list []string) {
	s.t.Helper()
	for cursor := ""; ; {
		var page struct {
			Items []struct {
				Doctor   struct{ Name, ID string }
				TimeZone string `json:"time_zone"`
				Slots    []slot
			}
			NextCursor *string `json:"next_cursor"`
		}
		if err := json.Unmarshal(s.must(http.StatusOK, person{}, "GET", "/v1/slots"+query+cursor, nil).body, &page); err != nil {
			s.t.Fatal(err)
		}
		for _, item := range page.Items {
			zone, err := time.LoadLocation(item.TimeZone)
			if err != nil {
				s.t.Fatal(err)
			}
			var starts []string
			for _, slot := range item.Slots {
				starts = append(starts, slot.StartsAt.In(zone).Format("02T15:04"))
			}
			list = append(list, item.Doctor.Name+" "+strings.Join(starts, " "))
		}
		if page.NextCursor == nil {
			return list
		}
		cursor = "&cursor=" + *page.NextCursor
	}
}

func TestHoursWaitForApproval(t *testing.T) {
	s := start(t)
	doctor := s.person(auth.Doctor)
	path := "/v1/doctors/" + doctor.id.String()
	s.known(doctor, "Ivo", "pending_verification", "cardiology")
	s.must(403, doctor, "PUT", path+"/availability", allWeek("08:00", "10:00"))
	s.must(403, doctor, "PUT", path+"/exceptions/"+s.clock.now().AddDate(0, 0, 2).Format(time.DateOnly), object{"closed": true})
	s.must(404, person{}, "GET", path+"/availability", nil)
	s.publish(&events.UserUpdated{UserID: doctor.id, Role: "doctor", Status: "active", Name: "Ivo", Email: "a@example.com", Locale: "pt-BR",
		Doctor: &events.DoctorProfile{CRM: events.CRM{Number: "1234", State: "SP"}, Specialties: []string{"cardiology"}}, OccurredAt: s.clock.now()})
	eventually(t, "approval known", func() bool {
		return s.do(doctor, "PUT", path+"/availability", allWeek("08:00", "10:00")).status == 200
	})
}

func TestSearchFindsWhoIsFreeFirst(t *testing.T) {
	s := start(t)
	patient := s.person(auth.Patient)
	early := s.doctor(allWeek("08:00", "10:00", object{"time_zone": "America/Noronha"}))
	late := s.doctor(allWeek("16:00", "17:00"))
	evening := s.doctor(allWeek("22:00", "24:00", object{"time_zone": "America/Rio_Branco"}))
	s.known(early, "Eva", "active", "cardiology", "pediatrics")
	s.known(late, "Lia", "active", "cardiology")
	s.known(evening, "Rui", "active", "dermatology")
	s.known(s.doctor(allWeek("00:00", "24:00")), "Ivo", "pending_verification", "cardiology")
	s.known(s.person(auth.Doctor), "Nil", "active", "cardiology") // has set no hours

	date := s.clock.now().UTC().AddDate(0, 0, 2)
	day := func(n int) string { return date.AddDate(0, 0, n).Format(time.DateOnly) }
	starts := func(n int, clock ...string) string {
		for i := range clock {
			clock[i] = date.AddDate(0, 0, n).Format("02T") + clock[i]
		}
		return strings.Join(clock, " ")
	}
	want := func(query string, want ...string) {
		t.Helper()
		if diff := cmp.Diff(want, s.search(query)); diff != "" {
			t.Errorf("%s: %s", query, diff)
		}
	}
	eva, lia, rui := "Eva "+starts(0, "08:00", "08:30", "09:00"), "Lia "+starts(0, "16:00", "16:30"), "Rui "+starts(0, "22:00", "22:30", "23:00")
	one := "?days=1&from=" + day(0)
	want(one, eva, lia, rui) // all of one day, however late in it and wherever
	want(one+"&limit=1", eva, lia, rui)
	want(one+"&specialty=cardiology", eva, lia)
	want(one+"&specialty=dermatology", rui)
	want(one + "&specialty=neurology")
	want("?days=2&from="+day(0)+"&specialty=cardiology", eva, lia+" "+starts(1, "16:00"))

	// What is taken is not found, by whatever it is taken, and what is given back is.
	at := date.Truncate(24 * time.Hour).Add(19 * time.Hour)
	id := s.book(patient, late, at)
	s.must(201, s.person(auth.Patient), "POST", "/v1/holds", booking(late, at.Add(30*time.Minute)))
	want(one+"&specialty=cardiology", eva)
	s.must(200, patient, "POST", "/v1/appointments/"+id+"/cancel", object{"reason": "x"})
	want(one+"&specialty=cardiology", eva, "Lia "+starts(0, "16:00"))
	s.clock.advance(11 * time.Minute) // the hold runs out
	want(one+"&specialty=cardiology", eva, lia)
	s.must(200, late, "PUT", "/v1/doctors/"+late.id.String()+"/exceptions/"+day(0), object{"hours": []object{{"start": "07:00", "end": "07:30"}}})
	want(one+"&specialty=cardiology", eva, "Lia "+starts(0, "07:00")) // 08:00 in Noronha is 07:00 in São Paulo: a tie
	s.known(late, "Lia", "rejected", "cardiology")
	want(one+"&specialty=cardiology", eva)
	want(one, eva, rui) // who took her place in memory is found as before
	for query, parameter := range map[string]string{"?days=63": "days", "?limit=0": "limit", "?cursor=x": "cursor", "?specialty=A": "specialty", "?specialty=cardiologie": "specialty", "?from=today": "from", "?x=1": "x"} {
		if r := s.do(person{}, "GET", "/v1/slots"+query, nil); r.status != 422 || !strings.Contains(string(r.body), `"`+parameter+`"`) {
			t.Errorf("%s: %d %s", query, r.status, r.body)
		}
	}
}

// A page goes on where the one before ended, also among doctors who are free at the same moment.
func TestSearchPagesMissNobody(t *testing.T) {
	s := start(t)
	var want []string
	for n := range 23 {
		doctor := s.doctor(allWeek(fmt.Sprintf("%02d:00", 8+n%3), "18:00"))
		s.known(doctor, fmt.Sprint("D", n), "active", "cardiology")
		want = append(want, fmt.Sprint("D", n))
	}
	day := s.clock.now().UTC().AddDate(0, 0, 2).Format(time.DateOnly)
	for _, limit := range []int{1, 4, 22, 23, 24} {
		var got []string
		for _, line := range s.search(fmt.Sprintf("?from=%s&days=1&limit=%d", day, limit)) {
			name, _, _ := strings.Cut(line, " ")
			got = append(got, name)
		}
		slices.SortFunc(got, func(a, b string) int { return slices.Index(want, a) - slices.Index(want, b) })
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("pages of %d: %s", limit, diff)
		}
	}
}

package scheduling_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/healthmed/healthmed/pkg/auth"
	"github.com/healthmed/healthmed/pkg/events"
)

// book books and returns the appointment's id.
func (s *service) book(patient, doctor person, at time.Time) string {
	s.t.Helper()
	return s.must(http.StatusCreated, patient, "POST", "/v1/appointments", booking(doctor, at)).field(s.t, "id")
}

// told are the events of an aggregate as published, oldest first: type and version.
func (s *service) told(id any) (list []string) {
	s.t.Helper()
	rows, err := s.db.Query(s.t.Context(), `SELECT data FROM outbox WHERE aggregate_id = $1 ORDER BY aggregate_version`, id)
	if err != nil {
		s.t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var data []byte
		if err := rows.Scan(&data); err != nil {
			s.t.Fatal(err)
		}
		env, err := events.Decode(data)
		if err != nil {
			s.t.Fatal(err)
		}
		kind := strings.TrimPrefix(env.Data.Type(), "br.com.healthmed.scheduling.")
		list = append(list, fmt.Sprintf("%s %d", kind, env.Sequence))
	}
	return list
}

func (s *service) history(by person, id string) (list []string) {
	s.t.Helper()
	var h struct {
		Items []struct {
			Version int
			Action  string
			Actor   struct{ Role string }
		}
	}
	if err := json.Unmarshal(s.must(http.StatusOK, by, "GET", "/v1/appointments/"+id+"/history", nil).body, &h); err != nil {
		s.t.Fatal(err)
	}
	for _, e := range h.Items {
		list = append(list, fmt.Sprintf("%d %s by %s", e.Version, e.Action, e.Actor.Role))
	}
	return list
}

func TestHoldKeepsASlotUntilItExpires(t *testing.T) {
	s := start(t)
	doctor, patient, rival := s.doctor(allWeek("09:00", "12:00")), s.person(auth.Patient), s.person(auth.Patient)
	free := s.slots(doctor.id, 1)
	hold := s.must(201, patient, "POST", "/v1/holds", booking(doctor, free[0].StartsAt)).field(t, "id")
	if r := s.do(rival, "POST", "/v1/appointments", booking(doctor, free[0].StartsAt)); r.problem() != "/problems/slot-taken" {
		t.Errorf("held slot: %s", r.body)
	} else if strings.Contains(string(r.body), "hold_id") {
		t.Errorf("tells whose hold it is: %s", r.body)
	}
	for _, path := range []string{"/v1/appointments", "/v1/holds"} { // their own, without saying so
		first := s.do(patient, "POST", path, booking(doctor, free[0].StartsAt), "Idempotency-Key", path)
		again := s.do(patient, "POST", path, booking(doctor, free[0].StartsAt), "Idempotency-Key", path)
		if first.problem() != "/problems/slot-taken" || !strings.Contains(first.field(t, "detail"), "hold_id") || string(first.body) != string(again.body) {
			t.Errorf("%s of one's own hold: %s, then %s", path, first.body, again.body)
		}
	}
	if diff := cmp.Diff(free[1:], s.slots(doctor.id, 1)); diff != "" {
		t.Error(diff)
	}
	with := booking(doctor, free[0].StartsAt)
	with["hold_id"] = hold
	if r := s.do(rival, "POST", "/v1/appointments", with); r.status != 410 {
		t.Errorf("somebody else's hold: %d", r.status)
	}
	id := s.must(201, patient, "POST", "/v1/appointments", with, "Idempotency-Key", "k").field(t, "id")
	s.must(201, patient, "POST", "/v1/appointments", with, "Idempotency-Key", "k")
	if diff := cmp.Diff([]string{"appointment.booked.v1 1"}, s.told(id)); diff != "" {
		t.Error(diff)
	}

	hold = s.must(201, patient, "POST", "/v1/holds", booking(doctor, free[1].StartsAt)).field(t, "id")
	s.must(204, patient, "DELETE", "/v1/holds/"+hold, nil)
	s.must(404, patient, "DELETE", "/v1/holds/"+hold, nil)
	s.must(201, rival, "POST", "/v1/appointments", booking(doctor, free[1].StartsAt))

	hold = s.must(201, patient, "POST", "/v1/holds", booking(doctor, free[2].StartsAt)).field(t, "id")
	s.clock.advance(11 * time.Minute)
	with = booking(doctor, free[2].StartsAt)
	with["hold_id"] = hold
	if r := s.do(patient, "POST", "/v1/appointments", with); r.status != 410 || r.problem() != "/problems/hold-expired" {
		t.Errorf("expired hold: %d %s", r.status, r.body)
	}
	s.must(201, rival, "POST", "/v1/appointments", booking(doctor, free[2].StartsAt)) // whether swept or not
	for i := range 6 {
		r := s.do(patient, "POST", "/v1/holds", booking(s.doctor(allWeek("00:00", "24:00")), free[2].StartsAt.Add(time.Duration(24+i)*time.Hour)))
		if want := map[bool]int{true: 201, false: 409}[i < 5]; r.status != want {
			t.Errorf("hold %d: %d %s", i+1, r.status, r.body)
		}
	}
}

func TestRequestWaitsForTheDoctorAndLapses(t *testing.T) {
	s := start(t)
	doctor, patient := s.doctor(allWeek("09:00", "12:00", object{"booking_mode": "approval"})), s.person(auth.Patient)
	free := s.slots(doctor.id, 5)
	confirmed, declined, lapsed := s.book(patient, doctor, free[20].StartsAt), s.book(patient, doctor, free[21].StartsAt), s.book(patient, doctor, free[22].StartsAt)
	if r := s.do(s.person(auth.Patient), "POST", "/v1/appointments", booking(doctor, free[22].StartsAt)); r.problem() != "/problems/slot-taken" {
		t.Errorf("a request occupies the time: %s", r.body)
	}
	s.must(403, patient, "POST", "/v1/appointments/"+confirmed+"/confirm", nil)
	s.must(404, s.doctor(allWeek("09:00", "10:00")), "POST", "/v1/appointments/"+confirmed+"/confirm", nil)
	s.must(200, doctor, "POST", "/v1/appointments/"+confirmed+"/confirm", nil, "If-Match", `"1"`)
	s.must(412, doctor, "POST", "/v1/appointments/"+confirmed+"/complete", nil, "If-Match", `"1"`)
	s.must(409, doctor, "POST", "/v1/appointments/"+confirmed+"/complete", nil) // it hasn't begun
	s.must(200, doctor, "POST", "/v1/appointments/"+declined+"/decline", object{"reason": "férias"})
	s.clock.advance(24*time.Hour + time.Minute)
	eventually(t, "lapsed", func() bool {
		return s.must(200, patient, "GET", "/v1/appointments/"+lapsed, nil).field(t, "status") == "declined"
	})
	s.clock.advance(free[20].StartsAt.Sub(s.clock.now()) + time.Minute)
	s.must(200, doctor, "POST", "/v1/appointments/"+confirmed+"/no-show", nil)
	for id, want := range map[string][2][]string{
		confirmed: {{"appointment.requested.v1 1", "appointment.booked.v1 2", "appointment.no_show.v1 3"}, {"1 requested by patient", "2 confirmed by doctor", "3 no_show by doctor"}},
		declined:  {{"appointment.requested.v1 1", "appointment.declined.v1 2"}, {"1 requested by patient", "2 declined by doctor"}},
		lapsed:    {{"appointment.requested.v1 1", "appointment.declined.v1 2"}, {"1 requested by patient", "2 lapsed by system"}},
	} {
		if diff := cmp.Diff(want, [2][]string{s.told(id), s.history(patient, id)}); diff != "" {
			t.Error(diff)
		}
	}
}

func TestMoveKeepsTheOldSlotWhenTheNewOneIsNotToBeHad(t *testing.T) {
	s := start(t)
	doctor := s.doctor(allWeek("09:00", "12:00", object{"cancel_notice_minutes": 60}))
	patient, rival := s.person(auth.Patient), s.person(auth.Patient)
	free := s.slots(doctor.id, 2)
	id := s.book(patient, doctor, free[0].StartsAt)
	s.book(rival, doctor, free[1].StartsAt)
	move := func(by person, at time.Time) reply {
		return s.do(by, "POST", "/v1/appointments/"+id+"/reschedule", object{"starts_at": at})
	}
	if r := move(patient, free[1].StartsAt); r.problem() != "/problems/slot-taken" {
		t.Errorf("to a taken slot: %s", r.body)
	}
	if r := move(patient, free[1].StartsAt.Add(time.Minute)); r.problem() != "/problems/outside-availability" {
		t.Errorf("off the grid: %s", r.body)
	}
	if got := s.must(200, patient, "GET", "/v1/appointments/"+id, nil).field(t, "starts_at"); got != free[0].StartsAt.Format(time.RFC3339) {
		t.Errorf("it is at %s now", got)
	}
	if r := move(patient, free[2].StartsAt); r.status != 200 || r.field(t, "version") != "2" {
		t.Errorf("%d %s", r.status, r.body)
	}
	s.book(rival, doctor, free[0].StartsAt) // the old time is free
	s.clock.advance(free[2].StartsAt.Sub(s.clock.now()) - 30*time.Minute)
	if r := move(patient, free[7].StartsAt); r.problem() != "/problems/too-late" {
		t.Errorf("late move: %s", r.body)
	}
	if r := s.do(patient, "POST", "/v1/appointments/"+id+"/cancel", object{"reason": "x"}); r.problem() != "/problems/too-late" {
		t.Errorf("late cancellation: %s", r.body)
	}
	s.must(200, s.person(auth.Admin), "POST", "/v1/appointments/"+id+"/reschedule", object{"starts_at": free[7].StartsAt})
	s.must(200, doctor, "POST", "/v1/appointments/"+id+"/cancel", object{"reason": "x"})
	want := []string{"appointment.booked.v1 1", "appointment.rescheduled.v1 2", "appointment.rescheduled.v1 3", "appointment.cancelled.v1 4"}
	if diff := cmp.Diff(want, s.told(id)); diff != "" {
		t.Error(diff)
	}
}

func TestMovesAndBookingsRacingForTheSameSlots(t *testing.T) {
	s := start(t)
	doctor := s.doctor(allWeek("00:00", "24:00"))
	free := s.slots(doctor.id, 2)
	patients, ids := make([]person, 16), make([]string, 16)
	for i := range patients {
		patients[i] = s.person(auth.Patient)
		ids[i] = s.book(patients[i], doctor, free[i].StartsAt)
	}
	for round := range 10 {
		target := free[20+round].StartsAt
		var wg sync.WaitGroup
		var mu sync.Mutex
		outcomes := map[string]int{}
		for i := range patients {
			wg.Go(func() {
				path, body := "/v1/appointments/"+ids[i]+"/reschedule", object{"starts_at": target}
				if i%4 == 0 {
					path, body = "/v1/appointments", booking(doctor, target)
				}
				r, err := s.try(patients[i], "POST", path, body)
				mu.Lock()
				defer mu.Unlock()
				outcome := r.problem()
				if outcome == "" {
					outcome = fmt.Sprint(r.status/100, "xx ", err)
				}
				outcomes[outcome]++
			})
		}
		wg.Wait()
		if diff := cmp.Diff(map[string]int{"2xx <nil>": 1, "/problems/slot-taken": 15}, outcomes); diff != "" {
			t.Fatal(diff)
		}
	}
}

func TestErasureCancelsAndForgets(t *testing.T) {
	s := start(t)
	doctor, patient := s.doctor(allWeek("09:00", "12:00")), s.person(auth.Patient)
	s.publish(&events.UserRegistered{UserID: patient.id, Role: "patient", Status: "active", Name: "Beto Reis", Email: "b@example.com", Locale: "pt-BR", OccurredAt: s.clock.now()})
	eventually(t, "patient known", func() bool { return s.count(`SELECT count(*) FROM people WHERE name IS NOT NULL`) == 1 })
	free := s.slots(doctor.id, 1)
	r := s.must(201, patient, "POST", "/v1/appointments", object{"doctor_id": doctor.id, "starts_at": free[0].StartsAt, "reason": "segredo"}, "Idempotency-Key", "k")
	s.must(201, patient, "POST", "/v1/holds", booking(doctor, free[1].StartsAt))
	s.publish(&events.UserErased{UserID: patient.id, Role: "patient", OccurredAt: s.clock.now()})
	id := r.field(t, "id")
	eventually(t, "cancelled", func() bool {
		return cmp.Equal([]string{"appointment.booked.v1 1", "appointment.cancelled.v1 2"}, s.told(id))
	})
	eventually(t, "time given back", func() bool { return cmp.Equal(free, s.slots(doctor.id, 1)) })
	if n := s.count(`SELECT count(*) FROM people WHERE name IS NOT NULL`) + s.count(`SELECT count(*) FROM appointments WHERE reason IS NOT NULL`) +
		s.count(`SELECT count(*) FROM idempotency_keys`); n != 0 {
		t.Errorf("%d things remembered", n)
	}
	s.must(401, patient, "POST", "/v1/appointments", booking(doctor, free[0].StartsAt))
	s.must(401, patient, "POST", "/v1/holds", booking(doctor, free[0].StartsAt))
	day := free[0].StartsAt.Format(time.DateOnly)
	s.must(401, patient, "POST", "/v1/waitlist", object{"doctor_id": doctor.id, "from": day, "to": day})
	// A registration that comes late doesn't bring them back.
	s.publish(&events.UserUpdated{UserID: patient.id, Role: "patient", Status: "active", Name: "Beto Reis", Email: "b@example.com", Locale: "pt-BR", OccurredAt: s.clock.now()})
	other := s.person(auth.Patient)
	id = s.book(other, doctor, free[0].StartsAt)
	s.publish(&events.UserRegistered{UserID: doctor.id, Role: "doctor", Status: "rejected", Name: "Ana Lima", Email: "ana@example.com",
		Locale: "pt-BR", Doctor: &events.DoctorProfile{CRM: events.CRM{Number: "1234", State: "SP"}, Specialties: []string{"cardiology"}}, OccurredAt: s.clock.now()})
	eventually(t, "a rejected doctor's appointments are cancelled", func() bool { return len(s.told(id)) == 2 })
	if got := s.history(other, id)[1]; got != "2 cancelled by system" {
		t.Error(got)
	}
	if n := s.count(`SELECT count(*) FROM people WHERE name = 'Beto Reis'`); n != 0 {
		t.Error("an erased person is back")
	}
	s.must(404, person{}, "GET", "/v1/doctors/"+doctor.id.String()+"/slots", nil)
	s.must(404, person{}, "GET", "/v1/doctors/"+doctor.id.String()+"/availability", nil)
	s.must(404, other, "POST", "/v1/waitlist", object{"doctor_id": doctor.id, "from": day, "to": day})
	if r := s.do(other, "POST", "/v1/appointments", booking(doctor, free[2].StartsAt)); r.problem() != "/problems/doctor-not-found" {
		t.Errorf("%s", r.body)
	}
}

// What a doctor or an attendant did is still answered when it is asked again, but no longer tells the patient's reason.
func TestErasureTakesTheReasonOutOfWhatOthersWereTold(t *testing.T) {
	t.Parallel()
	s := start(t)
	doctor, patient, admin := s.doctor(allWeek("09:00", "12:00", object{"booking_mode": "approval"})), s.person(auth.Patient), s.person(auth.Admin)
	s.publish(&events.UserRegistered{UserID: patient.id, Role: "patient", Status: "active", Name: "Beto Reis", Email: "b@example.com", Locale: "pt-BR", OccurredAt: s.clock.now()})
	eventually(t, "patient known", func() bool { return s.count(`SELECT count(*) FROM people`) == 1 })
	asked := booking(doctor, s.slots(doctor.id, 1)[0].StartsAt)
	asked["patient_id"], asked["reason"] = patient.id, "segredo"
	book := func() reply { return s.must(201, admin, "POST", "/v1/appointments", asked, "Idempotency-Key", "book") }
	id := book().field(t, "id")
	confirm := func() reply {
		return s.must(200, doctor, "POST", "/v1/appointments/"+id+"/confirm", nil, "Idempotency-Key", "confirm")
	}
	confirm()
	if r := confirm(); r.field(t, "reason") != "segredo" || r.header.Get("Idempotent-Replayed") != "true" {
		t.Fatalf("before the erasure: %s", r.body)
	}
	s.publish(&events.UserErased{UserID: patient.id, Role: "patient", OccurredAt: s.clock.now()})
	eventually(t, "cancelled", func() bool { return s.count(`SELECT count(*) FROM appointments WHERE status = 'cancelled'`) == 1 })
	for what, again := range map[string]func() reply{"requested": book, "booked": confirm} {
		r := again()
		if strings.Contains(string(r.body), "segredo") || r.header.Get("Idempotent-Replayed") != "true" || r.field(t, "id") != id || r.field(t, "status") != what {
			t.Errorf("%s: %s", what, r.body)
		}
	}
	if n := s.count(`SELECT count(*) FROM appointments`) + s.count(`SELECT count(*) FROM idempotency_keys WHERE convert_from(body, 'UTF8') LIKE '%segredo%'`); n != 1 {
		t.Errorf("%d appointments and answers that tell the reason, want the one appointment", n)
	}
}

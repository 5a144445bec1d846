package scheduling_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/google/uuid"

	"github.com/healthmed/healthmed/pkg/auth"
)

func TestPatientBooksASlotAndSeesItGone(t *testing.T) {
	s := start(t)
	doctor, patient := s.doctor(allWeek("09:00", "12:00")), s.person(auth.Patient)
	free := s.slots(doctor.id, 2)
	if len(free) != 12 {
		t.Fatalf("%d slots in two mornings, want 12", len(free))
	}
	r := s.must(http.StatusCreated, patient, "POST", "/v1/appointments",
		object{"doctor_id": doctor.id, "starts_at": free[3].StartsAt, "reason": "dor de cabeça"})
	want := map[string]string{"status": "booked", "version": "1", "reason": "dor de cabeça",
		"time_zone": "America/Sao_Paulo", "patient_id": patient.id.String(), "doctor_id": doctor.id.String(),
		"starts_at": free[3].StartsAt.Format(time.RFC3339), "ends_at": free[3].EndsAt.Format(time.RFC3339)}
	got := map[string]string{}
	for name := range want {
		got[name] = r.field(t, name)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	id := r.field(t, "id")
	if got := r.header.Get("Location"); got != "/v1/appointments/"+id {
		t.Errorf("Location %q", got)
	}
	if diff := cmp.Diff(append(free[:3:3], free[4:]...), s.slots(doctor.id, 2)); diff != "" {
		t.Errorf("free slots afterwards: %s", diff)
	}
	read := s.must(http.StatusOK, doctor, "GET", "/v1/appointments/"+id, nil)
	if diff := cmp.Diff(string(r.body), string(read.body)); diff != "" {
		t.Errorf("as read: %s", diff)
	}
	eventually(t, "event published", func() bool {
		return s.count(`SELECT count(*) FROM outbox WHERE published_at IS NOT NULL AND aggregate_id = $1`, id) == 1
	})

	s.must(http.StatusOK, patient, "POST", "/v1/appointments/"+id+"/cancel", object{"reason": "melhorei"})
	if diff := cmp.Diff(free, s.slots(doctor.id, 2)); diff != "" {
		t.Errorf("free slots after cancelling: %s", diff)
	}
	eventually(t, "both events published", func() bool {
		return s.count(`SELECT count(*) FROM outbox WHERE published_at IS NOT NULL AND aggregate_id = $1`, id) == 2
	})
}

func TestRefusalsSayWhy(t *testing.T) {
	s := start(t)
	doctor, other := s.doctor(allWeek("09:00", "12:00", object{"horizon_days": 30})), s.doctor(allWeek("09:00", "12:00"))
	patient, rival := s.person(auth.Patient), s.person(auth.Patient)
	at := s.slots(doctor.id, 1)[0].StartsAt
	s.must(http.StatusCreated, patient, "POST", "/v1/appointments", booking(doctor, at))
	for name, c := range map[string]struct {
		by      person
		body    any
		status  int
		problem string
	}{
		"taken":               {rival, booking(doctor, at), 409, "slot-taken"},
		"patient elsewhere":   {patient, booking(other, at), 409, "patient-busy"},
		"off the grid":        {rival, booking(doctor, at.Add(10*time.Minute)), 422, "outside-availability"},
		"closed":              {rival, booking(doctor, at.Add(12*time.Hour)), 422, "outside-availability"},
		"past":                {rival, booking(doctor, at.AddDate(0, 0, -7)), 422, "too-soon"},
		"far off":             {rival, booking(doctor, at.AddDate(0, 0, 60)), 422, "beyond-horizon"},
		"unknown doctor":      {rival, booking(rival, at), 404, "doctor-not-found"},
		"unknown hold":        {rival, object{"doctor_id": doctor.id, "starts_at": at, "hold_id": rival.id}, 410, "hold-expired"},
		"no hold's id":        {patient, object{"doctor_id": doctor.id, "starts_at": at, "hold_id": uuid.Nil}, 422, "validation"},
		"no hold's id, free":  {rival, object{"doctor_id": doctor.id, "starts_at": at.Add(time.Hour), "hold_id": uuid.Nil}, 422, "validation"},
		"somebody else":       {rival, object{"doctor_id": doctor.id, "starts_at": at, "patient_id": patient.id}, 403, "forbidden"},
		"a doctor books":      {other, booking(doctor, at), 403, "forbidden"},
		"nobody":              {person{}, booking(doctor, at), 401, "unauthenticated"},
		"malformed":           {rival, `{"doctor_id":`, 400, "malformed-json"},
		"unknown field":       {rival, object{"doctor_id": doctor.id, "starts_at": at, "x": 1}, 422, "validation"},
		"missing":             {rival, object{}, 422, "validation"},
		"NUL in reason":       {rival, object{"doctor_id": doctor.id, "starts_at": at, "reason": "a\x00b"}, 422, "validation"},
		"unknown patient":     {s.person(auth.Admin), object{"doctor_id": doctor.id, "starts_at": at, "patient_id": newID(t)}, 404, "patient-not-found"},
		"attendant, for whom": {s.person(auth.Admin), booking(doctor, at), 422, "validation"},
	} {
		before := s.count(`SELECT count(*) FROM appointments`)
		r := s.do(c.by, "POST", "/v1/appointments", c.body)
		if r.status != c.status || r.problem() != "/problems/"+c.problem {
			t.Errorf("%s: %d %s, want %d %s", name, r.status, r.body, c.status, c.problem)
		}
		if after := s.count(`SELECT count(*) FROM appointments`); after != before {
			t.Errorf("%s: wrote something", name)
		}
	}
}

func TestDatabaseRefusesOverlapsOfUnequalIntervals(t *testing.T) {
	s := start(t)
	doctor, patient, other := newID(t), newID(t), newID(t)
	insert := func(doctor, patient any, start, end, blocked string) error {
		_, err := s.db.Exec(t.Context(), `INSERT INTO appointments (id, doctor_id, patient_id, status, starts_at,
ends_at, blocked_until, time_zone, version, created_at, updated_at)
VALUES ($1, $2, $3, 'booked', $4::timestamptz, $5::timestamptz, $6::timestamptz, 'UTC', 1, now(), now())`,
			newID(t), doctor, patient, "2030-01-07 "+start, "2030-01-07 "+end, "2030-01-07 "+blocked)
		return err
	}
	if err := insert(doctor, patient, "10:00", "10:30", "10:40"); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		doctor, patient     any
		start, end, blocked string
		refused             bool
	}{
		"doctor, overlapping":         {doctor, other, "10:15", "10:45", "10:45", true},
		"doctor, in the buffer":       {doctor, other, "10:35", "11:05", "11:05", true},
		"doctor, own buffer reaches":  {doctor, other, "09:25", "09:55", "10:05", true},
		"patient, with another":       {other, patient, "10:15", "10:45", "10:45", true},
		"doctor, after the buffer":    {doctor, other, "10:40", "11:10", "11:20", false},
		"patient, in doctor's buffer": {other, patient, "10:30", "10:35", "10:35", false},
		"empty":                       {newID(t), newID(t), "10:00", "10:00", "10:00", true},
		"backwards":                   {newID(t), newID(t), "10:30", "10:00", "10:00", true},
		"no doctor":                   {nil, newID(t), "10:00", "10:30", "10:30", true},
	} {
		if err := insert(c.doctor, c.patient, c.start, c.end, c.blocked); (err != nil) != c.refused {
			t.Errorf("%s: refused %v, want %v", name, err, c.refused)
		}
	}
}

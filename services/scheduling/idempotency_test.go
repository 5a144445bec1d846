package scheduling_test

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/healthmed/healthmed/pkg/auth"
	"github.com/healthmed/healthmed/services/scheduling"
)

func TestIdempotencyKeyMakesRetriesSafe(t *testing.T) {
	s := start(t)
	doctor, patient, other := s.doctor(allWeek("09:00", "12:00")), s.person(auth.Patient), s.person(auth.Patient)
	free := s.slots(doctor.id, 1)
	first := s.must(201, patient, "POST", "/v1/appointments", booking(doctor, free[0].StartsAt), "Idempotency-Key", "a")
	again := s.must(201, patient, "POST", "/v1/appointments", booking(doctor, free[0].StartsAt), "Idempotency-Key", "a")
	if diff := cmp.Diff(string(first.body), string(again.body)); diff != "" {
		t.Error(diff)
	}
	if again.header.Get("Idempotent-Replayed") != "true" || first.header.Get("Idempotent-Replayed") != "" {
		t.Error("Idempotent-Replayed marks the wrong answer")
	}
	if got, want := again.header.Get("Location"), first.header.Get("Location"); got != want || want == "" {
		t.Errorf("Location of the replay %q, want %q", got, want)
	}
	if r := s.do(patient, "POST", "/v1/appointments", booking(doctor, free[1].StartsAt), "Idempotency-Key", "a"); r.status != 422 || r.problem() != "/problems/idempotency-key-reused" {
		t.Errorf("other body: %d %s", r.status, r.body)
	}
	s.must(201, other, "POST", "/v1/appointments", booking(doctor, free[1].StartsAt), "Idempotency-Key", "a") // keys are each caller's own

	id := first.field(t, "id")
	for range 2 {
		s.must(200, patient, "POST", "/v1/appointments/"+id+"/cancel", object{"reason": "x"}, "Idempotency-Key", "b")
	}
	if r := s.do(patient, "POST", "/v1/appointments/"+id+"/cancel", object{"reason": "x"}); r.problem() != "/problems/invalid-transition" {
		t.Errorf("cancelled twice: %s", r.body)
	}
	if diff := cmp.Diff([]string{"appointment.booked.v1 1", "appointment.cancelled.v1 2"}, s.told(id)); diff != "" {
		t.Error(diff)
	}
	s.clock.advance(72 * time.Hour) // the slot is past, but the first answer to the key stands
	s.must(201, patient, "POST", "/v1/appointments", booking(doctor, free[0].StartsAt), "Idempotency-Key", "a")
}

func TestSameKeyAtOnceBooksOnce(t *testing.T) {
	s := start(t)
	doctor, patient := s.doctor(allWeek("09:00", "12:00")), s.person(auth.Patient)
	for _, slot := range s.slots(doctor.id, 2) {
		var mu sync.Mutex
		var wg sync.WaitGroup
		ids, outcomes := map[string]bool{}, map[int]int{}
		for range 16 {
			wg.Go(func() {
				r, err := s.try(patient, "POST", "/v1/appointments", booking(doctor, slot.StartsAt), "Idempotency-Key", slot.StartsAt.String())
				mu.Lock()
				defer mu.Unlock()
				if err != nil {
					t.Error(err)
					return
				}
				outcomes[r.status]++
				switch {
				case r.status == 201:
					ids[r.field(t, "id")] = true
				case r.problem() != "/problems/idempotency-in-progress":
					t.Errorf("%d %s", r.status, r.body)
				}
			})
		}
		wg.Wait()
		if len(ids) != 1 || outcomes[201] == 0 {
			t.Fatalf("%d appointments, answers %v", len(ids), outcomes)
		}
	}
}

func TestRefusalIsTheFirstAnswerToo(t *testing.T) {
	s := start(t)
	doctor, patient, rival := s.doctor(allWeek("09:00", "12:00")), s.person(auth.Patient), s.person(auth.Patient)
	free := s.slots(doctor.id, 1)
	blocker := s.book(rival, doctor, free[0].StartsAt)
	refused := func(by person, path string, body any, problem string, headers ...string) reply {
		t.Helper()
		r := s.do(by, "POST", path, body, headers...)
		if r.problem() != "/problems/"+problem {
			t.Fatalf("%s: %d %s, want %s", path, r.status, r.body, problem)
		}
		return r
	}
	with := booking(doctor, free[0].StartsAt)
	with["hold_id"] = newID(t)
	past := object{"starts_at": free[0].StartsAt.AddDate(0, 0, -9)}
	for key, c := range map[string]struct {
		path, problem string
		body          any
		by            person
	}{
		"book":     {"/v1/appointments", "slot-taken", booking(doctor, free[0].StartsAt), patient},
		"no hold":  {"/v1/appointments", "hold-expired", with, patient},
		"off grid": {"/v1/appointments", "outside-availability", booking(doctor, free[0].StartsAt.Add(time.Minute)), patient},
		"hold":     {"/v1/holds", "slot-taken", booking(doctor, free[0].StartsAt), patient},
		"move":     {"/v1/appointments/" + blocker + "/reschedule", "too-soon", past, rival},
		"too soon": {"/v1/appointments/" + blocker + "/complete", "invalid-transition", nil, doctor},
	} {
		first := refused(c.by, c.path, c.body, c.problem, "Idempotency-Key", key, "Accept-Language", "en")
		again := refused(c.by, c.path, c.body, c.problem, "Idempotency-Key", key)
		if string(first.body) != string(again.body) || first.status != again.status {
			t.Errorf("%s: %d %s, then %d %s", key, first.status, first.body, again.status, again.body)
		}
		if first.header.Get("Idempotent-Replayed") != "" || again.header.Get("Idempotent-Replayed") != "true" ||
			again.header.Get("Content-Type") != "application/problem+json" {
			t.Errorf("%s: headers %v, then %v", key, first.header, again.header)
		}
	}
	// The slot comes free: what the patient was told stands for the key; a new key is a new attempt.
	s.must(200, rival, "POST", "/v1/appointments/"+blocker+"/cancel", object{"reason": "x"})
	refused(patient, "/v1/appointments", booking(doctor, free[0].StartsAt), "slot-taken", "Idempotency-Key", "book")
	refused(patient, "/v1/appointments", booking(doctor, free[1].StartsAt), "idempotency-key-reused", "Idempotency-Key", "book")
	refused(patient, "/v1/holds", booking(doctor, free[0].StartsAt), "idempotency-key-reused", "Idempotency-Key", "book")
	s.must(201, patient, "POST", "/v1/appointments", booking(doctor, free[0].StartsAt), "Idempotency-Key", "book again")
	s.must(201, rival, "POST", "/v1/appointments", booking(doctor, free[1].StartsAt), "Idempotency-Key", "book")

	// Neither what is not known here yet nor what is stale is remembered.
	late := s.person(auth.Doctor)
	refused(patient, "/v1/appointments", booking(late, free[2].StartsAt), "doctor-not-found", "Idempotency-Key", "late")
	s.must(200, late, "PUT", "/v1/doctors/"+late.id.String()+"/availability", allWeek("09:00", "12:00"))
	id := s.must(201, patient, "POST", "/v1/appointments", booking(late, free[2].StartsAt), "Idempotency-Key", "late").field(t, "id")
	cancel := "/v1/appointments/" + id + "/cancel"
	refused(patient, cancel, object{"reason": "x"}, "precondition-failed", "Idempotency-Key", "stale", "If-Match", `"7"`)
	s.must(200, patient, "POST", cancel, object{"reason": "x"}, "Idempotency-Key", "stale", "If-Match", `"1"`)
	for _, key := range []string{"", strings.Repeat("k", 256)} {
		if r := s.do(patient, "POST", "/v1/appointments", booking(doctor, free[3].StartsAt), "Idempotency-Key", key); r.status != 422 {
			t.Errorf("key of %d characters: %d %s", len(key), r.status, r.body)
		}
	}
}

// A request whose transaction is still open has its answer neither made nor refused: the second is told to wait.
func TestSecondRequestWhileTheFirstRuns(t *testing.T) {
	s := start(t)
	doctor, patient := s.doctor(allWeek("09:00", "12:00")), s.person(auth.Patient)
	free := s.slots(doctor.id, 1)
	tx, err := s.db.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback(context.Background()) }()
	// Another booking of the slot that is not decided yet makes the first request wait.
	if _, err := tx.Exec(t.Context(), `INSERT INTO appointments (id, doctor_id, patient_id, status, starts_at, ends_at,
blocked_until, time_zone, version, created_at, updated_at)
VALUES ($1, $2, $3, 'booked', $4, $5, $5, 'UTC', 1, now(), now())`, newID(t), doctor.id, newID(t), free[0].StartsAt, free[0].EndsAt); err != nil {
		t.Fatal(err)
	}
	first := make(chan reply, 1)
	go func() {
		r, err := s.try(patient, "POST", "/v1/appointments", booking(doctor, free[0].StartsAt), "Idempotency-Key", "k")
		if err != nil {
			t.Error(err)
		}
		first <- r
	}()
	eventually(t, "the first request waits", func() bool {
		return s.count(`SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 1 AND database =
(SELECT oid FROM pg_database WHERE datname = current_database()) AND pid IN (SELECT pid FROM pg_locks WHERE NOT granted)`) == 1
	})
	for _, body := range []object{booking(doctor, free[0].StartsAt), booking(doctor, free[1].StartsAt)} {
		if r := s.do(patient, "POST", "/v1/appointments", body, "Idempotency-Key", "k"); r.status != 409 || r.problem() != "/problems/idempotency-in-progress" {
			t.Errorf("%d %s", r.status, r.body)
		}
	}
	if err := tx.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	r := <-first
	if r.status != 201 {
		t.Fatalf("%d %s", r.status, r.body)
	}
	again := s.must(201, patient, "POST", "/v1/appointments", booking(doctor, free[0].StartsAt), "Idempotency-Key", "k")
	if string(again.body) != string(r.body) {
		t.Errorf("%s, then %s", r.body, again.body)
	}
}

// Between a refusal and its being remembered, a repetition may have begun, which then finds the key taken at its end.
func TestKeyTakenWhileARequestRuns(t *testing.T) {
	s := start(t, func(c *scheduling.Config) {
		c.Postgres.LockTimeout, c.Postgres.StatementTimeout = 20*time.Second, 20*time.Second
	})
	doctor, patient := s.doctor(allWeek("09:00", "12:00")), s.person(auth.Patient)
	id := s.book(patient, doctor, s.slots(doctor.id, 1)[0].StartsAt)
	tx, err := s.db.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback(context.Background()) }()
	if _, err := tx.Exec(t.Context(), `SELECT FROM appointments WHERE id = $1 FOR UPDATE`, id); err != nil {
		t.Fatal(err)
	}
	answered := make(chan reply, 1)
	go func() {
		r, err := s.try(patient, "POST", "/v1/appointments/"+id+"/cancel", object{"reason": "x"}, "Idempotency-Key", "k")
		if err != nil {
			t.Error(err)
		}
		answered <- r
	}()
	eventually(t, "the request waits for the appointment", func() bool {
		return s.count(`SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`) == 1
	})
	if _, err := s.db.Exec(t.Context(), `INSERT INTO idempotency_keys (caller, key, fingerprint, status, location, body, created_at)
VALUES ($1, 'k', '\x00', 409, '', '{}', now())`, patient.id); err != nil {
		t.Fatal(err)
	}
	if err := tx.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	if r := <-answered; r.status != 422 || r.problem() != "/problems/idempotency-key-reused" {
		t.Errorf("%d %s", r.status, r.body)
	}
	if got := s.history(patient, id); len(got) != 1 {
		t.Errorf("cancelled all the same: %v", got)
	}
}

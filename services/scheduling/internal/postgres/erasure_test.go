package postgres

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/healthmed/healthmed/services/scheduling/internal/booking"
)

// erasing is a clinic whose store has a clock that the test moves.
type erasing struct {
	*clinic
	store *Store
	ahead atomic.Int64
}

func newErasing(t *testing.T) *erasing {
	t.Helper()
	e := &erasing{clinic: newClinic(t, 1, 0)}
	e.lockTimeout = 10 * time.Second // one attempt, with one snapshot
	e.store = New(Config{Pool: e.db, Now: func() time.Time { return time.Now().Add(time.Duration(e.ahead.Load())) }})
	return e
}

func (e *erasing) erase(person uuid.UUID, role booking.Role) {
	e.t.Helper()
	if err := e.store.ErasePerson(e.t.Context(), Erased{ID: person, Role: role, Version: 2, At: time.Now()}); err != nil {
		e.t.Fatal(err)
	}
}

// settle takes both looks.
func (e *erasing) settle() {
	e.t.Helper()
	for range 2 {
		for {
			n, err := e.store.SettleDepartures(e.t.Context())
			if err != nil {
				e.t.Fatal(err)
			}
			if n == 0 {
				break
			}
		}
		e.ahead.Add(int64(bookingsLast + time.Second))
	}
}

// texts is how much there is of each kind that tells something of a patient or doctor.
func (e *erasing) texts(person uuid.UUID) map[string]int {
	e.t.Helper()
	left := map[string]int{}
	for kind, sql := range map[string]string{
		"reasons":   `SELECT count(*) FROM appointments WHERE patient_id = $1 AND reason IS NOT NULL`,
		"notes":     `SELECT count(*) FROM appointment_history h JOIN appointments a ON a.id = appointment_id WHERE (patient_id = $1 OR doctor_id = $1) AND note IS NOT NULL`,
		"answers":   `SELECT count(*) FROM idempotency_keys WHERE caller = $1`,
		"others":    `SELECT count(*) FROM idempotency_keys WHERE convert_from(body, 'UTF8') LIKE '%' || $1::text || '%' AND convert_from(body, 'UTF8') LIKE '%secret%'`,
		"places":    `SELECT count(*) FROM waitlist WHERE patient_id = $1`,
		"calendars": `SELECT count(*) FROM calendars WHERE owner_id = $1`,
		"occupied":  `SELECT count(*) FROM appointments WHERE patient_id = $1 AND starts_at > now() AND status IN ('held', 'requested', 'booked')`,
	} {
		var n int
		if err := e.db.QueryRow(e.t.Context(), sql, person).Scan(&n); err != nil {
			e.t.Fatal(err)
		}
		if n > 0 {
			left[kind] = n
		}
	}
	return left
}

func (e *erasing) exec(sql string, args ...any) {
	e.t.Helper()
	if _, err := e.db.Exec(e.t.Context(), sql, args...); err != nil {
		e.t.Fatal(err)
	}
}

// A booking that waits for the time while its patient is erased has asked already whether they are still there.
func TestErasure_ForgetsTheBookingUnderWay(t *testing.T) {
	t.Parallel()
	e := newErasing(t)
	patient := uuid.New()
	rival := e.open(e.doctors[0], uuid.New(), e.at)
	row := aBooking(e.doctors[0], patient, e.at, "k")
	row.change.Reason = "secret"
	result := make(chan bool, 1)
	go func() {
		_, done, err := e.write(t.Context(), row)
		result <- done && err == nil
	}()
	for waits := 0; waits == 0; {
		if err := e.db.QueryRow(t.Context(), `SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`).Scan(&waits); err != nil {
			t.Fatal(err)
		}
	}
	e.erase(patient, booking.Patient)
	if err := rival.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	if !<-result {
		t.Fatal("the booking was not under way")
	}
	if diff := cmp.Diff(map[string]int{"reasons": 1, "answers": 1, "occupied": 1}, e.texts(patient)); diff != "" {
		t.Fatal(diff)
	}
	e.settle()
	if left := e.texts(patient); len(left) > 0 {
		t.Errorf("left of an erased patient: %v", left)
	}
}

// Whatever else commits late, of whichever status and time, is gone after the last look too.
func TestErasure_ForgetsAllThatCommitsLate(t *testing.T) {
	t.Parallel()
	e := newErasing(t)
	patient, doctor := uuid.New(), uuid.New()
	e.erase(patient, booking.Patient)
	e.erase(doctor, booking.Doctor)
	e.exec(`INSERT INTO appointments (id, doctor_id, patient_id, status, starts_at, ends_at, blocked_until, time_zone, reason, version,
    created_at, updated_at)
SELECT gen_random_uuid(), $2, $1, status, at, at + interval '30 minutes', at + interval '30 minutes', 'UTC', 'secret', 1, now(), now()
FROM unnest('{declined,cancelled,completed,no_show,booked}'::text[]) WITH ORDINALITY AS s (status, n), LATERAL (
    SELECT now() + sign * n * interval '1 day' AS at FROM unnest('{-1,1}'::int[]) AS sign) AS t`, patient, doctor)
	e.exec(`INSERT INTO appointment_history (appointment_id, version, action, status, actor_role, actor_id, note, starts_at, ends_at, at)
SELECT id, 1, status, status, 'doctor', doctor_id, 'secret', starts_at, ends_at, now() FROM appointments`)
	e.exec(`INSERT INTO waitlist (id, patient_id, specialty, from_date, to_date, status, created_at, updated_at)
SELECT gen_random_uuid(), $1, 'psychiatry', current_date, current_date, status, now(), now()
FROM unnest('{waiting,offered,missed}'::text[]) AS status`, patient)
	e.exec(`INSERT INTO idempotency_keys (caller, key, fingerprint, status, location, body, created_at) VALUES ($1, 'k', '', 201, '', 'secret', now())`, patient)
	told := []byte(`{"patient_id":"` + patient.String() + `","reason":"secret"}`)
	var late pgx.Batch
	Request{Caller: doctor, Key: "doctor"}.queue(&late, Answer{Status: 200, Body: told}, patient, time.Now())
	if err := e.db.SendBatch(t.Context(), &late).Close(); err != nil {
		t.Fatal(err)
	}
	admin := aBooking(e.doctors[0], patient, e.at, "admin")
	admin.change.Reason, admin.req.Caller, admin.answer.Body = "secret", uuid.New(), told
	e.exec(`DELETE FROM people WHERE id = $1`, patient) // the statement's snapshot is older than the tombstone
	if got := e.group(admin); !got[0].done {
		t.Fatalf("%+v", got)
	}
	e.exec(erasePerson, patient, "patient", 2, time.Now())
	e.exec(`INSERT INTO calendars (owner_id, role, token_hash, include_names, created_at) VALUES ($1, 'patient', 'x', false, now())`, patient)
	e.settle()
	for _, person := range []uuid.UUID{patient, doctor} {
		if left := e.texts(person); len(left) > 0 {
			t.Errorf("left: %v", left)
		}
	}
}

// A doctor who was rejected has left as well, but nobody asked for what they and their patients wrote to be forgotten.
func TestErasure_ForgetsNothingOfADoctorWhoWasRejected(t *testing.T) {
	t.Parallel()
	e := newErasing(t)
	doctor := e.doctors[0]
	row := aBooking(doctor, uuid.New(), e.at, "k")
	row.change.Reason = "sore throat"
	if got := e.group(row); !got[0].done {
		t.Fatalf("%+v", got)
	}
	e.exec(`UPDATE appointment_history SET note = 'note'`)
	e.exec(`INSERT INTO schedule_exceptions (doctor_id, day, hours, note) VALUES ($1, '2040-01-01', '[]', 'holiday')`, doctor)
	if err := e.store.SavePerson(t.Context(), Person{ID: doctor, Role: booking.Doctor, Status: "rejected", Version: 1}); err != nil {
		t.Fatal(err)
	}
	e.settle()
	var kept, occupied int
	if err := e.db.QueryRow(t.Context(), `SELECT (SELECT count(*) FROM appointments WHERE reason IS NOT NULL)
    + (SELECT count(*) FROM appointment_history WHERE note IS NOT NULL) + (SELECT count(*) FROM schedule_exceptions WHERE note IS NOT NULL),
    (SELECT count(*) FROM appointments WHERE status = 'booked')`).Scan(&kept, &occupied); err != nil {
		t.Fatal(err)
	}
	if kept != 3 || occupied != 0 {
		t.Errorf("%d of 3 texts are kept, %d appointments are left", kept, occupied)
	}
}

// Notes about somebody who was erased aren't kept, however much later they are written, nor refusals to them.
func TestErasure_KeepsNothingWrittenAfterwards(t *testing.T) {
	t.Parallel()
	e := newErasing(t)
	patient, doctor := uuid.New(), booking.Actor{Role: booking.Doctor, ID: e.doctors[0]}
	row := aBooking(doctor.ID, patient, e.at, "k")
	if got := e.group(row); !got[0].done {
		t.Fatalf("%+v", got)
	}
	e.exec(`UPDATE appointments SET starts_at = starts_at - interval '9 days', ends_at = ends_at - interval '9 days', blocked_until = ends_at - interval '9 days'`)
	e.erase(patient, booking.Patient)
	e.settle()
	cancel := func(by booking.Actor, key string) error {
		_, err := e.store.Change(t.Context(), Transition{ID: row.change.ID, By: by,
			Decide: func(a booking.Appointment, _ *booking.Schedule, now time.Time) (booking.Change, error) {
				return a.Cancel(by, "secret", 0, now)
			}}, Request{Caller: by.ID, Key: key, Refusal: func(err error) (Answer, bool) {
			return Answer{Status: 409, Body: []byte(err.Error())}, true
		}}, func(booking.Appointment) (Answer, error) { return Answer{Status: 200, Body: []byte("{}")}, nil })
		return err
	}
	if err := cancel(doctor, ""); err != nil {
		t.Fatal(err)
	}
	if err := cancel(booking.Actor{Role: booking.Patient, ID: patient}, "late"); err == nil {
		t.Fatal("cancelled twice")
	}
	if left := e.texts(patient); len(left) > 0 {
		t.Errorf("left of an erased patient: %v", left)
	}
}

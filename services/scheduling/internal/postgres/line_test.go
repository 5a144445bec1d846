package postgres_test

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"pgregory.net/rapid"

	"github.com/healthmed/healthmed/services/scheduling/internal/booking"
)

// wait puts somebody in line.
func (m *machine) wait(t *rapid.T) {
	date, _ := local(m.now())
	from := date + booking.Date(rapid.IntRange(0, 2).Draw(t, "from"))
	w := booking.Wait{PatientID: rapid.SampledFrom(m.patients).Draw(t, "patient"), From: from,
		To: from + booking.Date(rapid.IntRange(0, 1).Draw(t, "days"))}
	if rapid.Bool().Draw(t, "for a doctor") {
		w.DoctorID = rapid.SampledFrom(m.doctors).Draw(t, "doctor")
	} else {
		w.Specialty = m.specialty
	}
	open := 0
	for _, other := range m.waits {
		if other.patient == w.PatientID && (other.status == booking.Waiting || other.status == booking.Offered) {
			open++
		}
	}
	joined, err := m.store(t).Join(context.Background(), w)
	if open >= booking.MaxWaiting != errors.Is(err, booking.ErrTooManyWaiting) || open < booking.MaxWaiting && err != nil {
		t.Fatalf("join as number %d: %v", open+1, err)
	}
	if err == nil {
		m.waits = append(m.waits, &wait{id: joined.ID, patient: w.PatientID, doctor: w.DoctorID, from: w.From, to: w.To, status: booking.Waiting})
	}
}

func (m *machine) leaveLine(t *rapid.T) {
	if len(m.waits) == 0 {
		t.Skip("nobody in line")
	}
	w := rapid.SampledFrom(m.waits).Draw(t, "place")
	err := m.store(t).Leave(context.Background(), w.id, w.patient)
	var offer *entry
	for _, e := range m.entries {
		if e.wait == w && e.status == booking.Held {
			offer = e
		}
	}
	gone := offer != nil && !offer.occupies(m.now()) // it may have been removed by whoever it was in the way of
	open := w.status == booking.Waiting || w.status == booking.Offered
	if open != (err == nil) && !gone || err != nil && !errors.Is(err, booking.ErrNotFound) {
		t.Fatalf("leaving a place that is %s: %v", w.status, err)
	}
	if err != nil {
		return
	}
	w.status = booking.Withdrawn
	for i, e := range m.entries {
		if e == offer {
			m.entries = append(m.entries[:i], m.entries[i+1:]...)
			m.keep(e.doctor, e.start, e.blocked, m.now())
			break
		}
	}
}

// workAndCompare does what is due, with all places in line looked at, and holds the offers that are made against what
// they must be: of free time, to the first in line who can use it, and to everybody for whom there is some.
func (m *machine) workAndCompare(t *rapid.T) {
	m.advance(61 * time.Minute)
	now := m.now()
	m.expire(now)
	if err := m.world.work(context.Background(), m.store(t)); err != nil {
		t.Fatal(err)
	}
	offers := m.newOffers(t)
	for _, e := range offers {
		end, blocked, err := m.fit(e.doctor, e.start, now)
		if err == nil {
			err = m.inWay(e.doctor, e.patient, e.start, end, blocked, now, nil)
		}
		if err != nil || !end.Equal(e.end) || !blocked.Equal(e.blocked) || !e.expires.Equal(earlier(now.Add(booking.OfferFor), e.start)) ||
			!m.wants(e.wait, e.doctor, e.start, e.end, now) {
			t.Fatalf("offer %+v to %+v: %v", *e, *e.wait, err)
		}
		e.wait.status = booking.Offered
		m.entries = append(m.entries, e)
	}
	for i, w := range m.waits {
		for _, e := range offers {
			if slices.Contains(m.waits[i+1:], e.wait) && m.wants(w, e.doctor, e.start, e.end, now) {
				t.Fatalf("%+v was passed over by %+v, who got %+v", *w, *e.wait, *e)
			}
		}
		for _, doctor := range m.doctors {
			for _, start := range m.free(doctor, w.from, w.to, now) {
				if end, _, _ := m.fit(doctor, start, now); m.wants(w, doctor, start, end, now) {
					t.Fatalf("%+v waits though %s is free at %s", *w, doctor, start)
				}
			}
		}
	}
}

// newOffers are those that the model doesn't know yet, in the order in which they were made.
func (m *machine) newOffers(t *rapid.T) (offers []*entry) {
	rows, err := m.db.Query(context.Background(), `SELECT a.id, a.doctor_id, a.patient_id, a.status, a.starts_at, a.ends_at,
a.blocked_until, a.expires_at, w.id FROM waitlist w JOIN appointments a ON a.id = w.hold_id
WHERE w.patient_id = ANY ($1) AND w.status = 'offered' ORDER BY a.id`, m.patients)
	if err != nil {
		t.Fatal(err)
	}
	var e entry
	var id uuid.UUID
	if _, err := pgx.ForEachRow(rows, []any{&e.id, &e.doctor, &e.patient, &e.status, &e.start, &e.end, &e.blocked, &e.expires, &id}, func() error {
		for _, w := range m.waits {
			if w.id == id && w.status == booking.Waiting {
				offer := e
				offer.wait = w
				offers = append(offers, &offer)
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return offers
}

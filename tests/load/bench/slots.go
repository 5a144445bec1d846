package bench

import (
	"sync/atomic"
	"time"

	"github.com/healthmed/healthmed/tests/load/fill"
)

// Slots gives out free slots, each once, so that bookings meet only where a scenario wants them to.
type Slots struct {
	data        *fill.Data
	next, spare atomic.Int64
}

func newSlots(d *fill.Data) *Slots { return &Slots{data: d} }

// Slot is a free time of a doctor, and a patient who is free then.
type Slot struct {
	n               int
	Doctor, Patient fill.Person
	StartsAt        time.Time
}

// Next is a slot that nobody has had. Consecutive ones are of different doctors and patients, so that load is spread.
func (s *Slots) Next() Slot {
	n := int(s.next.Add(1) - 1)
	doctors, patients := s.data.Doctors, s.data.Bookers()
	return Slot{n: n, Doctor: doctors[n%len(doctors)], Patient: patients[n%len(patients)], StartsAt: s.data.FreeStart(n / len(doctors))}
}

// Order is the place of a slot among those that Next gave.
func (s Slot) Order() int { return s.n }

// Reserve sets count times aside, apart from Next's, for scenarios that choose doctors and patients themselves. Time i
// of the answer is free for the i-th of consecutive doctors, and for the i-th of consecutive patients: as many
// following ones as there are doctors share a start, so none of them may come twice among those.
func (s *Slots) Reserve(count int) func(i int) time.Time {
	doctors := len(s.data.Doctors)
	starts := (count + doctors - 1) / doctors
	first := int(s.spare.Add(int64(starts))) - starts
	return func(i int) time.Time { return s.data.SpareStart(first + i/doctors) }
}

// Left says how many slots Next can still give.
func (s *Slots) Left() int {
	return len(s.data.Doctors)*s.data.FreeStarts() - int(s.next.Load())
}

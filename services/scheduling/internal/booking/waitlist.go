package booking

import (
	"cmp"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/healthmed/healthmed/pkg/events"
)

// WaitStatus of a place in line.
type WaitStatus string

// Wait statuses. A place ends when its one offer is booked, refused or lapses: the next in line must not wait for
// someone who doesn't answer. The patient may join again.
const (
	Waiting   WaitStatus = "waiting"
	Offered   WaitStatus = "offered"
	Fulfilled WaitStatus = "fulfilled"
	Missed    WaitStatus = "missed"    // the offer lapsed or was refused
	Withdrawn WaitStatus = "withdrawn" // by the patient
	Ended     WaitStatus = "ended"     // the last date passed without an offer
)

// Wait is a patient's place in line for a doctor, or for any doctor of a specialty, on the dates From..To.
type Wait struct {
	ID        uuid.UUID
	Place     int64 // first come, first served
	PatientID uuid.UUID
	DoctorID  uuid.UUID // nil when waiting for a specialty
	Specialty string
	From, To  Date // in the doctor's zone, both included
	Status    WaitStatus
	HoldID    uuid.UUID // the offer, once there is one
	CreatedAt time.Time
	UpdatedAt time.Time
}

// Matches says whether a slot of the schedule is what the patient waits for. The caller has matched doctor and
// specialty already.
func (w Wait) Matches(s *Schedule, slot Slot) bool {
	date := DateOf(slot.StartsAt, s.zone)
	return w.Status == Waiting && w.From <= date && date <= w.To
}

// Line assigns free slots to those who wait, in order of place: each slot to the first in line that it suits and
// that has no offer yet. try attempts one offer and says whether it was made; a patient who is busy then is passed
// over, and a slot that has been taken meanwhile (gone) is left out. It returns the slots that nobody got.
func Line(s *Schedule, slots []Slot, waits []Wait, try func(Wait, Slot) (offered, gone bool, err error)) (left []Slot, err error) {
	waits = slices.Clone(waits)
	slices.SortFunc(waits, func(a, b Wait) int { return cmp.Compare(a.Place, b.Place) })
	for _, slot := range slots {
		free := true
		for i := range waits {
			if !waits[i].Matches(s, slot) {
				continue
			}
			offered, gone, err := try(waits[i], slot)
			if err != nil {
				return nil, err
			}
			if offered {
				waits[i].Status = Offered
			}
			if offered || gone {
				free = false
				break
			}
		}
		if free {
			left = append(left, slot)
		}
	}
	return left, nil
}

// OfferEvent tells the patient's side that a hold was made for the entry.
func OfferEvent(w Wait, h Hold) events.Event {
	return &events.WaitlistOffered{
		EntryID: w.ID, DoctorID: h.DoctorID, PatientID: h.PatientID, HoldID: h.ID,
		StartsAt: h.Slot.StartsAt, EndsAt: h.Slot.EndsAt, TimeZone: h.TimeZone,
		ExpiresAt: h.ExpiresAt, OccurredAt: h.CreatedAt,
	}
}

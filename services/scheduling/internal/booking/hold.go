package booking

import (
	"time"

	"github.com/google/uuid"
)

// Hold keeps a slot for one patient until it expires. It becomes an appointment of the same id when booked.
type Hold struct {
	ID           uuid.UUID
	DoctorID     uuid.UUID
	PatientID    uuid.UUID
	Slot         Slot
	BlockedUntil time.Time
	TimeZone     string
	ExpiresAt    time.Time
	CreatedAt    time.Time
	WaitlistID   uuid.UUID // the entry that it was offered to; nil for a patient's own hold
}

// Lapsed is the latest expiry of holds whose time is anybody's. What ran out later is still the waitlist's, so that the
// next in line doesn't have to race passers-by.
func Lapsed(now time.Time) time.Time { return now.Add(-LineFirst) }

// Hold keeps the slot that begins at start for the patient, until now plus lasting, or until it begins.
func (s *Schedule) Hold(id, patient uuid.UUID, start time.Time, lasting time.Duration, now time.Time) (Hold, error) {
	slot, err := s.SlotAt(start, now)
	if err != nil {
		return Hold{}, err
	}
	expires := now.Add(lasting)
	if slot.StartsAt.Before(expires) {
		expires = slot.StartsAt
	}
	return Hold{
		ID: id, DoctorID: s.DoctorID, PatientID: patient, Slot: slot,
		BlockedUntil: slot.EndsAt.Add(time.Duration(s.bufferLength()) * time.Second),
		TimeZone:     s.Availability.TimeZone, ExpiresAt: expires, CreatedAt: now,
	}, nil
}

// Book turns the hold into an appointment. What was held is kept, whatever the availability has become since;
// start, when given, must be the slot that is held.
func (h Hold) Book(mode Mode, start time.Time, reason string, by Actor, now time.Time) (Change, error) {
	if !now.Before(h.ExpiresAt) || !start.IsZero() && !start.Equal(h.Slot.StartsAt) {
		return Change{}, ErrHoldExpired
	}
	return newAppointment(Appointment{
		ID: h.ID, DoctorID: h.DoctorID, PatientID: h.PatientID, Slot: h.Slot,
		BlockedUntil: h.BlockedUntil, TimeZone: h.TimeZone, Reason: reason,
	}, mode, by, now), nil
}

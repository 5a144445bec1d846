package events

import (
	"time"

	"github.com/google/uuid"
)

const (
	availabilityChanged = "scheduling.availability.changed.v1"
	waitlistOffered     = "scheduling.waitlist.offered.v1"
)

// AvailabilityChanged says that a doctor's hours, exceptions or booking rules changed: slots read earlier are stale.
type AvailabilityChanged struct {
	DoctorID   uuid.UUID `json:"doctor_id"`
	Version    int64     `json:"version"` // equals the envelope's sequence
	OccurredAt time.Time `json:"occurred_at"`
}

func (e *AvailabilityChanged) Type() string           { return typePrefix + availabilityChanged }
func (e *AvailabilityChanged) Source() string         { return sourceScheduling }
func (e *AvailabilityChanged) AggregateID() uuid.UUID { return e.DoctorID }
func (e *AvailabilityChanged) Subject() string        { return subject(availabilityChanged, e.DoctorID) }
func (e *AvailabilityChanged) At() time.Time          { return e.OccurredAt.UTC() }
func (e *AvailabilityChanged) version() int64         { return e.Version }

func (e *AvailabilityChanged) check(f *faults) {
	f.id("doctor_id", e.DoctorID)
	f.version(e.Version)
	f.when("occurred_at", e.OccurredAt)
}

// WaitlistOffered says that freed time is kept, as a hold, for a patient who waited, until ExpiresAt.
type WaitlistOffered struct {
	EntryID    uuid.UUID `json:"entry_id"`
	DoctorID   uuid.UUID `json:"doctor_id"`
	PatientID  uuid.UUID `json:"patient_id"`
	HoldID     uuid.UUID `json:"hold_id"`
	StartsAt   time.Time `json:"starts_at"`
	EndsAt     time.Time `json:"ends_at"`
	TimeZone   string    `json:"time_zone"` // the doctor's, IANA
	ExpiresAt  time.Time `json:"expires_at"`
	OccurredAt time.Time `json:"occurred_at"`
}

func (e *WaitlistOffered) Type() string           { return typePrefix + waitlistOffered }
func (e *WaitlistOffered) Source() string         { return sourceScheduling }
func (e *WaitlistOffered) AggregateID() uuid.UUID { return e.EntryID }
func (e *WaitlistOffered) Subject() string        { return subject(waitlistOffered, e.DoctorID, e.EntryID) }
func (e *WaitlistOffered) At() time.Time          { return e.OccurredAt.UTC() }

func (e *WaitlistOffered) check(f *faults) {
	f.id("entry_id", e.EntryID)
	f.id("doctor_id", e.DoctorID)
	f.id("patient_id", e.PatientID)
	f.id("hold_id", e.HoldID)
	f.interval("", e.StartsAt, e.EndsAt)
	f.match("time_zone", e.TimeZone, zonePattern)
	f.when("expires_at", e.ExpiresAt)
	f.when("occurred_at", e.OccurredAt)
}

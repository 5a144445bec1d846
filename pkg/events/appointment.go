package events

import (
	"time"

	"github.com/google/uuid"
)

const (
	appointmentRequested   = "scheduling.appointment.requested.v1"
	appointmentBooked      = "scheduling.appointment.booked.v1"
	appointmentDeclined    = "scheduling.appointment.declined.v1"
	appointmentRescheduled = "scheduling.appointment.rescheduled.v1"
	appointmentCancelled   = "scheduling.appointment.cancelled.v1"
	appointmentCompleted   = "scheduling.appointment.completed.v1"
	appointmentNoShow      = "scheduling.appointment.no_show.v1"
)

// Actor is who caused a transition.
type Actor struct {
	Role string    `json:"role"` // patient, doctor, admin, system
	ID   uuid.UUID `json:"id"`   // the nil UUID for system
}

func (a Actor) check(f *faults, name string) {
	f.oneOf(name+".role", a.Role, "patient", "doctor", "admin", "system")
	if a.Role != "system" {
		f.id(name+".id", a.ID)
	}
}

// Interval is the time that an appointment had before it was moved.
type Interval struct {
	StartsAt time.Time `json:"starts_at"`
	EndsAt   time.Time `json:"ends_at"`
}

// Appointment is what every appointment event carries.
type Appointment struct {
	AppointmentID uuid.UUID `json:"appointment_id"`
	DoctorID      uuid.UUID `json:"doctor_id"`
	PatientID     uuid.UUID `json:"patient_id"`
	StartsAt      time.Time `json:"starts_at"`
	EndsAt        time.Time `json:"ends_at"`
	TimeZone      string    `json:"time_zone"` // the doctor's, IANA
	Status        string    `json:"status"`    // after the event
	Version       int64     `json:"version"`   // equals the envelope's sequence
	Actor         Actor     `json:"actor"`
	OccurredAt    time.Time `json:"occurred_at"`
}

// Source is the scheduling service.
func (e *Appointment) Source() string { return sourceScheduling }

// AggregateID is the appointment's id.
func (e *Appointment) AggregateID() uuid.UUID { return e.AppointmentID }

// At is when it occurred, UTC.
func (e *Appointment) At() time.Time { return e.OccurredAt.UTC() }

func (e *Appointment) version() int64 { return e.Version }

func (e *Appointment) subject(name string) string {
	return subject(name, e.DoctorID, e.AppointmentID)
}

func (e *Appointment) checkAs(f *faults, statuses ...string) {
	f.id("appointment_id", e.AppointmentID)
	f.id("doctor_id", e.DoctorID)
	f.id("patient_id", e.PatientID)
	f.interval("", e.StartsAt, e.EndsAt)
	f.match("time_zone", e.TimeZone, zonePattern)
	f.oneOf("status", e.Status, statuses...)
	f.version(e.Version)
	e.Actor.check(f, "actor")
	f.when("occurred_at", e.OccurredAt)
}

// AppointmentRequested says that a patient asked a doctor who approves each appointment. The time is taken meanwhile.
type AppointmentRequested struct{ Appointment }

func (e *AppointmentRequested) Type() string    { return typePrefix + appointmentRequested }
func (e *AppointmentRequested) Subject() string { return e.subject(appointmentRequested) }
func (e *AppointmentRequested) check(f *faults) { e.checkAs(f, "requested") }

// AppointmentBooked says that the appointment is firm: booked at once, or by the doctor's confirmation (Actor tells).
type AppointmentBooked struct{ Appointment }

func (e *AppointmentBooked) Type() string    { return typePrefix + appointmentBooked }
func (e *AppointmentBooked) Subject() string { return e.subject(appointmentBooked) }
func (e *AppointmentBooked) check(f *faults) { e.checkAs(f, "booked") }

// AppointmentDeclined says that a request was refused; one that lapsed is declined by the actor system.
type AppointmentDeclined struct{ Appointment }

func (e *AppointmentDeclined) Type() string    { return typePrefix + appointmentDeclined }
func (e *AppointmentDeclined) Subject() string { return e.subject(appointmentDeclined) }
func (e *AppointmentDeclined) check(f *faults) { e.checkAs(f, "declined") }

// AppointmentRescheduled says that the appointment was moved; it keeps its id.
type AppointmentRescheduled struct {
	Appointment
	Previous Interval `json:"previous"`
}

func (e *AppointmentRescheduled) Type() string    { return typePrefix + appointmentRescheduled }
func (e *AppointmentRescheduled) Subject() string { return e.subject(appointmentRescheduled) }
func (e *AppointmentRescheduled) check(f *faults) {
	e.checkAs(f, "requested", "booked")
	f.interval("previous.", e.Previous.StartsAt, e.Previous.EndsAt)
}

// AppointmentCancelled says that the appointment will not take place; its time is free again.
type AppointmentCancelled struct {
	Appointment
	CancelledBy Actor `json:"cancelled_by"`
}

func (e *AppointmentCancelled) Type() string    { return typePrefix + appointmentCancelled }
func (e *AppointmentCancelled) Subject() string { return e.subject(appointmentCancelled) }
func (e *AppointmentCancelled) check(f *faults) {
	e.checkAs(f, "cancelled")
	e.CancelledBy.check(f, "cancelled_by")
}

// AppointmentCompleted says that the appointment took place.
type AppointmentCompleted struct{ Appointment }

func (e *AppointmentCompleted) Type() string    { return typePrefix + appointmentCompleted }
func (e *AppointmentCompleted) Subject() string { return e.subject(appointmentCompleted) }
func (e *AppointmentCompleted) check(f *faults) { e.checkAs(f, "completed") }

// AppointmentNoShow says that the patient did not come.
type AppointmentNoShow struct{ Appointment }

func (e *AppointmentNoShow) Type() string    { return typePrefix + appointmentNoShow }
func (e *AppointmentNoShow) Subject() string { return e.subject(appointmentNoShow) }
func (e *AppointmentNoShow) check(f *faults) { e.checkAs(f, "no_show") }

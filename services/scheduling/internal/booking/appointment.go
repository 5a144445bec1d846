package booking

import (
	"time"

	"github.com/google/uuid"

	"github.com/healthmed/healthmed/pkg/events"
)

// Status of an appointment.
type Status string

// Statuses. Held time isn't an appointment yet (see Hold); it shares the column because it shares the constraints.
const (
	Held      Status = "held"
	Requested Status = "requested"
	Booked    Status = "booked"
	Declined  Status = "declined"
	Cancelled Status = "cancelled"
	Completed Status = "completed"
	NoShow    Status = "no_show"
)

// Occupies says whether the status takes time from doctor and patient.
func (s Status) Occupies() bool { return s == Held || s == Requested || s == Booked }

// Action is what happened in a transition, as history tells it.
type Action string

// Actions.
const (
	ActionRequested   Action = "requested"
	ActionBooked      Action = "booked"
	ActionConfirmed   Action = "confirmed"
	ActionDeclined    Action = "declined"
	ActionLapsed      Action = "lapsed"
	ActionRescheduled Action = "rescheduled"
	ActionCancelled   Action = "cancelled"
	ActionCompleted   Action = "completed"
	ActionNoShow      Action = "no_show"
)

// Appointment is a patient's time with a doctor. Its id stays for life, through every move.
type Appointment struct {
	ID           uuid.UUID
	DoctorID     uuid.UUID
	PatientID    uuid.UUID
	Status       Status
	Slot         Slot
	BlockedUntil time.Time // end of the slot and of the doctor's buffer after it
	TimeZone     string    // the doctor's when booked or last moved
	Reason       string    // why the patient comes; only the two of them read it
	Version      int64     // from 1; one more with each transition
	ExpiresAt    time.Time // a request lapses then; zero otherwise
	CreatedAt    time.Time
	UpdatedAt    time.Time
}

// Change is one transition: the appointment as it is afterwards, and who did what. Each is one row of history and
// one event.
type Change struct {
	Appointment
	Action   Action
	By       Actor
	Note     string // the reason given for it, if any
	Previous Slot   // before a move; zero otherwise
	// PreviousBlockedUntil is the end of the doctor's buffer after Previous.
	PreviousBlockedUntil time.Time
}

// Entry is one line of an appointment's history.
type Entry struct {
	Version int64
	Action  Action
	Status  Status
	By      Actor
	Note    string
	Slot    Slot
	At      time.Time
}

// Book makes an appointment at start, firm or (in approval mode) as a request that waits for the doctor.
func (s *Schedule) Book(id, patient uuid.UUID, start time.Time, reason string, by Actor, now time.Time) (Change, error) {
	slot, err := s.SlotAt(start, now)
	if err != nil {
		return Change{}, err
	}
	return newAppointment(Appointment{
		ID: id, DoctorID: s.DoctorID, PatientID: patient, Slot: slot,
		BlockedUntil: slot.EndsAt.Add(time.Duration(s.bufferLength()) * time.Second),
		TimeZone:     s.Availability.TimeZone, Reason: reason,
	}, s.Availability.Mode, by, now), nil
}

func newAppointment(a Appointment, mode Mode, by Actor, now time.Time) Change {
	a.Version, a.CreatedAt, a.UpdatedAt = 1, now, now
	if mode == Approval {
		a.Status, a.ExpiresAt = Requested, requestExpiry(a.Slot, now)
		return Change{Appointment: a, Action: ActionRequested, By: by}
	}
	a.Status = Booked
	return Change{Appointment: a, Action: ActionBooked, By: by}
}

// requestExpiry is when a request made now lapses: in 24 h, or when the slot begins.
func requestExpiry(slot Slot, now time.Time) time.Time {
	if expiry := now.Add(RequestFor); expiry.Before(slot.StartsAt) {
		return expiry
	}
	return slot.StartsAt
}

// transition makes the next version.
func (a Appointment) transition(to Status, action Action, by Actor, note string, now time.Time) Change {
	if now.Before(a.UpdatedAt) {
		now = a.UpdatedAt // replicas' clocks differ; history never runs backwards
	}
	a.Status, a.Version, a.UpdatedAt, a.ExpiresAt = to, a.Version+1, now, time.Time{}
	return Change{Appointment: a, Action: action, By: by, Note: note}
}

// open says whether the appointment can still be cancelled or moved: firm, or a request that hasn't run out.
func (a Appointment) open(now time.Time) bool {
	return a.Status == Booked || a.Status == Requested && now.Before(a.ExpiresAt)
}

// inTime refuses a patient who comes later than the doctor's notice, or after the start.
func (a Appointment) inTime(by Actor, notice time.Duration, now time.Time) error {
	if by.Role == Patient && now.Add(notice).After(a.Slot.StartsAt) {
		return ErrTooLate
	}
	return nil
}

// Cancel calls the appointment off. notice is the doctor's cancellation notice; it binds patients alone.
func (a Appointment) Cancel(by Actor, reason string, notice time.Duration, now time.Time) (Change, error) {
	if !a.open(now) {
		return Change{}, ErrInvalidTransition
	}
	if err := a.inTime(by, notice, now); err != nil {
		return Change{}, err
	}
	return a.transition(Cancelled, ActionCancelled, by, reason, now), nil
}

// Reschedule moves the appointment to the slot that begins at start. It stays what it was, firm or a request; a
// request gets its full time to be answered again.
func (a Appointment) Reschedule(s *Schedule, start time.Time, by Actor, now time.Time) (Change, error) {
	if !a.open(now) {
		return Change{}, ErrInvalidTransition
	}
	if err := a.inTime(by, s.CancelNotice(), now); err != nil {
		return Change{}, err
	}
	slot, err := s.SlotAt(start, now)
	if err != nil {
		return Change{}, err
	}
	c := a.transition(a.Status, ActionRescheduled, by, "", now)
	c.Previous, c.PreviousBlockedUntil, c.Slot, c.TimeZone = a.Slot, a.BlockedUntil, slot, s.Availability.TimeZone
	c.BlockedUntil = slot.EndsAt.Add(time.Duration(s.bufferLength()) * time.Second)
	if c.Status == Requested {
		c.ExpiresAt = requestExpiry(slot, now)
	}
	return c, nil
}

// Confirm makes a request firm.
func (a Appointment) Confirm(by Actor, now time.Time) (Change, error) {
	if a.Status != Requested || !a.open(now) {
		return Change{}, ErrInvalidTransition
	}
	return a.transition(Booked, ActionConfirmed, by, "", now), nil
}

// Decline refuses a request.
func (a Appointment) Decline(by Actor, reason string, now time.Time) (Change, error) {
	if a.Status != Requested {
		return Change{}, ErrInvalidTransition
	}
	return a.transition(Declined, ActionDeclined, by, reason, now), nil
}

// Lapse declines, by nobody, a request that ran out.
func (a Appointment) Lapse(now time.Time) (Change, error) {
	if a.Status != Requested || now.Before(a.ExpiresAt) {
		return Change{}, ErrInvalidTransition
	}
	return a.transition(Declined, ActionLapsed, Actor{Role: System}, "", now), nil
}

// Complete records that the patient was seen.
func (a Appointment) Complete(by Actor, now time.Time) (Change, error) {
	return a.conclude(Completed, ActionCompleted, by, now)
}

// NoShow records that the patient didn't come.
func (a Appointment) NoShow(by Actor, now time.Time) (Change, error) {
	return a.conclude(NoShow, ActionNoShow, by, now)
}

func (a Appointment) conclude(to Status, action Action, by Actor, now time.Time) (Change, error) {
	switch {
	case a.Status != Booked:
		return Change{}, ErrInvalidTransition
	case now.Before(a.Slot.StartsAt):
		return Change{}, ErrTooEarly
	}
	return a.transition(to, action, by, "", now), nil
}

// Event is what other systems are told of the change. It names nobody and says nothing of why.
func (c Change) Event() events.Event {
	actor := events.Actor{Role: string(c.By.Role), ID: c.By.ID}
	data := events.Appointment{
		AppointmentID: c.ID, DoctorID: c.DoctorID, PatientID: c.PatientID,
		StartsAt: c.Slot.StartsAt, EndsAt: c.Slot.EndsAt, TimeZone: c.TimeZone,
		Status: string(c.Status), Version: c.Version, Actor: actor, OccurredAt: c.UpdatedAt,
	}
	switch c.Action {
	case ActionRequested:
		return &events.AppointmentRequested{Appointment: data}
	case ActionBooked, ActionConfirmed:
		return &events.AppointmentBooked{Appointment: data}
	case ActionDeclined, ActionLapsed:
		return &events.AppointmentDeclined{Appointment: data}
	case ActionRescheduled:
		return &events.AppointmentRescheduled{Appointment: data,
			Previous: events.Interval{StartsAt: c.Previous.StartsAt, EndsAt: c.Previous.EndsAt}}
	case ActionCancelled:
		return &events.AppointmentCancelled{Appointment: data, CancelledBy: actor}
	case ActionCompleted:
		return &events.AppointmentCompleted{Appointment: data}
	case ActionNoShow:
		return &events.AppointmentNoShow{Appointment: data}
	}
	panic("booking: action without an event: " + string(c.Action))
}

// Frees is the doctor's time that the change gives back to others, [from, until), the buffer included; false when it
// gives none. Who was seen in less time than planned, or didn't come, gives back what is left.
func (c Change) Frees() (from, until time.Time, frees bool) {
	from, until = c.Slot.StartsAt, c.BlockedUntil
	if c.Action == ActionRescheduled {
		from, until = c.Previous.StartsAt, c.PreviousBlockedUntil
	} else if c.Status.Occupies() {
		return time.Time{}, time.Time{}, false
	}
	return from, until, until.After(c.UpdatedAt)
}

// MayRead says whether the actor is one of the two in the appointment, or an attendant.
func (a Appointment) MayRead(by Actor) bool {
	switch by.Role {
	case Admin, System:
		return true
	case Doctor:
		return by.ID == a.DoctorID
	case Patient:
		return by.ID == a.PatientID
	}
	return false
}

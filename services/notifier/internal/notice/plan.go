package notice

import (
	"time"

	"github.com/google/uuid"

	"github.com/healthmed/healthmed/pkg/events"
)

// Policy is what the operator chooses.
type Policy struct {
	// ReminderLead is how long before an appointment the patient is reminded; an hour or less: not at all.
	ReminderLead time.Duration
	// AgendaHour is the doctor's local hour at which tomorrow's agenda is sent, 0 to 23.
	AgendaHour int
}

// Draft is a delivery to be made. EventID, Template and RecipientID together are unique for ever, which is what makes
// a redelivered event harmless.
type Draft struct {
	EventID                          uuid.UUID
	Template                         Template
	RecipientID, DoctorID, PatientID uuid.UUID
	AppointmentID                    uuid.UUID // the nil UUID when it is about none
	Version                          int64     // of the appointment, when the event was made
	PlannedAt                        time.Time // when the reader should have it
	ExpiresAt                        time.Time // from then on it makes no sense
	Detail                           Detail
}

// Planned is when the reader should have it, as of now. What an event tells is due at once: the publisher's clock may be
// ahead of ours, and its reader must not wait for ours to get there. Only what is sent by the clock lies ahead.
func (d Draft) Planned(now time.Time) time.Time {
	if d.PlannedAt.After(now) && d.Template != PatientReminder && d.Template != DoctorAgenda {
		return now
	}
	return d.PlannedAt
}

// Detail is what a message needs beyond people and the appointment's latest state.
type Detail struct {
	// Previous is the time before a move, as the event tells it.
	Previous *Interval `json:"previous,omitempty"`
	// Offer is a waitlist offer.
	Offer *Offer `json:"offer,omitempty"`
	// Day is what an agenda covers.
	Day *Day `json:"day,omitempty"`
}

// Day is a calendar day in a zone, with its instants from StartsAt until EndsAt.
type Day struct {
	Date     string    `json:"date"` // YYYY-MM-DD
	StartsAt time.Time `json:"starts_at"`
	EndsAt   time.Time `json:"ends_at"`
	TimeZone string    `json:"time_zone"`
}

// Offer is a slot that is kept for a patient on the waitlist until ExpiresAt.
type Offer struct {
	HoldID    uuid.UUID `json:"hold_id"`
	StartsAt  time.Time `json:"starts_at"`
	EndsAt    time.Time `json:"ends_at"`
	TimeZone  string    `json:"time_zone"`
	ExpiresAt time.Time `json:"expires_at"`
}

// Plan is what an event of SCHEDULING causes: a newer state of an appointment, and deliveries.
type Plan struct {
	Appointment *Appointment
	Drafts      []Draft
}

// PlanFor decides what an event causes. Events that concern nobody's inbox give an empty plan.
func (p Policy) PlanFor(env events.Envelope) Plan {
	switch ev := env.Data.(type) {
	case *events.AppointmentRequested:
		return p.announce(env, ev.Appointment, nil, DoctorRequested, PatientRequested)
	case *events.AppointmentBooked:
		patient := PatientBooked
		if ev.Version > 1 { // it was a request before: the doctor's side confirmed it
			patient = PatientConfirmed
		}
		return p.withTimed(p.announce(env, ev.Appointment, nil, DoctorBooked, patient), env, ev.OccurredAt)
	case *events.AppointmentRescheduled:
		previous := &Interval{StartsAt: ev.Previous.StartsAt, EndsAt: ev.Previous.EndsAt}
		return p.withTimed(p.announce(env, ev.Appointment, previous, DoctorRescheduled, PatientRescheduled), env, ev.OccurredAt)
	case *events.AppointmentDeclined:
		return p.announce(env, ev.Appointment, nil, "", PatientDeclined)
	case *events.AppointmentCancelled:
		plan := p.announce(env, ev.Appointment, nil, DoctorCancelled, PatientCancelled)
		plan.Appointment.ActorRole = ev.CancelledBy.Role
		return plan
	case *events.AppointmentCompleted:
		return p.announce(env, ev.Appointment, nil, "", "")
	case *events.AppointmentNoShow:
		return p.announce(env, ev.Appointment, nil, "", "")
	case *events.WaitlistOffered:
		return Plan{Drafts: []Draft{offered(env, ev)}}
	}
	return Plan{}
}

// announce plans the messages that tell both sides what happened; an empty template tells that side nothing.
func (p Policy) announce(env events.Envelope, a events.Appointment, previous *Interval, doctor, patient Template) Plan {
	state := &Appointment{
		ID: a.AppointmentID, DoctorID: a.DoctorID, PatientID: a.PatientID, StartsAt: a.StartsAt, EndsAt: a.EndsAt,
		TimeZone: a.TimeZone, Status: a.Status, Version: a.Version, ActorRole: a.Actor.Role,
	}
	draft := Draft{
		EventID: env.ID, DoctorID: a.DoctorID, PatientID: a.PatientID, AppointmentID: a.AppointmentID, Version: a.Version,
		PlannedAt: a.OccurredAt, ExpiresAt: a.EndsAt, Detail: Detail{Previous: previous},
	}
	plan := Plan{Appointment: state}
	if doctor != "" {
		draft.Template, draft.RecipientID = doctor, a.DoctorID
		plan.Drafts = append(plan.Drafts, draft)
	}
	if patient != "" {
		draft.Template, draft.RecipientID = patient, a.PatientID
		plan.Drafts = append(plan.Drafts, draft)
	}
	return plan
}

// withTimed adds what is sent by the clock: the patient's reminder and the doctor's agenda of that day. What would
// have been due before the appointment came to be is left out: the reader has just been told.
func (p Policy) withTimed(plan Plan, env events.Envelope, occurred time.Time) Plan {
	a := plan.Appointment
	if a.Status != StatusBooked {
		return plan
	}
	draft := Draft{EventID: env.ID, DoctorID: a.DoctorID, PatientID: a.PatientID}

	if due := a.StartsAt.Add(-p.ReminderLead); due.After(occurred) {
		reminder := draft
		reminder.Template, reminder.RecipientID, reminder.PlannedAt = PatientReminder, a.PatientID, due
		reminder.AppointmentID, reminder.Version = a.ID, a.Version
		// An hour before, nobody needs to hear "tomorrow" any more.
		reminder.ExpiresAt = a.StartsAt.Add(-time.Hour)
		if reminder.ExpiresAt.After(due) {
			plan.Drafts = append(plan.Drafts, reminder)
		}
	}

	zone := Zone(a.TimeZone)
	day := DayOf(a.StartsAt, zone)
	eve := day.AddDate(0, 0, -1)
	due := time.Date(eve.Year(), eve.Month(), eve.Day(), p.AgendaHour, 0, 0, 0, zone)
	if due.After(occurred) {
		date := day.Format(time.DateOnly)
		agenda := draft
		agenda.EventID, agenda.Template, agenda.RecipientID = AgendaID(a.DoctorID, date), DoctorAgenda, a.DoctorID
		agenda.PatientID = uuid.Nil
		agenda.PlannedAt, agenda.ExpiresAt = due, DayAfter(day, zone)
		agenda.Detail = Detail{Day: &Day{Date: date, StartsAt: day, EndsAt: agenda.ExpiresAt, TimeZone: a.TimeZone}}
		plan.Drafts = append(plan.Drafts, agenda)
	}
	return plan
}

func offered(env events.Envelope, ev *events.WaitlistOffered) Draft {
	return Draft{
		EventID: env.ID, Template: PatientOffer, RecipientID: ev.PatientID, DoctorID: ev.DoctorID, PatientID: ev.PatientID,
		PlannedAt: ev.OccurredAt, ExpiresAt: ev.ExpiresAt,
		Detail: Detail{Offer: &Offer{
			HoldID: ev.HoldID, StartsAt: ev.StartsAt, EndsAt: ev.EndsAt, TimeZone: ev.TimeZone, ExpiresAt: ev.ExpiresAt,
		}},
	}
}

// AgendaID stands for the event id of an agenda, which no single event causes: one for a doctor and a day.
func AgendaID(doctor uuid.UUID, date string) uuid.UUID {
	return uuid.NewSHA1(doctor, []byte("agenda "+date))
}

// Account is what a message of an account needs. It holds a secret and is wiped once the delivery is final.
type Account struct {
	Name   string `json:"name"`
	Email  string `json:"email"`
	Locale string `json:"locale"`
	Link   string `json:"link,omitempty"`
}

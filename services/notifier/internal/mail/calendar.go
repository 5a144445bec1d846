package mail

import (
	"net/mail"

	ics "github.com/arran4/golang-ical"
	"github.com/google/uuid"

	"github.com/healthmed/healthmed/services/notifier/internal/notice"
)

// CalendarUID is an appointment's UID in every calendar, for its life (RFC 5545, 3.8.4.7).
func CalendarUID(appointment uuid.UUID) string { return appointment.String() + "@healthmed.com.br" }

// invitation is the iTIP message (RFC 5546) for an appointment: REQUEST puts it into the reader's calendar or moves it
// there, CANCEL takes it out. SEQUENCE is the appointment's version, so a later message always wins over an earlier
// one. Times are UTC instants: right in every zone, whatever a client knows of zones. Nothing clinical goes in.
func invitation(n notice.Notice, method ics.Method, summary, description, url string, organizer *mail.Address) []byte {
	a := n.Appointment
	cal := ics.NewCalendar()
	cal.SetProductId("-//Health&Med//Notifier//PT")
	cal.SetCalscale("GREGORIAN")
	cal.SetMethod(method)
	event := cal.AddEvent(CalendarUID(a.ID))
	event.SetSequence(int(a.Version))
	event.SetDtStampTime(n.At)
	event.SetStartAt(a.StartsAt)
	event.SetEndAt(a.EndsAt)
	event.SetSummary(summary)
	event.SetDescription(description)
	if url != "" {
		event.SetURL(url)
	}
	event.SetOrganizer("mailto:"+organizer.Address, ics.WithCN("Health&Med"))
	event.AddAttendee("mailto:"+n.To.Email, ics.CalendarUserTypeIndividual, ics.ParticipationRoleReqParticipant,
		ics.ParticipationStatusNeedsAction, ics.WithRSVP(false))
	event.SetClass(ics.ClassificationPrivate)
	event.SetTimeTransparency(ics.TransparencyOpaque)
	if method == ics.MethodCancel {
		event.SetStatus(ics.ObjectStatusCancelled)
		event.SetTimeTransparency(ics.TransparencyTransparent)
	} else {
		event.SetStatus(ics.ObjectStatusConfirmed)
	}
	return []byte(cal.Serialize(ics.WithNewLineWindows))
}

package api

import (
	"context"
	"strings"

	ics "github.com/arran4/golang-ical"
	"github.com/gofiber/fiber/v2"

	"github.com/healthmed/healthmed/services/scheduling/internal/booking"
	"github.com/healthmed/healthmed/services/scheduling/internal/postgres"
)

// CreateCalendar implements StrictServerInterface.
func (s *Server) CreateCalendar(ctx context.Context, r CreateCalendarRequestObject) (CreateCalendarResponseObject, error) {
	by, err := caller(ctx)
	if err != nil {
		return nil, err
	}
	names := r.Body != nil && deref(r.Body.IncludeNames, false) && by.Role == booking.Doctor
	token, err := s.Store.NewCalendar(ctx, by, names)
	if err != nil {
		return nil, err
	}
	return CreateCalendar201JSONResponse{CalendarJSONResponse{
		Url: strings.TrimSuffix(s.PublicURL, "/") + "/v1/calendars/" + token + ".ics", IncludeNames: names,
	}}, nil
}

// DeleteCalendar implements StrictServerInterface.
func (s *Server) DeleteCalendar(ctx context.Context, _ DeleteCalendarRequestObject) (DeleteCalendarResponseObject, error) {
	by, err := caller(ctx)
	if err != nil {
		return nil, err
	}
	return DeleteCalendar204Response{}, s.Store.RevokeCalendar(ctx, by.ID)
}

// GetCalendar implements StrictServerInterface.
func (s *Server) GetCalendar(ctx context.Context, r GetCalendarRequestObject) (GetCalendarResponseObject, error) {
	role, entries, err := s.Store.Calendar(ctx, strings.TrimSuffix(r.File, ".ics"))
	if err != nil {
		return nil, err
	}
	feed := calendar(role, entries).Serialize(ics.WithNewLineWindows)
	return calendarFeed(feed), nil
}

// calendarFeed says its character set, which the generated answer doesn't: some programs take another for text.
type calendarFeed string

// VisitGetCalendarResponse implements GetCalendarResponseObject.
func (f calendarFeed) VisitGetCalendarResponse(c *fiber.Ctx) error {
	c.Set(fiber.HeaderContentType, "text/calendar; charset=utf-8")
	return c.SendString(string(f))
}

// calendar is a feed as Google Calendar, Outlook and Apple Calendar read it (RFC 5545, RFC 7986). UID is the
// appointment's for life and SEQUENCE follows its version, as in the invitations sent by e-mail.
func calendar(role booking.Role, entries []postgres.CalendarEntry) *ics.Calendar {
	c := ics.NewCalendar()
	c.SetProductId("-//Health&Med//Agenda//PT")
	c.SetMethod(ics.MethodPublish)
	c.SetXWRCalName("Health&Med")
	c.SetRefreshInterval("PT15M") // the library writes VALUE=DURATION itself
	c.SetXPublishedTTL("PT15M")
	for _, e := range entries {
		event := c.AddEvent(e.ID.String() + "@healthmed.com.br")
		event.SetSequence(int(e.Version))
		event.SetDtStampTime(e.UpdatedAt.UTC())
		event.SetCreatedTime(e.CreatedAt.UTC())
		event.SetModifiedAt(e.UpdatedAt.UTC())
		event.SetStartAt(e.Slot.StartsAt.UTC())
		event.SetEndAt(e.Slot.EndsAt.UTC())
		event.SetSummary(summary(role, e.Name))
		event.SetClass(ics.ClassificationPrivate)
		event.SetStatus(eventStatus(e.Status))
	}
	return c
}

// summary is a title that gives nothing away on a shared screen beyond what its owner asked for.
func summary(role booking.Role, name string) string {
	switch {
	case name == "":
		return "Consulta"
	case role == booking.Patient:
		return "Consulta com Dr(a). " + name
	}
	return "Consulta: " + name
}

func eventStatus(s booking.Status) ics.ObjectStatus {
	switch s {
	case booking.Requested:
		return ics.ObjectStatusTentative
	case booking.Cancelled, booking.Declined:
		return ics.ObjectStatusCancelled
	case booking.Booked, booking.Completed, booking.NoShow, booking.Held:
	}
	return ics.ObjectStatusConfirmed
}

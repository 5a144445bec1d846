package api

import (
	"context"
	"strings"
	"time"

	"github.com/healthmed/healthmed/services/scheduling/internal/booking"
)

// GetAvailability implements StrictServerInterface.
func (s *Server) GetAvailability(ctx context.Context, r GetAvailabilityRequestObject) (GetAvailabilityResponseObject, error) {
	schedule, err := s.Store.Availability(ctx, r.Id)
	if err != nil {
		return nil, err
	}
	return GetAvailability200JSONResponse{availability(schedule)}, nil
}

// PutAvailability implements StrictServerInterface.
func (s *Server) PutAvailability(ctx context.Context, r PutAvailabilityRequestObject) (PutAvailabilityResponseObject, error) {
	if err := ownDoctor(ctx, r.Id); err != nil {
		return nil, err
	}
	a, err := availabilityInput(r.Body)
	if err != nil {
		return nil, err
	}
	schedule, err := s.Store.SetAvailability(ctx, r.Id, a, ifMatch(r.Params.IfMatch))
	if err != nil {
		return nil, validation(err)
	}
	return PutAvailability200JSONResponse{availability(schedule)}, nil
}

// availability as clients see it.
func availability(s *booking.Schedule) AvailabilityJSONResponse {
	a := s.Availability
	out := Availability{
		DoctorId: s.DoctorID, Version: s.Version, TimeZone: a.TimeZone, SlotMinutes: a.SlotMinutes,
		BufferMinutes: a.BufferMinutes, MinNoticeMinutes: a.MinNoticeMinutes, HorizonDays: a.HorizonDays,
		CancelNoticeMinutes: a.CancelNoticeMinutes, BookingMode: BookingMode(a.Mode), ObserveHolidays: a.ObserveHolidays,
		Weekly: make([]WeeklyHours, len(a.Weekly)),
	}
	for i, w := range a.Weekly {
		out.Weekly[i] = WeeklyHours{
			Weekday: WeeklyHoursWeekday(strings.ToLower(w.Weekday.String())), Start: w.Start.String(), End: w.End.String(),
		}
	}
	return AvailabilityJSONResponse{Body: out, Headers: AvailabilityResponseHeaders{ETag: new(etag(s.Version))}}
}

// hours reads an interval whose texts the schema has checked.
func hours(start, end string) (h booking.Hours, err error) {
	if h.Start, err = booking.ParseClock(start); err != nil {
		return h, err
	}
	h.End, err = booking.ParseClock(end)
	return h, err
}

func weekday(name WeeklyHoursWeekday) time.Weekday {
	for d := time.Sunday; d < time.Saturday; d++ {
		if strings.EqualFold(d.String(), string(name)) {
			return d
		}
	}
	return time.Saturday // the schema lets no other name through
}

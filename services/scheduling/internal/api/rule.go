package api

import (
	"encoding/json"
	"errors"
	"time"

	"github.com/healthmed/healthmed/pkg/web"
	"github.com/healthmed/healthmed/services/scheduling/internal/booking"
)

// Rules tell of hours that end before they start or overlap beside the faults that the schema finds.
func Rules() map[string]web.Rule {
	return map[string]web.Rule{
		"PUT /v1/doctors/{id}/availability":      availabilityRule,
		"PUT /v1/doctors/{id}/exceptions/{date}": exceptionRule,
	}
}

func availabilityRule(body []byte) []web.Fault {
	var in AvailabilityInput
	if json.Unmarshal(body, &in) != nil {
		return nil
	}
	a, _ := availabilityInput(&in)
	return faultsOf(a.Validate())
}

func exceptionRule(body []byte) []web.Fault {
	var in ExceptionInput
	if json.Unmarshal(body, &in) != nil {
		return nil
	}
	hours, err := hoursOf(deref(in.Hours, nil))
	if err != nil {
		return nil
	}
	return faultsOf(booking.Exception{Hours: hours}.Validate())
}

// noWeekday keeps hours that cannot be read in their place, where they overlap nothing.
const noWeekday = time.Saturday + 1

// availabilityInput reads what a doctor sent. The error is of clocks, of which the schema lets only right ones through.
func availabilityInput(in *AvailabilityInput) (booking.Availability, error) {
	a := booking.Availability{
		TimeZone: in.TimeZone, SlotMinutes: in.SlotMinutes, BufferMinutes: deref(in.BufferMinutes, 0),
		MinNoticeMinutes: deref(in.MinNoticeMinutes, 0), HorizonDays: deref(in.HorizonDays, 90),
		CancelNoticeMinutes: deref(in.CancelNoticeMinutes, 0), Mode: booking.Mode(deref(in.BookingMode, "instant")),
		ObserveHolidays: deref(in.ObserveHolidays, false),
	}
	var faults []error
	for _, w := range in.Weekly {
		day := weekday(w.Weekday)
		hours, err := hours(w.Start, w.End)
		if err != nil {
			day = noWeekday
			faults = append(faults, err)
		}
		a.Weekly = append(a.Weekly, booking.WeeklyHours{Weekday: day, Hours: hours})
	}
	return a, errors.Join(faults...)
}

func hoursOf(in []Hours) ([]booking.Hours, error) {
	var out []booking.Hours
	for _, h := range in {
		hours, err := hours(h.Start, h.End)
		if err != nil {
			return nil, err
		}
		out = append(out, hours)
	}
	return out, nil
}

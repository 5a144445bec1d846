package booking

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
)

// Mode says whether a booking is firm at once or waits for the doctor's word.
type Mode string

// Booking modes.
const (
	Instant  Mode = "instant"
	Approval Mode = "approval"
)

// Hours is an interval of a day by the wall clock, [Start, End).
type Hours struct {
	Start Clock `json:"start"`
	End   Clock `json:"end"`
}

// WeeklyHours is an interval that comes back every week.
type WeeklyHours struct {
	Weekday time.Weekday `json:"weekday"`
	Hours
}

// Exception replaces the weekly hours on one date. No hours: closed.
type Exception struct {
	Date  Date
	Hours []Hours
	Note  string
}

// Availability is what a doctor says about when they see patients. Times are by the clock of TimeZone.
type Availability struct {
	TimeZone            string // IANA name
	SlotMinutes         int
	BufferMinutes       int // kept free after each appointment
	MinNoticeMinutes    int
	HorizonDays         int
	CancelNoticeMinutes int // a patient may cancel or move until this long before the start
	Mode                Mode
	ObserveHolidays     bool // closed on national holidays, unless an exception opens the day
	Weekly              []WeeklyHours
}

// Bounds of an availability.
const (
	MinSlotMinutes   = 5
	MaxSlotMinutes   = 480
	MaxBufferMinutes = 240
	MaxNoticeMinutes = 60 * 24 * 60 // 60 days
	MaxHorizonDays   = 365
	MaxHoursPerDay   = 12
)

// LongestOccupancy is the longest that one appointment can occupy a doctor, buffer included.
const LongestOccupancy = (MaxSlotMinutes + MaxBufferMinutes) * time.Minute

// FaultCode names what is wrong with a field.
type FaultCode string

// What can be wrong with an availability beyond its schema.
const (
	FaultTimeZone FaultCode = "time-zone" // not an IANA name
	FaultRange    FaultCode = "range"     // out of bounds
	FaultOrder    FaultCode = "order"     // ends before it starts
	FaultOverlap  FaultCode = "overlap"   // overlaps another interval of the same day
	FaultTooMany  FaultCode = "too-many"  // more intervals a day than allowed
	FaultMode     FaultCode = "mode"      // no such booking mode
)

// Fault is one wrong field, by JSON pointer.
type Fault struct {
	Pointer string
	Code    FaultCode
}

// InvalidError carries every fault of a value at once.
type InvalidError struct{ Faults []Fault }

// Error implements error.
func (e *InvalidError) Error() string {
	var b strings.Builder
	b.WriteString("booking: invalid:")
	for _, f := range e.Faults {
		fmt.Fprintf(&b, " %s (%s)", f.Pointer, f.Code)
	}
	return b.String()
}

func invalid(faults []Fault) error {
	if len(faults) == 0 {
		return nil
	}
	return &InvalidError{Faults: faults}
}

// Validate returns an *InvalidError with every fault, or nil.
func (a Availability) Validate() error {
	var faults []Fault
	add := func(pointer string, code FaultCode) { faults = append(faults, Fault{pointer, code}) }
	within := func(pointer string, v, lo, hi int) {
		if v < lo || v > hi {
			add(pointer, FaultRange)
		}
	}
	if _, err := LoadZone(a.TimeZone); err != nil {
		add("/time_zone", FaultTimeZone)
	}
	within("/slot_minutes", a.SlotMinutes, MinSlotMinutes, MaxSlotMinutes)
	within("/buffer_minutes", a.BufferMinutes, 0, MaxBufferMinutes)
	within("/min_notice_minutes", a.MinNoticeMinutes, 0, MaxNoticeMinutes)
	within("/horizon_days", a.HorizonDays, 1, MaxHorizonDays)
	within("/cancel_notice_minutes", a.CancelNoticeMinutes, 0, MaxNoticeMinutes)
	if a.Mode != Instant && a.Mode != Approval {
		add("/booking_mode", FaultMode)
	}
	for weekday := time.Sunday; weekday <= time.Saturday; weekday++ {
		var day []Hours
		var pointers []string
		for i, w := range a.Weekly {
			if w.Weekday == weekday {
				day = append(day, w.Hours)
				pointers = append(pointers, fmt.Sprintf("/weekly/%d", i))
			}
		}
		faults = append(faults, hoursFaults(day, pointers)...)
	}
	return invalid(faults)
}

// Validate returns an *InvalidError with every fault, or nil.
func (e Exception) Validate() error {
	pointers := make([]string, len(e.Hours))
	for i := range e.Hours {
		pointers[i] = fmt.Sprintf("/hours/%d", i)
	}
	return invalid(hoursFaults(e.Hours, pointers))
}

// hoursFaults checks the intervals of one day; pointers[i] is where hours[i] stands in the document.
func hoursFaults(hours []Hours, pointers []string) (faults []Fault) {
	if len(hours) > MaxHoursPerDay {
		return []Fault{{pointers[MaxHoursPerDay], FaultTooMany}}
	}
	for i, h := range hours {
		if h.Start < 0 || h.End > EndOfDay || h.Start >= h.End {
			faults = append(faults, Fault{pointers[i] + "/end", FaultOrder})
			continue
		}
		for _, other := range hours[:i] {
			if h.Start < other.End && other.Start < h.End {
				faults = append(faults, Fault{pointers[i], FaultOverlap})
				break
			}
		}
	}
	return faults
}

// Schedule is a doctor's availability made ready for making slots. It is immutable and safe to share.
type Schedule struct {
	DoctorID uuid.UUID
	// Version rises by one with every change of the availability or its exceptions.
	Version      int64
	Availability Availability

	zone       *time.Location
	week       [7][]Hours
	exceptions map[Date][]Hours
}

// NewSchedule compiles a valid availability and the exceptions of the days that will be asked for.
func NewSchedule(zones *Zones, doctor uuid.UUID, version int64, a Availability, exceptions []Exception) (*Schedule, error) {
	zone, err := zones.Load(a.TimeZone)
	if err != nil {
		return nil, fmt.Errorf("schedule of %s: %w", doctor, err)
	}
	s := &Schedule{DoctorID: doctor, Version: version, Availability: a, zone: zone}
	for _, w := range a.Weekly {
		s.week[w.Weekday] = append(s.week[w.Weekday], w.Hours)
	}
	for _, hours := range s.week {
		slices.SortFunc(hours, byStart)
	}
	if len(exceptions) > 0 {
		s.exceptions = make(map[Date][]Hours, len(exceptions))
	}
	for _, e := range exceptions {
		hours := slices.Clone(e.Hours)
		slices.SortFunc(hours, byStart)
		s.exceptions[e.Date] = hours
	}
	return s, nil
}

func byStart(a, b Hours) int { return int(a.Start - b.Start) }

// Zone is the doctor's time zone.
func (s *Schedule) Zone() *time.Location { return s.zone }

// slotLength is how long a patient is seen, in seconds.
func (s *Schedule) slotLength() int64 { return int64(s.Availability.SlotMinutes) * 60 }

func (s *Schedule) bufferLength() int64 { return int64(s.Availability.BufferMinutes) * 60 }

// CancelNotice is how long before the start a patient may still cancel.
func (s *Schedule) CancelNotice() time.Duration {
	return time.Duration(s.Availability.CancelNoticeMinutes) * time.Minute
}

// hoursOn is when the doctor works on a date.
func (s *Schedule) hoursOn(d Date) []Hours {
	if hours, ok := s.exceptions[d]; ok {
		return hours
	}
	weekly := s.week[d.Weekday()]
	if len(weekly) > 0 && s.Availability.ObserveHolidays && IsHoliday(d) {
		return nil
	}
	return weekly
}

package booking

import (
	"iter"
	"time"
)

// Slots yields the free slots that begin on the dates from..to (both included, in the doctor's zone), earliest first.
//
// A slot begins on the grid of an opening interval: at its start and every slot+buffer minutes by the wall clock.
// It ends inside the interval. A wall-clock time that doesn't exist on the day (clocks set forward) makes no slot;
// one that comes twice (clocks set back) makes one, the first. No slot begins before now plus the minimum notice,
// or on a date past the horizon. busy is what is taken, sorted by start; a slot and its buffer keep clear of it.
func (s *Schedule) Slots(from, to Date, now time.Time, busy []Interval) iter.Seq[Slot] {
	return func(yield func(Slot) bool) {
		earliest := s.earliest(now)
		if first := DateOf(time.Unix(earliest, 0), s.zone); from < first {
			from = first
		}
		to = min(to, s.Horizon(now))
		for date := from; date <= to; date++ {
			if !s.slotsOn(date, earliest, &busy, yield) {
				return
			}
		}
	}
}

// slotsOn yields the free slots of one date; false when the consumer has had enough.
func (s *Schedule) slotsOn(date Date, earliest int64, busy *[]Interval, yield func(Slot) bool) bool {
	hours := s.hoursOn(date)
	if len(hours) == 0 {
		return true
	}
	length, buffer := s.slotLength(), s.bufferLength()
	step := Clock(s.Availability.SlotMinutes + s.Availability.BufferMinutes)
	d := newDay(date, s.zone)
	var previousEnd int64
	for _, h := range hours {
		closing := d.closing(h.End)
		for c := h.Start; c+Clock(s.Availability.SlotMinutes) <= h.End; c += step {
			start, exists := d.instant(c)
			end := start + length
			if !exists || end > closing || start < previousEnd || !d.within(h, start, end) {
				continue
			}
			previousEnd = end
			if start < earliest || taken(busy, start, end+buffer) {
				continue
			}
			if !yield(Slot{StartsAt: time.Unix(start, 0).UTC(), EndsAt: time.Unix(end, 0).UTC()}) {
				return false
			}
		}
	}
	return true
}

// taken says whether [start, end) meets a busy interval, and drops those that ended before start.
func taken(busy *[]Interval, start, end int64) bool {
	for len(*busy) > 0 && (*busy)[0].End <= start {
		*busy = (*busy)[1:]
	}
	return len(*busy) > 0 && (*busy)[0].Start < end
}

// earliest is the first second at which a slot may begin: after now, and no nearer than the minimum notice.
func (s *Schedule) earliest(now time.Time) int64 {
	notice := int64(s.Availability.MinNoticeMinutes) * 60
	if notice == 0 {
		return now.Unix() + 1
	}
	return now.Add(time.Duration(notice)*time.Second-1).Unix() + 1 // rounded up
}

// Horizon is the last date that can be booked.
func (s *Schedule) Horizon(now time.Time) Date {
	return DateOf(now, s.zone) + Date(s.Availability.HorizonDays)
}

// EndOf is when the date is over by the doctor's clock, in Unix seconds.
func (s *Schedule) EndOf(d Date) int64 { return newDay(d, s.zone).closing(EndOfDay) }

// SlotAt is the slot that begins at start, whether taken or not, or why there is none: ErrTooSoon,
// ErrBeyondHorizon or ErrOutsideAvailability. Whether it is taken only the database can say.
func (s *Schedule) SlotAt(start, now time.Time) (Slot, error) {
	date := DateOf(start, s.zone)
	switch {
	case start.Unix() < s.earliest(now):
		return Slot{}, ErrTooSoon
	case date > s.Horizon(now):
		return Slot{}, ErrBeyondHorizon
	}
	for slot := range s.Slots(date, date, now, nil) {
		if slot.StartsAt.Equal(start) {
			return slot, nil
		}
	}
	return Slot{}, ErrOutsideAvailability
}

// Covers says whether a slot of the schedule begins at start and ends at end, past and horizon aside: an
// appointment for which it is false has fallen outside the availability.
func (s *Schedule) Covers(start, end time.Time) bool {
	covered := false
	date := DateOf(start, s.zone)
	var none []Interval
	s.slotsOn(date, 0, &none, func(slot Slot) bool {
		covered = slot.StartsAt.Equal(start) && slot.EndsAt.Equal(end)
		return !covered && slot.StartsAt.Before(start)
	})
	return covered
}

// Occupied is the time that a slot takes from the doctor: its own and the buffer after it.
func (s *Schedule) Occupied(slot Slot) Interval {
	return Interval{Start: slot.StartsAt.Unix(), End: slot.EndsAt.Unix() + s.bufferLength()}
}

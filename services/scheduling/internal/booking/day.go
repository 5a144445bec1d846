package booking

import "time"

// day answers what instants the wall-clock times of one date in one zone are.
type day struct {
	date Date
	zone *time.Location
	// midnight is 00:00 in Unix seconds, valid for the whole day when plain: no change of offset is near.
	midnight int64
	plain    bool
}

func newDay(date Date, zone *time.Location) day {
	noon := date.Time().Add(12 * time.Hour)
	local := time.Date(noon.Year(), noon.Month(), noon.Day(), 12, 0, 0, 0, zone)
	_, offset := local.Zone()
	d := day{date: date, zone: zone, midnight: int64(date)*secondsPerDay - int64(offset)}
	from, to := local.ZoneBounds()
	// A day's margin on both sides: a clock that is set back repeats times that precede the change.
	d.plain = (from.IsZero() || from.Unix() <= d.midnight-secondsPerDay) &&
		(to.IsZero() || to.Unix() >= d.midnight+2*secondsPerDay)
	return d
}

// instant is when the clock first shows c on this day; false when it never does, because it was set forward.
func (d day) instant(c Clock) (int64, bool) {
	if d.plain {
		return d.midnight + int64(c)*60, true
	}
	first, _, exists := d.candidates(c)
	return first, exists
}

// closing is the instant at which an interval that ends at c is over: when the clock first shows c, or, when it
// never does, the moment it was set forward past it.
func (d day) closing(c Clock) int64 {
	if d.plain {
		return d.midnight + int64(c)*60
	}
	first, latest, exists := d.candidates(c)
	if exists {
		return first
	}
	change, _ := time.Unix(latest, 0).In(d.zone).ZoneBounds()
	return change.Unix()
}

// within says whether the wall clock stays inside the opening hours from start to end, which lie between their opening
// and closing: it may be set back to before the opening, even to the day before.
func (d day) within(h Hours, start, end int64) bool {
	if d.plain {
		return true
	}
	_, change := time.Unix(start, 0).In(d.zone).ZoneBounds()
	if change.IsZero() || change.Unix() >= end {
		return true
	}
	local := change.In(d.zone)
	return NewDate(local.Date()) == d.date && Clock(local.Hour()*60+local.Minute()) >= h.Start
}

// candidates reads c with each offset in force around it. first is the earliest reading that is true; latest is
// the latest reading of all, which lies after the change when none is true.
func (d day) candidates(c Clock) (first, latest int64, exists bool) {
	wall := int64(d.date)*secondsPerDay + int64(c)*60
	near := time.Unix(wall, 0).In(d.zone)
	from, to := near.ZoneBounds()
	around := []time.Time{near}
	if !from.IsZero() {
		around = append(around, from.Add(-time.Second))
	}
	if !to.IsZero() {
		around = append(around, to)
	}
	for i, t := range around {
		_, offset := t.Zone()
		reading := wall - int64(offset)
		if _, in := time.Unix(reading, 0).In(d.zone).Zone(); in == offset && (!exists || reading < first) {
			first, exists = reading, true
		}
		if i == 0 || reading > latest {
			latest = reading
		}
	}
	return first, latest, exists
}

package notice

import (
	"time"
	_ "time/tzdata" // images without a zone database know Brazil's zones too
)

// Zone loads an IANA zone; an unknown name gives UTC, which messages name, so that a time is never silently wrong.
func Zone(name string) *time.Location {
	if name == "" || name == "Local" {
		return time.UTC
	}
	loc, err := time.LoadLocation(name)
	if err != nil {
		return time.UTC
	}
	return loc
}

// DayOf is the first moment of the local day that holds t: midnight, where the zone doesn't skip it.
func DayOf(t time.Time, zone *time.Location) time.Time {
	l := t.In(zone)
	return firstOf(l.Year(), l.Month(), l.Day(), zone)
}

// DayAfter is the first moment of the local day after the one that holds t.
func DayAfter(t time.Time, zone *time.Location) time.Time {
	l := t.In(zone)
	noon := time.Date(l.Year(), l.Month(), l.Day()+1, 12, 0, 0, 0, zone)
	return firstOf(noon.Year(), noon.Month(), noon.Day(), zone)
}

func firstOf(year int, month time.Month, day int, zone *time.Location) time.Time {
	first := time.Date(year, month, day, 0, 0, 0, 0, zone)
	if first.Day() != day { // clocks were set forward at midnight, and Date answered with the evening before
		_, first = first.ZoneBounds()
	} else if before := first.Add(-time.Hour); before.Day() == day { // set back after midnight: it came twice
		first = before
	}
	return first
}

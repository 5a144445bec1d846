package booking

import (
	"errors"
	"fmt"
	"time"
)

// Date is a day of the calendar without a zone, counted from 1970-01-01.
type Date int32

const secondsPerDay = 24 * 60 * 60

// DateOf is the day on which t falls in the zone.
func DateOf(t time.Time, zone *time.Location) Date {
	return NewDate(t.In(zone).Date())
}

// NewDate makes a date; values out of range are normalised as time.Date does.
func NewDate(year int, month time.Month, day int) Date {
	return Date(time.Date(year, month, day, 0, 0, 0, 0, time.UTC).Unix() / secondsPerDay)
}

// ParseDate reads YYYY-MM-DD.
func ParseDate(text string) (Date, error) {
	t, err := time.Parse(time.DateOnly, text)
	if err != nil {
		return 0, errors.New("date: want YYYY-MM-DD")
	}
	return NewDate(t.Date()), nil
}

// Time is midnight UTC of the day, for formatting and storage.
func (d Date) Time() time.Time { return time.Unix(int64(d)*secondsPerDay, 0).UTC() }

// String is YYYY-MM-DD.
func (d Date) String() string { return d.Time().Format(time.DateOnly) }

// Weekday of the day.
func (d Date) Weekday() time.Weekday {
	return time.Weekday(((int(d)+int(time.Thursday))%7 + 7) % 7) // 1970-01-01 was a Thursday
}

// Clock is a wall-clock time in minutes since midnight; 1440 ("24:00") is the end of the day.
type Clock int

// EndOfDay is 24:00.
const EndOfDay Clock = 24 * 60

// ParseClock reads HH:MM, from 00:00 to 24:00.
func ParseClock(text string) (Clock, error) {
	digits := func(i int) (int, bool) {
		a, b := text[i]-'0', text[i+1]-'0'
		return int(a)*10 + int(b), a <= 9 && b <= 9
	}
	if len(text) != len("HH:MM") || text[2] != ':' {
		return 0, errors.New("time of day: want HH:MM")
	}
	hours, ok1 := digits(0)
	minutes, ok2 := digits(3)
	c := Clock(hours*60 + minutes)
	if !ok1 || !ok2 || minutes > 59 || c > EndOfDay {
		return 0, errors.New("time of day: want HH:MM")
	}
	return c, nil
}

// String is HH:MM.
func (c Clock) String() string { return fmt.Sprintf("%02d:%02d", int(c)/60, int(c)%60) }

// MarshalText writes HH:MM.
func (c Clock) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// UnmarshalText reads HH:MM.
func (c *Clock) UnmarshalText(text []byte) (err error) {
	*c, err = ParseClock(string(text))
	return err
}

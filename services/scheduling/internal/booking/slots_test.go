package booking_test

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"pgregory.net/rapid"

	"github.com/healthmed/healthmed/services/scheduling/internal/booking"
)

// zones are those where clocks do what clocks do: no change, an hour forwards at midnight or later, half an hour, a
// whole day left out.
func zones() []string {
	return []string{"America/Sao_Paulo", "America/Manaus", "America/Rio_Branco", "America/Noronha", "America/New_York",
		"Europe/Lisbon", "Australia/Lord_Howe", "Pacific/Apia"}
}

// changes are dates around which those zones change their clocks.
func changes() []string {
	return []string{"2018-11-04", "2019-02-16", "2018-02-17", "2026-03-08", "2026-11-01", "2026-03-29", "2026-10-25",
		"2026-04-05", "2026-10-04", "2011-12-30", "2011-04-02", "2011-09-24", "2008-06-24", "2013-11-10", "2026-12-01", "2027-02-28"}
}

func drawHours(t *rapid.T, label string) []booking.Hours {
	var hours []booking.Hours
	from := booking.Clock(0)
	for range rapid.IntRange(0, 3).Draw(t, label+" intervals") {
		if from > booking.EndOfDay-10 {
			break
		}
		start := booking.Clock(rapid.IntRange(int(from), int(booking.EndOfDay)-5).Draw(t, "start"))
		end := booking.Clock(rapid.IntRange(int(start)+1, int(booking.EndOfDay)).Draw(t, "end"))
		hours = append(hours, booking.Hours{Start: start, End: end})
		from = end
	}
	return hours
}

type scene struct {
	availability booking.Availability
	exceptions   []booking.Exception
	schedule     *booking.Schedule
	from, to     booking.Date
	now          time.Time
	busy         []booking.Interval
}

func drawScene(t *rapid.T) scene {
	centre, err := booking.ParseDate(rapid.SampledFrom(changes()).Draw(t, "date"))
	if err != nil {
		t.Fatal(err)
	}
	s := scene{availability: booking.Availability{
		TimeZone:         rapid.SampledFrom(zones()).Draw(t, "zone"),
		SlotMinutes:      rapid.SampledFrom([]int{5, 10, 15, 20, 25, 30, 45, 50, 60, 90, 120, 480}).Draw(t, "slot"),
		BufferMinutes:    rapid.SampledFrom([]int{0, 0, 5, 10, 15, 60}).Draw(t, "buffer"),
		MinNoticeMinutes: rapid.SampledFrom([]int{0, 0, 30, 1440}).Draw(t, "notice"),
		HorizonDays:      rapid.IntRange(1, 30).Draw(t, "horizon"),
		Mode:             booking.Instant, ObserveHolidays: rapid.Bool().Draw(t, "holidays"),
	}}
	for d := time.Sunday; d <= time.Saturday; d++ {
		for _, h := range drawHours(t, d.String()) {
			s.availability.Weekly = append(s.availability.Weekly, booking.WeeklyHours{Weekday: d, Hours: h})
		}
	}
	for i := range rapid.IntRange(0, 2).Draw(t, "exceptions") {
		s.exceptions = append(s.exceptions, booking.Exception{Date: centre + booking.Date(i), Hours: drawHours(t, "exception")})
	}
	if err := s.availability.Validate(); err != nil {
		t.Fatalf("drawn availability: %v", err)
	}
	if s.schedule, err = booking.NewSchedule(&booking.Zones{}, uuid.Max, 1, s.availability, s.exceptions); err != nil {
		t.Fatal(err)
	}
	s.from = centre - booking.Date(rapid.IntRange(0, 2).Draw(t, "before"))
	s.to = centre + booking.Date(rapid.IntRange(0, 2).Draw(t, "after"))
	s.now = s.from.Time().Add(time.Duration(rapid.IntRange(-30*24*60, 36*60).Draw(t, "now")) * time.Minute)
	at := s.from.Time().Unix()
	for range rapid.IntRange(0, 6).Draw(t, "busy") {
		at += int64(rapid.IntRange(0, 20*60).Draw(t, "gap")) * 60
		end := at + int64(rapid.IntRange(1, 4*60).Draw(t, "length"))*60
		s.busy = append(s.busy, booking.Interval{Start: at, End: end})
		at = end
	}
	return s
}

// bruteForce finds the slots by walking through every minute of real time and looking at the wall clock: slow, and
// with no arithmetic of zones.
func (s scene) bruteForce(t *rapid.T) []booking.Slot {
	zone, err := time.LoadLocation(s.availability.TimeZone)
	if err != nil {
		t.Fatal(err)
	}
	length := time.Duration(s.availability.SlotMinutes) * time.Minute
	occupied := length + time.Duration(s.availability.BufferMinutes)*time.Minute
	step := s.availability.SlotMinutes + s.availability.BufferMinutes
	earliest := s.now.Add(time.Duration(s.availability.MinNoticeMinutes) * time.Minute)
	horizon := booking.DateOf(s.now, zone) + booking.Date(s.availability.HorizonDays)
	seen := map[[2]int]bool{} // date and minute: a time that comes twice counts once
	var slots []booking.Slot
	var previousEnd time.Time
	for at := s.from.Time().Add(-30 * time.Hour); at.Before(s.to.Time().Add(60 * time.Hour)); at = at.Add(time.Minute) {
		date, minute := wall(at, zone)
		if date < s.from || date > s.to || seen[[2]int{int(date), minute}] {
			continue
		}
		seen[[2]int{int(date), minute}] = true
		for _, h := range s.hoursOn(date) {
			if minute < int(h.Start) || (minute-int(h.Start))%step != 0 || minute+s.availability.SlotMinutes > int(h.End) {
				continue
			}
			end := at.Add(length)
			if at.Before(previousEnd) || !s.inside(at, end, date, h, zone) {
				continue
			}
			previousEnd = end
			if !at.After(s.now) || at.Before(earliest) || date > horizon || s.meetsBusy(at, at.Add(occupied)) {
				continue
			}
			slots = append(slots, booking.Slot{StartsAt: at, EndsAt: end})
		}
	}
	return slots
}

func wall(at time.Time, zone *time.Location) (booking.Date, int) {
	local := at.In(zone)
	return booking.DateOf(at, zone), local.Hour()*60 + local.Minute()
}

func (s scene) hoursOn(d booking.Date) (hours []booking.Hours) {
	for _, e := range s.exceptions {
		if e.Date == d {
			return e.Hours
		}
	}
	if s.availability.ObserveHolidays && booking.IsHoliday(d) {
		return nil
	}
	for _, w := range s.availability.Weekly {
		if w.Weekday == d.Time().Weekday() {
			hours = append(hours, w.Hours)
		}
	}
	return hours
}

// inside says whether every minute of the slot has a wall-clock time within the opening hours, and whether the clock
// hasn't shown the closing time before.
func (s scene) inside(start, end time.Time, date booking.Date, h booking.Hours, zone *time.Location) bool {
	for at := start; at.Before(end); at = at.Add(time.Minute) {
		if d, minute := wall(at, zone); d != date || minute < int(h.Start) || minute >= int(h.End) {
			return false
		}
		if d, minute := wall(at, zone); d == date && minute == int(h.End) {
			return false
		}
	}
	// The closing time, where it comes twice, is the first one.
	for at := start.Add(-3 * time.Hour); at.Before(end); at = at.Add(time.Minute) {
		if d, minute := wall(at, zone); d == date && minute == int(h.End) {
			return false
		}
	}
	return true
}

func (s scene) meetsBusy(start, end time.Time) bool {
	return slices.ContainsFunc(s.busy, func(b booking.Interval) bool {
		return b.Start < end.Unix() && start.Unix() < b.End
	})
}

func TestSlotsAreThoseThatAPatientMinuteByMinuteWouldFind(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		s := drawScene(t)
		got := slices.Collect(s.schedule.Slots(s.from, s.to, s.now, s.busy))
		if diff := cmp.Diff(s.bruteForce(t), got); diff != "" {
			t.Fatalf("(-by the minute +listed) %s", diff)
		}
	})
}

func TestListedSlotsCanBeBookedAndNothingElseCan(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		s := drawScene(t)
		listed := map[time.Time]booking.Slot{}
		var previous booking.Slot
		for slot := range s.schedule.Slots(s.from, s.to, s.now, nil) {
			if slot.StartsAt.Before(previous.EndsAt) {
				t.Fatalf("%v overlaps %v", slot, previous)
			}
			if got := slot.EndsAt.Sub(slot.StartsAt); got != time.Duration(s.availability.SlotMinutes)*time.Minute {
				t.Fatalf("slot of %v", got)
			}
			if !s.schedule.Covers(slot.StartsAt, slot.EndsAt) {
				t.Fatalf("%v is listed, but not covered", slot)
			}
			listed[slot.StartsAt] = slot
			previous = slot
		}
		zone := s.schedule.Zone()
		for at := s.from.Time().Add(-14 * time.Hour); at.Before(s.to.Time().Add(36 * time.Hour)); at = at.Add(5 * time.Minute) {
			if d := booking.DateOf(at, zone); d < s.from || d > s.to {
				continue
			}
			want, isListed := listed[at]
			got, err := s.schedule.SlotAt(at.In(zone), s.now)
			if isListed != (err == nil) || isListed && got != want {
				t.Fatalf("%v: listed %v, but booking says %v %v", at, isListed, got, err)
			}
		}
	})
}

func TestSlotsOnDaysWhenClocksChange(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		zone, date string
		hours      booking.Hours
		slot       int
		want       []string // local start, with offset
	}{
		"23 hours, New York": {"America/New_York", "2026-03-08", booking.Hours{Start: 60, End: 240}, 60,
			[]string{"01:00 -0500", "03:00 -0400"}},
		"25 hours, New York": {"America/New_York", "2026-11-01", booking.Hours{Start: 0, End: 180}, 60,
			[]string{"00:00 -0400", "01:00 -0400", "02:00 -0500"}},
		"half an hour less, Lord Howe": {"Australia/Lord_Howe", "2026-10-04", booking.Hours{Start: 60, End: 240}, 30,
			[]string{"01:00 +1030", "01:30 +1030", "02:30 +1100", "03:00 +1100", "03:30 +1100"}},
		"a slot that runs over the gap": {"Australia/Lord_Howe", "2026-10-04", booking.Hours{Start: 90, End: 270}, 60,
			[]string{"01:30 +1030", "03:30 +1100"}},
		"midnight that did not exist, São Paulo": {"America/Sao_Paulo", "2018-11-04", booking.Hours{Start: 0, End: 120}, 30,
			[]string{"01:00 -0200", "01:30 -0200"}},
		"evening that came twice, São Paulo": {"America/Sao_Paulo", "2018-02-17", booking.Hours{Start: 22 * 60, End: 1440}, 60,
			[]string{"22:00 -0200", "23:00 -0200"}},
		"a day that did not exist, Apia": {"Pacific/Apia", "2011-12-30", booking.Hours{Start: 0, End: 1440}, 60, nil},
		"a plain day":                    {"America/Manaus", "2026-12-01", booking.Hours{Start: 540, End: 600}, 30, []string{"09:00 -0400", "09:30 -0400"}},
	} {
		date, err := booking.ParseDate(c.date)
		if err != nil {
			t.Fatal(err)
		}
		a := booking.Availability{TimeZone: c.zone, SlotMinutes: c.slot, HorizonDays: 30, Mode: booking.Instant}
		s, err := booking.NewSchedule(&booking.Zones{}, uuid.Max, 1, a, []booking.Exception{{Date: date, Hours: []booking.Hours{c.hours}}})
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for slot := range s.Slots(date, date, date.Time().AddDate(0, 0, -2), nil) {
			got = append(got, slot.StartsAt.In(s.Zone()).Format("15:04 -0700"))
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

func TestNationalHolidays(t *testing.T) {
	t.Parallel()
	want := map[int][]string{ // as published by the federal government for these years
		2024: {"2024-01-01", "2024-03-29", "2024-04-21", "2024-05-01", "2024-09-07", "2024-10-12", "2024-11-02", "2024-11-15", "2024-11-20", "2024-12-25"},
		2026: {"2026-01-01", "2026-04-03", "2026-04-21", "2026-05-01", "2026-09-07", "2026-10-12", "2026-11-02", "2026-11-15", "2026-11-20", "2026-12-25"},
		2023: {"2023-01-01", "2023-04-07", "2023-04-21", "2023-05-01", "2023-09-07", "2023-10-12", "2023-11-02", "2023-11-15", "2023-12-25"},
	}
	for year, days := range want {
		var got []string
		for d := booking.NewDate(year, 1, 1); d <= booking.NewDate(year, 12, 31); d++ {
			if booking.IsHoliday(d) {
				got = append(got, d.String())
			}
		}
		if diff := cmp.Diff(days, got); diff != "" {
			t.Errorf("%d: %s", year, diff)
		}
	}
}

func TestTimeZonesAreThoseOfTheIANADatabase(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"America/Sao_Paulo", "America/Argentina/Buenos_Aires", "America/Port-au-Prince", "Etc/GMT+3", "UTC"} {
		if _, err := booking.LoadZone(name); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	// What a machine's zone folder holds besides, other spellings of a path, and what depends on the machine.
	for _, name := range []string{"", "Local", "localtime", "posixrules", "Factory", "posix/America/Sao_Paulo", "right/America/Sao_Paulo",
		"America//Sao_Paulo", "America/./Sao_Paulo", "./America/Sao_Paulo", "America/Sao_Paulo/", "zone.tab", "Mars/Olympus"} {
		if _, err := booking.LoadZone(name); err == nil {
			t.Errorf("%q is taken for a time zone", name)
		}
	}
}

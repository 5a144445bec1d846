package postgres_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"pgregory.net/rapid"

	"github.com/healthmed/healthmed/services/scheduling/internal/booking"
	"github.com/healthmed/healthmed/services/scheduling/internal/postgres"
)

// oddDay is a date on which a zone's clocks change, and how long it then is; 0: it did not exist.
type oddDay struct {
	zone, date string
	length     time.Duration
}

func oddDays() []oddDay {
	const h = time.Hour
	return []oddDay{
		{"America/Sao_Paulo", "2018-11-04", 23 * h}, {"America/Sao_Paulo", "2018-02-17", 25 * h}, {"America/Sao_Paulo", "2030-03-05", 24 * h},
		{"America/Manaus", "1993-10-17", 23 * h}, {"America/Manaus", "1994-02-19", 25 * h}, {"America/Manaus", "2030-03-05", 24 * h},
		{"America/Rio_Branco", "2008-06-24", 23 * h}, {"America/Rio_Branco", "2013-11-09", 25 * h},
		{"America/Noronha", "2001-10-14", 23 * h}, {"America/Noronha", "2002-02-16", 25 * h},
		{"America/New_York", "2026-03-08", 23 * h}, {"America/New_York", "2026-11-01", 25 * h},
		{"Europe/Lisbon", "2026-03-29", 23 * h}, {"Europe/Lisbon", "2026-10-25", 25 * h},
		{"Australia/Lord_Howe", "2026-10-04", 23*h + h/2}, {"Australia/Lord_Howe", "2026-04-05", 24*h + h/2},
		{"Pacific/Apia", "2011-12-30", 0}, {"Pacific/Apia", "2011-09-24", 23 * h}, {"Pacific/Apia", "2012-04-01", 25 * h},
	}
}

// The days are what the table says; else the property below would be tried on plain ones.
func TestOddDaysAreOdd(t *testing.T) {
	t.Parallel()
	for _, d := range oddDays() {
		zone, err := time.LoadLocation(d.zone)
		if err != nil {
			t.Fatal(err)
		}
		minutes := 0
		around, err := time.Parse(time.DateOnly, d.date)
		if err != nil {
			t.Fatal(err)
		}
		for at := around.Add(-48 * time.Hour); at.Before(around.Add(72 * time.Hour)); at = at.Add(time.Minute) {
			if at.In(zone).Format(time.DateOnly) == d.date {
				minutes++
			}
		}
		if got := time.Duration(minutes) * time.Minute; got != d.length {
			t.Errorf("%s in %s has %s, want %s", d.date, d.zone, got, d.length)
		}
	}
}

// TestStore_BooksWhatIsListedAndNothingElse lists the slots around days on which clocks change, in each zone, and books:
// all that are listed can be, each once, and whatever else is asked for is refused.
func TestStore_BooksWhatIsListedAndNothingElse(t *testing.T) {
	t.Parallel()
	db := open(t)
	rapid.Check(t, func(t *rapid.T) { bookListed(t, db, rapid.SampledFrom(oddDays()).Draw(t, "day")) })
}

func bookListed(t *rapid.T, db *pgxpool.Pool, day oddDay) {
	date, err := booking.ParseDate(day.date)
	if err != nil {
		t.Fatal(err)
	}
	now := date.Time().AddDate(0, 0, -3)
	s := postgres.New(postgres.Config{Pool: db, Now: func() time.Time { return now }})
	a := booking.Availability{TimeZone: day.zone, HorizonDays: 30, Mode: booking.Instant,
		SlotMinutes:   rapid.SampledFrom([]int{20, 30, 50, 90}).Draw(t, "slot"),
		BufferMinutes: rapid.SampledFrom([]int{0, 10}).Draw(t, "buffer")}
	open := booking.Clock(rapid.SampledFrom([]int{0, 30, 60, 105, 22 * 60}).Draw(t, "open"))
	hours := booking.Hours{Start: open, End: min(open+booking.Clock(rapid.IntRange(60, 240).Draw(t, "minutes")), booking.EndOfDay)}
	for d := time.Sunday; d <= time.Saturday; d++ {
		a.Weekly = append(a.Weekly, booking.WeeklyHours{Weekday: d, Hours: hours})
	}
	ctx, doctor := context.Background(), newID(t)
	if _, err := s.SetAvailability(ctx, doctor, a, 0); err != nil {
		t.Fatal(err)
	}
	_, listed, err := s.Slots(ctx, doctor, date-1, date+1)
	if err != nil {
		t.Fatal(err)
	}
	book := func(at time.Time) error {
		patient := newID(t)
		_, err := s.Book(ctx, postgres.Booking{DoctorID: doctor, PatientID: patient, StartsAt: at,
			By: booking.Actor{Role: booking.Patient, ID: patient}}, request(patient, ""), render)
		return err
	}
	isListed := func(at time.Time) bool {
		return slices.ContainsFunc(listed, func(s booking.Slot) bool { return s.StartsAt.Equal(at) })
	}
	for range 6 { // near the slots, and at the moments when clocks change
		at := now.AddDate(0, 0, 2).Add(time.Duration(rapid.IntRange(0, 72*12).Draw(t, "five minutes")) * 5 * time.Minute)
		if local := booking.DateOf(at, mustZone(t, day.zone)); local < date-1 || local > date+1 || isListed(at) {
			continue
		}
		if err := book(at); !errors.Is(err, booking.ErrOutsideAvailability) {
			t.Fatalf("%s is not listed, but booking says %v", at, err)
		}
	}
	for _, slot := range rapid.Permutation(listed).Draw(t, "order") {
		if err := book(slot.StartsAt); err != nil {
			t.Fatalf("%s is listed, but booking says %v", slot.StartsAt, err)
		}
		if err := book(slot.StartsAt); !errors.Is(err, booking.ErrSlotTaken) {
			t.Fatalf("%s is booked, but booking says %v", slot.StartsAt, err)
		}
	}
	if _, left, err := s.Slots(ctx, doctor, date-1, date+1); err != nil || len(left) != 0 {
		t.Fatalf("%v left, %v", left, err)
	}
}

func mustZone(t failer, name string) *time.Location {
	zone, err := time.LoadLocation(name)
	if err != nil {
		t.Fatal(err)
	}
	return zone
}

// Package fill puts realistic data into the databases of a running system, by COPY: people, schedules and
// appointments of a health operator that has been at it for a while. It writes what the services' own transactions would
// have left, except events: nothing of it is in the outboxes or the streams, and so the projections that the other
// services would have made from events are filled here too.
package fill

import (
	"errors"
	"time"

	"github.com/google/uuid"
)

// Size of the data.
type Size struct {
	Doctors      int `json:"doctors"`      // with a schedule
	Listed       int `json:"listed"`       // doctors that can be searched by name, those with a schedule included
	Patients     int `json:"patients"`     // at least twice the doctors
	Appointments int `json:"appointments"` // most of them in the past
}

// Validate reports what cannot be filled.
func (s Size) Validate() error {
	switch {
	case s.Doctors < 1 || s.Appointments < 0:
		return errors.New("size: at least one doctor is needed, and no fewer than no appointments")
	case s.Listed < s.Doctors:
		return errors.New("size: listed doctors include those with a schedule")
	case s.Patients < 2*s.Doctors:
		return errors.New("size: at least two patients a doctor are needed, so that nobody is in two places at once")
	}
	return nil
}

// Person who was filled in.
type Person struct {
	ID    uuid.UUID
	Role  string
	Name  string
	Email string
}

// Password of everybody who was filled in.
const Password = "Consulta#2026"

// Data is what was filled in.
type Data struct {
	Size     Size
	Doctors  []Person // with a schedule
	Patients []Person
	days     []time.Time // local midnights of the working days that can be booked
}

// BusyDoctors have the next 31 days half booked; they are the first of Doctors.
func (d *Data) BusyDoctors() []Person { return d.Doctors[:min(len(d.Doctors), maxBusy)] }

// Bookers are the patients of whom no future appointment was filled in: every free slot is possible for them.
func (d *Data) Bookers() []Person { return d.Patients[len(d.Patients)/2:] }

func (d *Data) regulars() []Person { return d.Patients[:len(d.Patients)/2] }

const (
	maxBusy      = 500
	horizonDays  = 120
	bookableDays = 110 // looked ahead, from the day after tomorrow
	slotMinutes  = 30
	slotsADay    = 16
	halfDay      = slotsADay / 2
	busyDays     = 27 // working days in 31
	ordinaryDays = 5  // half booked for every other doctor
	spareFrom    = 30 // working days: beyond everything that was filled in
)

// zone is America/Sao_Paulo's offset, which has had no daylight-saving time since 2019.
var zone = time.FixedZone("-03", -3*60*60)

// workingDays are the local midnights of all days but Sundays.
func workingDays(from time.Time, days int) []time.Time {
	var list []time.Time
	for n := range days {
		if day := from.AddDate(0, 0, n); day.Weekday() != time.Sunday {
			list = append(list, day)
		}
	}
	return list
}

// midnight is the local midnight some days from now.
func midnight(now time.Time, days int) time.Time {
	y, m, d := now.In(zone).Date()
	return time.Date(y, m, d+days, 0, 0, 0, 0, zone)
}

// slot n of a day: eight from 8 o'clock, eight from 13 o'clock.
func slot(day time.Time, n int) time.Time {
	hour := 8
	if n >= halfDay {
		hour, n = 13, n-halfDay
	}
	return day.Add(time.Duration(hour)*time.Hour + time.Duration(n)*slotMinutes*time.Minute).UTC()
}

// FreeStart is the k-th start, from the day after tomorrow, that was filled in for no doctor: the odd slots.
func (d *Data) FreeStart(k int) time.Time {
	return slot(d.days[(k/halfDay)%len(d.days)], 2*(k%halfDay)+1)
}

// FreeStarts is how many there are.
func (d *Data) FreeStarts() int { return len(d.days) * halfDay }

// SpareStart is the k-th start of another set, of later days: the even slots.
func (d *Data) SpareStart(k int) time.Time {
	days := d.days[spareFrom:]
	return slot(days[(k/halfDay)%len(days)], 2*(k%halfDay))
}

// FirstDay is the first date on which slots were filled in, as YYYY-MM-DD of the doctors' zone.
func (d *Data) FirstDay() string { return d.days[0].Format(time.DateOnly) }

// Day is the local date n days after FirstDay.
func (d *Data) Day(n int) string { return d.days[0].AddDate(0, 0, n).Format(time.DateOnly) }

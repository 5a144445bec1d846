package postgres_test

import (
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/healthmed/healthmed/services/scheduling/internal/booking"
)

// model is what scheduling promises, as simply as it can be said: a list of entries, looked through one by one. It knows
// no SQL, no caches, and of the package booking only the names of things.
type model struct {
	availability map[uuid.UUID]hours
	entries      []*entry
	waits        []*wait
}

// hours are every day's, in minutes by the doctor's clock.
type hours struct {
	open, close, slot, buffer, notice, cancelNotice, horizon int
	mode                                                     booking.Mode
}

// entry is a hold or an appointment.
type entry struct {
	id, doctor, patient          uuid.UUID
	status                       booking.Status
	start, end, blocked, expires time.Time
	version                      int64
	wait                         *wait
}

type wait struct {
	id, patient, doctor uuid.UUID // no doctor: any of the specialty
	from, to            booking.Date
	status              booking.WaitStatus
}

func minutes(n int) time.Duration { return time.Duration(n) * time.Minute }

// local is the date and the minute of the day by the doctors' clock.
func local(at time.Time) (date booking.Date, minute int) {
	at = at.Add(offset)
	return booking.NewDate(at.Date()), at.Hour()*60 + at.Minute()
}

func (e *entry) occupies(now time.Time) bool {
	switch e.status {
	case booking.Requested, booking.Booked:
		return true
	case booking.Held:
		return now.Before(e.expires)
	case booking.Declined, booking.Cancelled, booking.Completed, booking.NoShow:
	}
	return false
}

// blocks says whether it takes the doctor's time from those who pass by. What ran out is the line's for a little longer.
func (e *entry) blocks(now time.Time) bool {
	return e.occupies(now) || e.status == booking.Held && now.Before(e.expires.Add(booking.LineFirst))
}

// fit is the time that a booking at start would take, or why the rules allow none.
func (m *model) fit(doctor uuid.UUID, start, now time.Time) (end, blocked time.Time, err error) {
	h, set := m.availability[doctor]
	if !set {
		return end, blocked, booking.ErrOutsideAvailability
	}
	date, minute := local(start)
	today, _ := local(now)
	end = start.Add(minutes(h.slot))
	blocked = end.Add(minutes(h.buffer))
	switch {
	case !start.After(now), start.Before(now.Add(minutes(h.notice))):
		return end, blocked, booking.ErrTooSoon
	case int(date-today) > h.horizon:
		return end, blocked, booking.ErrBeyondHorizon
	case minute < h.open, (minute-h.open)%(h.slot+h.buffer) != 0, minute+h.slot > h.close:
		return end, blocked, booking.ErrOutsideAvailability
	}
	return end, blocked, nil
}

// inWay is why doctor or patient can't, other than for the entry itself.
func (m *model) inWay(doctor, patient uuid.UUID, start, end, blocked, now time.Time, itself *entry) error {
	var busy error
	for _, e := range m.entries {
		if e == itself {
			continue
		}
		if e.doctor == doctor && e.blocks(now) && start.Before(e.blocked) && e.start.Before(blocked) {
			return booking.ErrSlotTaken
		}
		if e.patient == patient && e.occupies(now) && start.Before(e.end) && e.start.Before(end) {
			busy = booking.ErrPatientBusy
		}
	}
	return busy
}

// take is a booking, or a hold, of a free slot; the caller gives it the id that the store gave.
func (m *model) take(doctor, patient uuid.UUID, start, now time.Time, hold bool) (*entry, error) {
	end, blocked, err := m.fit(doctor, start, now)
	if err == nil {
		err = m.inWay(doctor, patient, start, end, blocked, now, nil)
	}
	if err != nil {
		return nil, err
	}
	e := &entry{doctor: doctor, patient: patient, start: start, end: end, blocked: blocked, status: booking.Held}
	if !hold {
		m.removeExpired(e, now)
		m.settle(e, now)
		return e, nil
	}
	kept := 0
	for _, other := range m.entries {
		if other.patient == patient && other.status == booking.Held && other.wait == nil && other.occupies(now) && other.start.After(now) {
			kept++
		}
	}
	if kept >= booking.MaxHolds {
		return nil, booking.ErrTooManyHolds
	}
	m.removeExpired(e, now)
	e.expires = earlier(now.Add(booking.HoldFor), start)
	return e, nil
}

// removeExpired takes what has run out out of the way of one who takes time.
func (m *model) removeExpired(by *entry, now time.Time) {
	m.entries = slices.DeleteFunc(m.entries, func(e *entry) bool {
		doctors := e.doctor == by.doctor && !e.blocks(now) && by.start.Before(e.blocked) && e.start.Before(by.blocked)
		patients := e.patient == by.patient && e.doctor != by.doctor && by.start.Before(e.end) && e.start.Before(by.end)
		if e == by || e.status != booking.Held || e.occupies(now) || !doctors && !patients {
			return false
		}
		if e.wait != nil {
			e.wait.status = booking.Missed
		}
		return true
	})
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// settle makes an entry an appointment: firm, or a request.
func (m *model) settle(e *entry, now time.Time) {
	e.status, e.version, e.expires = booking.Booked, 1, time.Time{}
	if m.availability[e.doctor].mode == booking.Approval {
		e.status, e.expires = booking.Requested, earlier(now.Add(booking.RequestFor), e.start)
	}
}

// bookHeld books with a hold.
func (m *model) bookHeld(e *entry, start, now time.Time) error {
	if e.status != booking.Held || !e.occupies(now) || !start.Equal(e.start) {
		return booking.ErrHoldExpired
	}
	m.settle(e, now)
	if e.wait != nil {
		e.wait.status = booking.Fulfilled
	}
	return nil
}

// change is what somebody does to an appointment.
func (m *model) change(e *entry, v verb, role booking.Role, start, now time.Time) error {
	open := e.status == booking.Booked || e.status == booking.Requested && now.Before(e.expires)
	late := role == booking.Patient && e.start.Before(now.Add(minutes(m.availability[e.doctor].cancelNotice)))
	become := func(s booking.Status) error {
		e.status, e.version, e.expires = s, e.version+1, time.Time{}
		if s != booking.Booked {
			m.keep(e.doctor, e.start, e.blocked, now)
		}
		return nil
	}
	switch v {
	case cancel:
		switch {
		case !open:
			return booking.ErrInvalidTransition
		case late:
			return booking.ErrTooLate
		}
		return become(booking.Cancelled)
	case reschedule:
		switch {
		case !open:
			return booking.ErrInvalidTransition
		case late:
			return booking.ErrTooLate
		}
		end, blocked, err := m.fit(e.doctor, start, now)
		if err == nil {
			err = m.inWay(e.doctor, e.patient, start, end, blocked, now, e)
		}
		if err != nil {
			return err
		}
		from, until := e.start, e.blocked
		e.start, e.end, e.blocked, e.version = start, end, blocked, e.version+1
		m.removeExpired(e, now)
		m.keep(e.doctor, from, until, now)
		if e.status == booking.Requested {
			e.expires = earlier(now.Add(booking.RequestFor), start)
		}
		return nil
	case confirm:
		if e.status == booking.Requested && open {
			return become(booking.Booked)
		}
	case decline:
		if e.status == booking.Requested {
			return become(booking.Declined)
		}
	case complete, noShow:
		switch {
		case e.status != booking.Booked:
			return booking.ErrInvalidTransition
		case now.Before(e.start):
			return booking.ErrTooEarly
		case v == complete:
			return become(booking.Completed)
		}
		return become(booking.NoShow)
	}
	return booking.ErrInvalidTransition
}

// keep keeps time that came free for the line for a little, if somebody waits on its dates.
func (m *model) keep(doctor uuid.UUID, start, until, now time.Time) {
	from, _ := local(start)
	to, _ := local(until.Add(-1))
	waited := slices.ContainsFunc(m.waits, func(w *wait) bool {
		return w.status == booking.Waiting && (w.doctor == uuid.Nil || w.doctor == doctor) && w.from <= to && from <= w.to
	})
	moved := slices.ContainsFunc(m.entries, func(e *entry) bool { // by less than its length
		return e.doctor == doctor && e.blocks(now) && start.Before(e.blocked) && e.start.Before(until)
	})
	if waited && !moved && now.Before(until) {
		m.entries = append(m.entries, &entry{doctor: doctor, patient: doctor, status: booking.Held, start: start, end: until, blocked: until, expires: now})
	}
}

// expire is what the clock does: requests lapse, holds end, and with them the offers that they were.
func (m *model) expire(now time.Time) {
	m.entries = slices.DeleteFunc(m.entries, func(e *entry) bool {
		switch {
		case e.status == booking.Requested && !now.Before(e.expires):
			e.status, e.version, e.expires = booking.Declined, e.version+1, time.Time{}
		case e.status == booking.Held && !now.Before(e.expires):
			if e.wait != nil {
				e.wait.status = booking.Missed
			}
			return true
		}
		return false
	})
}

// wants says whether time of the doctor at start is what they wait for and can use.
func (m *model) wants(w *wait, doctor uuid.UUID, start, end, now time.Time) bool {
	date, _ := local(start)
	if w.status != booking.Waiting || w.doctor != uuid.Nil && w.doctor != doctor || date < w.from || date > w.to {
		return false
	}
	return !slices.ContainsFunc(m.entries, func(e *entry) bool {
		return e.patient == w.patient && e.occupies(now) && start.Before(e.end) && e.start.Before(end)
	})
}

// free are the starts at which the doctor is free on the dates.
func (m *model) free(doctor uuid.UUID, from, to booking.Date, now time.Time) (starts []time.Time) {
	for date := from; date <= to; date++ {
		for minute := 0; minute < 24*60; minute += 15 {
			start := date.Time().Add(-offset).Add(minutes(minute))
			end, blocked, err := m.fit(doctor, start, now)
			if err == nil && m.inWay(doctor, uuid.Nil, start, end, blocked, now, nil) == nil {
				starts = append(starts, start)
			}
		}
	}
	return starts
}

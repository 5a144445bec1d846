package fill

import (
	"context"
	"time"

	"github.com/google/uuid"
)

// diary says which appointments are filled in: the oldest first, as they would have been written.
type diary struct {
	d      *Data
	past   []time.Time // starts of the past, the oldest first, the same for all doctors
	future int         // of busy doctors
	few    int         // of the others
}

// newDiary shares the appointments out: the future first, then as much past as is left, eight a day.
func newDiary(d *Data, now time.Time) *diary {
	y := &diary{d: d, future: busyDays * halfDay, few: ordinaryDays * halfDay}
	for y.planned() > d.Size.Appointments && y.future > 0 {
		y.future, y.few = y.future/2, y.few/2
	}
	each := (d.Size.Appointments - y.planned()) / d.Size.Doctors
	day := midnight(now, -1)
	for len(y.past) < each {
		if day.Weekday() != time.Sunday {
			for n := halfDay - 1; n >= 0 && len(y.past) < each; n-- {
				y.past = append(y.past, slot(day, 2*n))
			}
		}
		day = day.AddDate(0, 0, -1)
	}
	for i, j := 0, len(y.past)-1; i < j; i, j = i+1, j-1 {
		y.past[i], y.past[j] = y.past[j], y.past[i]
	}
	return y
}

func (y *diary) planned() int {
	busy := len(y.d.BusyDoctors())
	return busy*y.future + (len(y.d.Doctors)-busy)*y.few
}

func (y *diary) count() int { return y.planned() + len(y.past)*len(y.d.Doctors) }

// entry is one appointment.
type entry struct {
	id              uuid.UUID
	doctor, patient Person
	start           time.Time
	status          string
	version         int
}

// entries walks through all of them. The same patient never is in two places: at one start, each doctor's patient is
// another.
func (y *diary) entries(yield func(entry) bool) {
	regulars := y.d.regulars()
	patient := func(doctor, k int) Person { return regulars[(doctor+k*31)%len(regulars)] }
	for k, start := range y.past {
		for i, doctor := range y.d.Doctors {
			status, version := "completed", 2
			switch (i + k) % 25 {
			case 0:
				status = "no_show"
			case 1, 2:
				status = "cancelled"
			}
			if !y.yield(yield, doctor, patient(i, k), start, status, version) {
				return
			}
		}
	}
	for k := range y.future {
		start := slot(y.d.days[k/halfDay], 2*(k%halfDay))
		for i, doctor := range y.d.Doctors {
			if i >= len(y.d.BusyDoctors()) && k >= y.few {
				break
			}
			if !y.yield(yield, doctor, patient(i, k), start, "booked", 1) {
				return
			}
		}
	}
}

func (y *diary) yield(yield func(entry) bool, doctor, patient Person, start time.Time, status string, version int) bool {
	id, err := uuid.NewV7()
	if err != nil {
		id = uuid.New()
	}
	return yield(entry{id, doctor, patient, start, status, version})
}

func (f *filler) scheduling(ctx context.Context, y *diary) error {
	if err := f.schedules(ctx); err != nil {
		return err
	}
	// Appointments and their history are made together, and written one after the other: the ids must be the same.
	all := make([]entry, 0, y.count())
	for e := range y.entries {
		all = append(all, e)
	}
	const notice = 7 * 24 * time.Hour
	err := f.copy(ctx, f.Scheduling, "appointments", []string{"id", "doctor_id", "patient_id", "status", "starts_at", "ends_at",
		"blocked_until", "time_zone", "reason", "version", "created_at", "updated_at"}, each(len(all), func(i int) []any {
		e := all[i]
		end, made := e.start.Add(slotMinutes*time.Minute), e.start.Add(-notice)
		if made.After(f.now) {
			made = f.now
		}
		return []any{e.id, e.doctor.ID, e.patient.ID, e.status, e.start, end, end, "America/Sao_Paulo", "retorno", e.version, made, made}
	}))
	if err != nil {
		return err
	}
	return f.copy(ctx, f.Scheduling, "appointment_history", []string{"appointment_id", "version", "action", "status", "actor_role",
		"actor_id", "starts_at", "ends_at", "at"}, each(len(all), func(i int) []any {
		e := all[i]
		return []any{e.id, 1, "booked", "booked", "patient", e.patient.ID, e.start, e.start.Add(slotMinutes * time.Minute), f.now}
	}))
}

// week is Monday to Saturday, 8 to 12 and 13 to 17 o'clock.
func week() []map[string]any {
	var hours []map[string]any
	for day := time.Monday; day <= time.Saturday; day++ {
		hours = append(hours, map[string]any{"weekday": int(day), "start": "08:00", "end": "12:00"},
			map[string]any{"weekday": int(day), "start": "13:00", "end": "17:00"})
	}
	return hours
}

func (f *filler) schedules(ctx context.Context) error {
	doctors, patients := f.data.Doctors, f.data.Patients
	err := f.copy(ctx, f.Scheduling, "people", []string{"id", "role", "status", "name", "crm_number", "crm_state", "specialties", "version"},
		each(len(doctors)+len(patients), func(i int) []any {
			if i >= len(doctors) {
				p := patients[i-len(doctors)]
				return []any{p.ID, p.Role, "active", p.Name, nil, nil, []string{}, 1}
			}
			number, state := crmOf(i)
			return []any{doctors[i].ID, "doctor", "active", doctors[i].Name, number, state, specialtiesOf(i), 1}
		}))
	if err != nil {
		return err
	}
	hours := week()
	err = f.copy(ctx, f.Scheduling, "schedules", []string{"doctor_id", "version", "time_zone", "slot_minutes", "buffer_minutes",
		"min_notice_minutes", "horizon_days", "cancel_notice_minutes", "booking_mode", "observe_holidays", "weekly", "updated_at"},
		each(len(doctors), func(i int) []any {
			return []any{doctors[i].ID, 1, "America/Sao_Paulo", slotMinutes, 0, 0, horizonDays, 0, "instant", false, hours, since(f.now, i)}
		}))
	if err != nil {
		return err
	}
	return f.copy(ctx, f.Scheduling, "doctor_changes", []string{"doctor_id"}, each(len(doctors), func(i int) []any {
		return []any{doctors[i].ID}
	}))
}

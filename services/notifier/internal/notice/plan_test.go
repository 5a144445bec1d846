package notice_test

import (
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/healthmed/healthmed/pkg/events"
	"github.com/healthmed/healthmed/services/notifier/internal/notice"
)

// The agenda comes at 18:00 of the eve on the doctor's wall clock, whatever their zone and whether or not its clocks
// change between; the reminder a day of hours before.
func TestPlanFor_ByTheDoctorsClock(t *testing.T) {
	for _, tt := range []struct{ zone, start, agenda, reminder string }{
		{"America/Sao_Paulo", "2026-12-01T10:00:00-03:00", "2026-11-30T18:00:00-03:00", "2026-11-30T10:00:00-03:00"},
		{"America/Manaus", "2026-12-01T10:00:00-04:00", "2026-11-30T18:00:00-04:00", "2026-11-30T10:00:00-04:00"},
		{"America/Rio_Branco", "2026-12-01T22:30:00-05:00", "2026-11-30T18:00:00-05:00", "2026-11-30T22:30:00-05:00"},
		{"America/Noronha", "2026-12-01T00:15:00-02:00", "2026-11-30T18:00:00-02:00", "2026-11-30T00:15:00-02:00"},
		{"America/New_York", "2026-11-01T10:00:00-05:00", "2026-10-31T18:00:00-04:00", "2026-10-31T11:00:00-04:00"},  // set back
		{"America/New_York", "2026-03-08T10:00:00-04:00", "2026-03-07T18:00:00-05:00", "2026-03-07T09:00:00-05:00"},  // set forward
		{"America/Sao_Paulo", "2018-11-04T09:00:00-02:00", "2018-11-03T18:00:00-03:00", "2018-11-03T08:00:00-03:00"}, // no midnight
		{"Nowhere/Atall", "2026-12-01T10:00:00Z", "2026-11-30T18:00:00Z", "2026-11-30T10:00:00Z"},
	} {
		t.Run(tt.zone+" "+tt.start, func(t *testing.T) {
			start := at(t, tt.start)
			got := planned(t, start, tt.zone, start.AddDate(0, 0, -5))
			if !got[notice.DoctorAgenda].Equal(at(t, tt.agenda)) || !got[notice.PatientReminder].Equal(at(t, tt.reminder)) {
				t.Errorf("agenda %s, reminder %s", got[notice.DoctorAgenda], got[notice.PatientReminder])
			}
		})
	}
}

func TestPlanFor_LeavesOutWhatWouldHaveBeenDueBefore(t *testing.T) {
	start := at(t, "2026-12-01T10:00:00-03:00")
	for _, tt := range []struct {
		booked           string
		reminder, agenda bool
	}{
		{"2026-11-30T09:59:59-03:00", true, true},
		{"2026-11-30T10:00:00-03:00", false, true},
		{"2026-11-30T18:00:00-03:00", false, false},
		{"2026-12-01T09:59:00-03:00", false, false},
	} {
		got := planned(t, start, "America/Sao_Paulo", at(t, tt.booked))
		if _, ok := got[notice.PatientReminder]; ok != tt.reminder {
			t.Errorf("booked at %s: reminder %t", tt.booked, ok)
		}
		if _, ok := got[notice.DoctorAgenda]; ok != tt.agenda {
			t.Errorf("booked at %s: agenda %t", tt.booked, ok)
		}
	}
}

// Zero is what it says, not a default.
func TestPolicy_NoReminderAndAgendaAtMidnight(t *testing.T) {
	t.Parallel()
	start := at(t, "2026-12-10T15:00:00Z")
	got := plannedBy(t, notice.Policy{}, start, "America/Sao_Paulo", start.AddDate(0, 0, -7))
	if due, ok := got[notice.PatientReminder]; ok {
		t.Errorf("a reminder at %s", due)
	}
	if want := at(t, "2026-12-09T03:00:00Z"); !got[notice.DoctorAgenda].Equal(want) {
		t.Errorf("agenda at %s, want %s", got[notice.DoctorAgenda], want)
	}
}

func planned(t *testing.T, start time.Time, zone string, booked time.Time) map[notice.Template]time.Time {
	t.Helper()
	return plannedBy(t, notice.Policy{ReminderLead: 24 * time.Hour, AgendaHour: 18}, start, zone, booked)
}

func plannedBy(t *testing.T, policy notice.Policy, start time.Time, zone string, booked time.Time) map[notice.Template]time.Time {
	t.Helper()
	env, err := events.New(&events.AppointmentBooked{Appointment: events.Appointment{
		AppointmentID: uuid.New(), DoctorID: uuid.New(), PatientID: uuid.New(), StartsAt: start, EndsAt: start.Add(time.Hour),
		TimeZone: zone, Status: "booked", Version: 1, Actor: events.Actor{Role: "admin", ID: uuid.New()}, OccurredAt: booked,
	}}, 1)
	if err != nil {
		t.Fatal(err)
	}
	out := map[notice.Template]time.Time{}
	for _, d := range policy.PlanFor(env).Drafts {
		out[d.Template] = d.PlannedAt
	}
	return out
}

func at(t *testing.T, s string) time.Time {
	t.Helper()
	v, err := time.Parse(time.RFC3339, s)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

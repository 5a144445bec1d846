package mail

import (
	"net/url"
	"time"

	"github.com/healthmed/healthmed/services/notifier/internal/notice"
)

// View is what the templates see. Names in it are clean (notice.CleanName), yet still a stranger's words.
type View struct {
	Lang      string
	Tone      string // colour of the message: new, moved, off, info
	Name      string // the reader; empty where the name shows nothing
	Doctor    string // with title
	Patient   string
	ToDoctor  bool
	When      Slot
	Was       *Slot
	Expires   Slot // of an offer or a link
	By        string
	Invited   bool
	Agenda    []Line
	Today     bool // the agenda arrives on the day itself
	Tomorrow  bool // the appointment is on the day after this message
	Link      string
	Open      string // the appointment in the app; empty without an app
	Confirm   string
	Decline   string
	Settings  string
	OtherName string // the other side's name
}

// Line is an appointment of an agenda.
type Line struct{ Time, End, Patient string }

// viewOf prepares a notice for its reader.
func viewOf(n notice.Notice, app *url.URL) View {
	l := n.To.Locale
	v := View{
		Lang: string(l), Tone: toneOf(n.Template), ToDoctor: n.Template.ToDoctor(), Invited: n.Invited, Link: n.Link,
		Doctor:  orElse(notice.DoctorName(n.DoctorName), l, "profissional sem nome informado", "doctor without a name on record"),
		Patient: orElse(notice.CleanName(n.PatientName), l, "paciente sem nome informado", "patient without a name on record"),
	}
	if n.DoctorName == "" {
		v.Doctor = orElse("", l, "profissional com cadastro excluído", "doctor whose account was deleted")
	}
	if n.PatientName == "" {
		v.Patient = orElse("", l, "paciente com cadastro excluído", "patient whose account was deleted")
	}
	v.Name, v.OtherName = notice.CleanName(n.To.Name), v.Doctor
	if v.ToDoctor {
		v.Name, v.OtherName = notice.DoctorName(n.To.Name), v.Patient
	} else if n.To.Role == "doctor" {
		v.Name = notice.DoctorName(n.To.Name)
	}
	switch {
	case n.Offer != nil:
		v.When = slotOf(notice.Interval{StartsAt: n.Offer.StartsAt, EndsAt: n.Offer.EndsAt}, n.Offer.TimeZone, l)
		v.Expires = slotOf(notice.Interval{StartsAt: n.Offer.ExpiresAt, EndsAt: n.Offer.ExpiresAt}, n.Offer.TimeZone, l)
		v.Open = link(app, "waitlist", n.Offer.HoldID.String())
	case n.Day != nil:
		v.When = slotOf(notice.Interval{StartsAt: n.Day.StartsAt, EndsAt: n.Day.EndsAt}, n.Day.TimeZone, l)
		v.Today = !n.At.Before(n.Day.StartsAt)
		v.Agenda = lines(n, l)
		v.Open = link(app, "agenda", n.Day.Date)
		v.Settings = link(app, "settings", "notifications")
	case n.Template.Account():
		v.Open = link(app)
	default:
		a := n.Appointment
		v.When = slotOf(notice.Interval{StartsAt: a.StartsAt, EndsAt: a.EndsAt}, a.TimeZone, l)
		v.By = a.ActorRole
		v.Tomorrow = tomorrow(a.StartsAt, n.At, a.TimeZone)
		id := a.ID.String()
		v.Open, v.Confirm, v.Decline = link(app, "appointments", id), link(app, "appointments", id, "confirm"), link(app, "appointments", id, "decline")
		if n.Previous != nil {
			was := slotOf(*n.Previous, a.TimeZone, l)
			v.Was = &was
		}
	}
	return v
}

func lines(n notice.Notice, l notice.Locale) []Line {
	out := make([]Line, 0, len(n.Agenda))
	for _, item := range n.Agenda {
		s := slotOf(notice.Interval{StartsAt: item.StartsAt, EndsAt: item.EndsAt}, n.Day.TimeZone, l)
		name := orElse(notice.CleanName(item.PatientName), l, "paciente", "patient")
		out = append(out, Line{Time: s.Time, End: s.End, Patient: name})
	}
	return out
}

// toneOf chooses the colour of a message.
func toneOf(t notice.Template) string {
	switch {
	case t.Cancels(), t == notice.PatientDeclined:
		return "off"
	case t.Moves(), t == notice.DoctorRequested, t == notice.PatientRequested, t == notice.PatientOffer:
		return "moved"
	case t.Invites():
		return "new"
	}
	return "info"
}

func link(app *url.URL, path ...string) string {
	if app == nil {
		return ""
	}
	return app.JoinPath(path...).String()
}

func orElse(s string, l notice.Locale, pt, en string) string {
	switch {
	case s != "":
		return s
	case l == notice.English:
		return en
	}
	return pt
}

// tomorrow says whether the slot is on the day after now, in the doctor's zone.
func tomorrow(t, now time.Time, zone string) bool {
	loc := notice.Zone(zone)
	return notice.DayOf(t, loc).Equal(notice.DayAfter(now, loc))
}

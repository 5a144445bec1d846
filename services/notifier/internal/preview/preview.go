// Package preview writes every message in every language to a folder, with a page to look at them: for those who
// write the words and choose the colours.
package preview

import (
	"fmt"
	"html"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/healthmed/healthmed/services/notifier/internal/mail"
	"github.com/healthmed/healthmed/services/notifier/internal/notice"
)

// Write makes <dir>/<locale>/<name>.{html,txt,ics} and <dir>/index.html.
func Write(dir string, c *mail.Composer) error {
	var index strings.Builder
	index.WriteString(head)
	for _, l := range []notice.Locale{notice.Portuguese, notice.English} {
		if err := os.MkdirAll(filepath.Join(dir, string(l)), 0o750); err != nil {
			return err
		}
		fmt.Fprintf(&index, "<h2>%s</h2>\n<ul>\n", l)
		for _, s := range Samples(l) {
			m, err := c.Compose(s.Notice)
			if err != nil {
				return fmt.Errorf("%s %s: %w", l, s.Name, err)
			}
			name := string(l) + "/" + s.Name
			links := []string{link(name+".html", m.Subject), link(name+".txt", "text")}
			if err := write(dir, name+".html", m.HTML); err != nil {
				return err
			}
			if err := write(dir, name+".txt", "Subject: "+m.Subject+"\r\n\r\n"+m.Text); err != nil {
				return err
			}
			if len(m.Calendar) > 0 {
				if err := write(dir, name+".ics", string(m.Calendar)); err != nil {
					return err
				}
				links = append(links, link(name+".ics", "calendar "+m.Method))
			}
			fmt.Fprintf(&index, "<li>%s</li>\n", strings.Join(links, " · "))
		}
		index.WriteString("</ul>\n")
	}
	return write(dir, "index.html", index.String()+"</body></html>\n")
}

const head = `<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark"><title>Messages of the notifier</title>
<style>body{font:16px/1.6 system-ui,sans-serif;max-width:46rem;margin:2rem auto;padding:0 1rem}li{margin:.35rem 0}</style></head><body>
<h1>Messages of the notifier</h1>
<p>Each as HTML, as plain text, and with its invitation. The people are invented.</p>
`

func link(href, text string) string {
	return fmt.Sprintf(`<a href="%s">%s</a>`, html.EscapeString(href), html.EscapeString(text))
}

func write(dir, name, content string) error {
	return os.WriteFile(filepath.Join(dir, filepath.FromSlash(name)), []byte(content), 0o600)
}

// Named is a made-up notice with a name for its files.
type Named struct {
	Name   string
	Notice notice.Notice
}

// Samples are all that a reader may get: each template, and those that also come in other words.
func Samples(l notice.Locale) []Named {
	var all []Named
	for _, t := range notice.Templates() {
		n := Sample(t, l)
		all = append(all, Named{string(t), n})
		if t == notice.DoctorRequested || t == notice.PatientRequested {
			was := Sample(notice.DoctorRescheduled, l)
			n.Previous, n.Appointment.Version = was.Previous, was.Appointment.Version
			all = append(all, Named{string(t) + "_moved", n})
		}
	}
	return all
}

// Sample is a made-up notice of a template, always the same.
func Sample(t notice.Template, l notice.Locale) notice.Notice {
	id := func(n byte) uuid.UUID { return uuid.UUID{0x01, 0x93, 6: 0x70, 8: 0x80, 15: n} }
	zone := "America/Sao_Paulo"
	at := func(day, hour, minute int) time.Time {
		return time.Date(2026, time.December, day, hour, minute, 0, 0, notice.Zone(zone))
	}
	n := notice.Notice{
		DeliveryID: id(1), EventID: id(2), Template: t, DoctorName: "Helena Prado", PatientName: "Maria Aparecida Souza",
		At: at(30, 18, 0).AddDate(0, -1, 0),
	}
	n.To = notice.Contact{ID: id(3), Role: "patient", Name: n.PatientName, Email: "maria@example.com", Locale: l}
	if t.ToDoctor() {
		n.To = notice.Contact{ID: id(4), Role: "doctor", Name: n.DoctorName, Email: "helena@example.com", Locale: l}
	}
	switch {
	case t == notice.DoctorAgenda:
		n.Day = &notice.Day{Date: "2026-12-01", StartsAt: at(1, 0, 0), EndsAt: at(2, 0, 0), TimeZone: zone}
		for i, patient := range []string{"Maria Aparecida Souza", "João Pedro Nogueira de Albuquerque", "Ana Lima", "Otávio Reis"} {
			n.Agenda = append(n.Agenda, notice.AgendaItem{StartsAt: at(1, 9+i, 0), EndsAt: at(1, 9+i, 30), PatientName: patient})
		}
		return n
	case t == notice.PatientOffer:
		n.Offer = &notice.Offer{HoldID: id(6), StartsAt: at(1, 10, 0), EndsAt: at(1, 10, 30), TimeZone: zone, ExpiresAt: n.At.Add(30 * time.Minute)}
		return n
	case t.Account():
		path := map[notice.Template]string{
			notice.AccountVerification: "verify-email", notice.AccountNewEmail: "verify-email", notice.AccountPasswordReset: "reset-password",
		}[t]
		if path != "" { // a changed password carries no link
			n.Link = "https://app.healthmed.example/" + path + "?token=3Jk9vQ2mXw8LrT5yBnZc7HdPfSgKaEu1"
		}
		return n
	}
	n.Appointment = notice.Appointment{
		ID: id(5), DoctorID: id(4), PatientID: id(3), StartsAt: at(1, 10, 0), EndsAt: at(1, 10, 30), TimeZone: zone,
		Status: notice.StatusBooked, Version: 1, ActorRole: "patient",
	}
	switch {
	case t == notice.DoctorRequested, t == notice.PatientRequested:
		n.Appointment.Status = notice.StatusRequested
	case t.Moves():
		n.Previous = &notice.Interval{StartsAt: at(3, 15, 0), EndsAt: at(3, 15, 30)}
		n.Appointment.Version = 2
	case t.Cancels():
		n.Appointment.Status, n.Appointment.Version, n.Invited = notice.StatusCancelled, 2, true
	case t == notice.PatientDeclined:
		n.Appointment.Status, n.Appointment.Version, n.Appointment.ActorRole = notice.StatusDeclined, 2, "doctor"
	}
	return n
}

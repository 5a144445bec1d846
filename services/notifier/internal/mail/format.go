package mail

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/healthmed/healthmed/services/notifier/internal/notice"
)

// Slot is a stretch of time as a reader sees it, in the doctor's zone.
type Slot struct {
	Date    string // 01/12/2026
	Time    string // 10:00
	End     string // 10:30
	Weekday string // terça-feira
	Short   string // terça
	Day     string // 1
	Month   string // dezembro
	Long    string // terça-feira, 1º de dezembro de 2026
	Zone    string // horário de Brasília (GMT-3)
}

func slotOf(i notice.Interval, zone string, l notice.Locale) Slot {
	loc := notice.Zone(zone)
	start, end := i.StartsAt.In(loc), i.EndsAt.In(loc)
	w := wordsOf(l)
	s := Slot{
		Date: start.Format("02/01/2006"), Time: start.Format("15:04"), End: end.Format("15:04"),
		Weekday: w.weekdays[start.Weekday()], Day: strconv.Itoa(start.Day()),
		Zone: zoneLabel(start, zone, l),
	}
	s.Short, _, _ = strings.Cut(s.Weekday, "-")
	month := w.months[start.Month()-1]
	s.Month = month
	if l == notice.English {
		s.Date = start.Format("2 Jan 2006")
		s.Long = fmt.Sprintf("%s, %d %s %d", s.Weekday, start.Day(), month, start.Year())
		return s
	}
	day := s.Day
	if start.Day() == 1 {
		day = "1º"
	}
	s.Long = fmt.Sprintf("%s, %s de %s de %d", s.Weekday, day, month, start.Year())
	return s
}

// zoneLabel names a zone for people: a city or a region they know, and the offset on that very day.
func zoneLabel(t time.Time, zone string, l notice.Locale) string {
	_, seconds := t.Zone()
	offset := "GMT"
	if seconds != 0 {
		offset = fmt.Sprintf("GMT%+d", seconds/3600)
		if m := seconds / 60 % 60; m != 0 {
			offset += fmt.Sprintf(":%02d", max(m, -m))
		}
	}
	if t.Location() == time.UTC {
		return "UTC"
	}
	city := cityOf(zone)
	if l == notice.English {
		return fmt.Sprintf("%s time (%s)", city, offset)
	}
	return fmt.Sprintf("horário de %s (%s)", city, offset)
}

// cityOf is the name Brazilians give to a zone, or the city of the zone's IANA name.
func cityOf(zone string) string {
	switch zone {
	case "America/Sao_Paulo":
		return "Brasília"
	case "America/Cuiaba":
		return "Cuiabá"
	case "America/Belem":
		return "Belém"
	case "America/Maceio":
		return "Maceió"
	case "America/Araguaina":
		return "Araguaína"
	case "America/Santarem":
		return "Santarém"
	case "America/Noronha":
		return "Fernando de Noronha"
	}
	return strings.ReplaceAll(zone[strings.LastIndexByte(zone, '/')+1:], "_", " ")
}

type words struct {
	weekdays [7]string
	months   [12]string
}

func wordsOf(l notice.Locale) words {
	if l == notice.English {
		return words{
			weekdays: [7]string{"Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"},
			months: [12]string{"January", "February", "March", "April", "May", "June", "July", "August",
				"September", "October", "November", "December"},
		}
	}
	return words{
		weekdays: [7]string{"domingo", "segunda-feira", "terça-feira", "quarta-feira", "quinta-feira", "sexta-feira", "sábado"},
		months: [12]string{"janeiro", "fevereiro", "março", "abril", "maio", "junho", "julho", "agosto",
			"setembro", "outubro", "novembro", "dezembro"},
	}
}

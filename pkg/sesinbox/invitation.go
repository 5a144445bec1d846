package sesinbox

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// invitation is the first VEVENT of a calendar object (RFC 5545), with the method of iMIP (RFC 6047).
type invitation struct {
	Method      string   `json:"method"`
	UID         string   `json:"uid"`
	Sequence    int      `json:"sequence"`
	Status      string   `json:"status,omitempty"`
	Summary     string   `json:"summary"`
	Description string   `json:"description,omitempty"`
	Location    string   `json:"location,omitempty"`
	URL         string   `json:"url,omitempty"`
	Start       string   `json:"start"` // RFC 3339; a date, or a local time, where the calendar has no zone for it
	End         string   `json:"end,omitempty"`
	TimeZone    string   `json:"time_zone,omitempty"` // TZID of the start
	Organizer   *person  `json:"organizer"`
	Attendees   []person `json:"attendees"`
	Source      string   `json:"source"`
}

type person struct {
	Name   string `json:"name,omitempty"`
	Email  string `json:"email"`
	Status string `json:"status,omitempty"` // PARTSTAT
}

// property is one content line, taken apart.
type property struct {
	name   string
	params map[string]string
	value  string
}

// parseInvitation reads what it can and tells the rest in warnings. It is nil where there is no event at all.
func parseInvitation(source []byte) (*invitation, []string) {
	inv := &invitation{Attendees: []person{}, Source: clean(string(source))}
	var warnings []string
	inside, events := []string{}, 0
	for _, line := range unfold(inv.Source) {
		p, ok := parseProperty(line)
		if !ok {
			warnings = append(warnings, fmt.Sprintf("A calendar line is malformed: %.60q.", line))
			continue
		}
		switch {
		case p.name == "BEGIN":
			inside = append(inside, strings.ToUpper(p.value))
			if strings.EqualFold(p.value, "VEVENT") {
				events++
			}
		case p.name == "END":
			if len(inside) == 0 || !strings.EqualFold(inside[len(inside)-1], p.value) {
				warnings = append(warnings, "The calendar's BEGIN and END don't match.")
			}
			inside = inside[:max(0, len(inside)-1)]
		case p.name == "METHOD" && len(inside) == 1:
			inv.Method = strings.ToUpper(p.value)
		case len(inside) == 2 && inside[1] == "VEVENT" && events == 1:
			warnings = append(warnings, inv.set(p)...)
		}
	}
	if events == 0 {
		return nil, append(warnings, "The calendar part holds no event.")
	}
	if len(inside) > 0 {
		warnings = append(warnings, "The calendar part ends too early.")
	}
	if inv.UID == "" || inv.Start == "" {
		warnings = append(warnings, "The event lacks UID or DTSTART.")
	}
	return inv, warnings
}

func (inv *invitation) set(p property) (warnings []string) {
	var err error
	switch p.name {
	case "UID":
		inv.UID = p.value
	case "SEQUENCE":
		inv.Sequence, err = strconv.Atoi(p.value)
	case "STATUS":
		inv.Status = strings.ToUpper(p.value)
	case "SUMMARY":
		inv.Summary = unescape(p.value)
	case "DESCRIPTION":
		inv.Description = unescape(p.value)
	case "LOCATION":
		inv.Location = unescape(p.value)
	case "URL":
		inv.URL = p.value
	case "DTSTART":
		inv.TimeZone = p.params["TZID"]
		inv.Start, err = calendarTime(p)
	case "DTEND":
		inv.End, err = calendarTime(p)
	case "ORGANIZER":
		who := calendarPerson(p)
		inv.Organizer = &who
	case "ATTENDEE":
		inv.Attendees = append(inv.Attendees, calendarPerson(p))
	}
	if err != nil {
		return []string{fmt.Sprintf("The event's %s is malformed.", p.name)}
	}
	return nil
}

func calendarPerson(p property) person {
	email := p.value
	if len(email) >= 7 && strings.EqualFold(email[:7], "mailto:") {
		email = email[7:]
	}
	return person{Name: p.params["CN"], Email: email, Status: strings.ToUpper(p.params["PARTSTAT"])}
}

// calendarTime turns the three forms of DATE-TIME, and DATE, into RFC 3339 as far as the zone is known.
func calendarTime(p property) (string, error) {
	if t, err := time.Parse("20060102T150405Z", p.value); err == nil {
		return t.Format(time.RFC3339), nil
	}
	if t, err := time.Parse("20060102", p.value); err == nil {
		return t.Format(time.DateOnly), nil
	}
	zone := p.params["TZID"]
	location, err := time.LoadLocation(zone)
	if err != nil || zone == "" || zone == "Local" {
		t, err := time.Parse("20060102T150405", p.value)
		return t.Format("2006-01-02T15:04:05"), err
	}
	t, err := time.ParseInLocation("20060102T150405", p.value, location)
	return t.Format(time.RFC3339), err
}

// calendarMethod is the METHOD property of a calendar object, or "".
func calendarMethod(source []byte) string {
	for _, line := range unfold(clean(string(source))) {
		if p, ok := parseProperty(line); ok && p.name == "METHOD" {
			return p.value
		}
	}
	return ""
}

// unfold joins continued lines (RFC 5545, section 3.1) and drops empty ones.
func unfold(source string) []string {
	var lines []string
	for line := range strings.SplitSeq(strings.ReplaceAll(source, "\r\n", "\n"), "\n") {
		switch {
		case line == "":
		case (line[0] == ' ' || line[0] == '\t') && len(lines) > 0:
			lines[len(lines)-1] += line[1:]
		default:
			lines = append(lines, line)
		}
	}
	return lines
}

// parseProperty reads `NAME;PARAM=value;PARAM="quoted":value`.
func parseProperty(line string) (p property, ok bool) {
	end := strings.IndexAny(line, ";:")
	if end <= 0 {
		return property{}, false
	}
	p = property{name: strings.ToUpper(line[:end]), params: make(map[string]string)}
	rest := line[end:]
	for strings.HasPrefix(rest, ";") {
		name, after, found := strings.Cut(rest[1:], "=")
		if !found {
			return property{}, false
		}
		value, remaining, ok := paramValue(after)
		if !ok {
			return property{}, false
		}
		p.params[strings.ToUpper(name)] = value
		rest = remaining
	}
	if !strings.HasPrefix(rest, ":") {
		return property{}, false
	}
	p.value = rest[1:]
	return p, true
}

// paramValue takes a value, quoted or not, off the front. Of a list, it is the whole list.
func paramValue(s string) (value, rest string, ok bool) {
	quoted := false
	for i := range len(s) {
		switch {
		case s[i] == '"':
			quoted = !quoted
		case !quoted && (s[i] == ';' || s[i] == ':'):
			return strings.ReplaceAll(s[:i], `"`, ""), s[i:], true
		}
	}
	return "", "", false
}

// unescape undoes the escapes of TEXT values (RFC 5545, section 3.3.11).
func unescape(s string) string {
	return strings.NewReplacer(`\\`, `\`, `\n`, "\n", `\N`, "\n", `\;`, ";", `\,`, ",").Replace(s)
}

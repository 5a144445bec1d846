package mail_test

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-ical"
	"github.com/emersion/go-message"
	_ "github.com/emersion/go-message/charset"
	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/healthmed/healthmed/services/notifier/internal/mail"
	"github.com/healthmed/healthmed/services/notifier/internal/notice"
	"github.com/healthmed/healthmed/services/notifier/internal/preview"
)

// The parsers of this file are not the libraries that compose.

// received is a message as a mail program takes it apart.
type received struct {
	header   message.Header
	shape    string // of the parts
	body     map[string]string
	method   string // of the calendar part
	calendar *ical.Calendar
}

func receive(t testing.TB, raw []byte) received {
	t.Helper()
	for line := range bytes.SplitSeq(raw, []byte("\r\n")) {
		if len(line) > 998 || bytes.ContainsAny(line, "\r\n") {
			t.Fatalf("a line is not as RFC 5322 wants it: %.80q", line)
		}
	}
	entity, err := message.Read(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	r := received{header: entity.Header, body: map[string]string{}}
	r.shape = r.walk(t, entity)
	if text, ok := r.body["text/calendar"]; ok {
		for line := range strings.SplitSeq(text, "\r\n") {
			if len(line) > 75 || strings.ContainsAny(line, "\r\n") {
				t.Errorf("a calendar line is not as RFC 5545 wants it: %.90q", line)
			}
		}
		if r.calendar, err = ical.NewDecoder(strings.NewReader(text)).Decode(); err != nil {
			t.Fatalf("the calendar can't be read: %v\n%s", err, text)
		}
	}
	return r
}

func (r *received) walk(t testing.TB, e *message.Entity) string {
	t.Helper()
	kind, params, err := e.Header.ContentType()
	if err != nil {
		t.Fatal(err)
	}
	parts := e.MultipartReader()
	if parts == nil {
		body, err := io.ReadAll(e.Body)
		if err != nil {
			t.Fatal(err)
		}
		r.body[kind] = string(body)
		if kind == "text/calendar" {
			r.method = params["method"]
		}
		if kind != "application/ics" && !strings.EqualFold(params["charset"], "utf-8") {
			t.Errorf("%s has charset %q", kind, params["charset"])
		}
		return kind
	}
	var inside []string
	for {
		part, err := parts.NextPart()
		if errors.Is(err, io.EOF) {
			return kind + "[" + strings.Join(inside, " ") + "]"
		}
		if err != nil {
			t.Fatal(err)
		}
		inside = append(inside, r.walk(t, part))
	}
}

func (r received) subject(t testing.TB) string {
	t.Helper()
	s, err := r.header.Text("Subject")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func seal(t testing.TB, c *mail.Composer, n notice.Notice) received {
	t.Helper()
	e, err := c.Seal(n)
	if err != nil {
		t.Fatal(err)
	}
	return receive(t, e.Raw)
}

func TestSeal_IsReadByOthersAsItWasMeant(t *testing.T) {
	c := composer(t)
	const invited = "multipart/mixed[multipart/alternative[text/plain text/html text/calendar] application/ics]"
	for _, l := range locales() {
		for _, template := range notice.Templates() {
			t.Run(string(l)+"/"+string(template), func(t *testing.T) {
				n := preview.Sample(template, l)
				r := seal(t, c, n)
				m, err := c.Compose(n)
				if err != nil {
					t.Fatal(err)
				}
				want := "multipart/alternative[text/plain text/html]"
				if m.Method != "" {
					want = invited
				}
				if r.shape != want {
					t.Errorf("shape is %s, want %s", r.shape, want)
				}
				if got := r.subject(t); got != m.Subject {
					t.Errorf("subject %q", got)
				}
				if r.body["text/plain"] != m.Text || strings.TrimSpace(strings.ReplaceAll(r.body["text/html"], "\r\n", "\n")) != m.HTML {
					t.Error("text or HTML arrives other than composed")
				}
				if r.header.Get("Auto-Submitted") != "auto-generated" || r.header.Get("Content-Language") != string(l) ||
					r.header.Has("List-Unsubscribe") || r.header.Has("User-Agent") || r.header.Has("X-Mailer") {
					t.Errorf("headers: %v", r.header.Map())
				}
				if m.Method != "" {
					checkInvitation(t, r, n, m.Method)
				}
			})
		}
	}
}

func checkInvitation(t *testing.T, r received, n notice.Notice, method string) {
	t.Helper()
	if r.body["application/ics"] != r.body["text/calendar"] {
		t.Error("attachment and calendar part differ")
	}
	property, err := r.calendar.Props.Text("METHOD")
	if err != nil || property != method || r.method != method {
		t.Errorf("METHOD is %q, the part's parameter %q, want %q (%v)", property, r.method, method, err)
	}
	events := r.calendar.Events()
	if len(events) != 1 {
		t.Fatalf("%d events", len(events))
	}
	e := events[0]
	start, err1 := e.DateTimeStart(time.UTC)
	end, err2 := e.DateTimeEnd(time.UTC)
	if err1 != nil || err2 != nil || !start.Equal(n.Appointment.StartsAt) || !end.Equal(n.Appointment.EndsAt) {
		t.Errorf("from %s (%v) to %s (%v)", start, err1, end, err2)
	}
	if v := e.Props.Get("DTSTART").Value; !strings.HasSuffix(v, "Z") {
		t.Errorf("DTSTART %s is not in UTC", v)
	}
	status := map[string]string{"REQUEST": "CONFIRMED", "CANCEL": "CANCELLED"}[method]
	got := map[string]string{}
	for _, name := range []string{"UID", "SEQUENCE", "STATUS", "ORGANIZER", "ATTENDEE", "CLASS"} {
		if p := e.Props.Get(name); p != nil {
			got[name] = p.Value
		}
	}
	want := map[string]string{
		"UID": mail.CalendarUID(n.Appointment.ID), "SEQUENCE": map[int64]string{1: "1", 2: "2"}[n.Appointment.Version], "STATUS": status,
		"ORGANIZER": "mailto:agenda@healthmed.example", "ATTENDEE": "mailto:" + n.To.Email, "CLASS": "PRIVATE",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("event (-want +got):\n%s", diff)
	}
	if e.Props.Get("DTSTAMP") == nil {
		t.Error("no DTSTAMP")
	}
}

// Over an appointment's life its UID stays and its SEQUENCE rises, whatever happens to it and whoever reads it.
func TestSeal_UIDStaysAndSequenceRises(t *testing.T) {
	c := composer(t)
	uids := map[string]bool{}
	last := ""
	for i, template := range []notice.Template{notice.DoctorBooked, notice.DoctorRescheduled, notice.DoctorRescheduled, notice.DoctorCancelled} {
		n := preview.Sample(template, notice.Portuguese)
		n.Appointment.ID, n.Appointment.Version = uuid.UUID{7}, int64(9+i) // 9, 10, 11, 12: not as text
		e := seal(t, c, n).calendar.Events()[0]
		uids[e.Props.Get("UID").Value] = true
		sequence := e.Props.Get("SEQUENCE").Value
		if len(sequence) < len(last) || len(sequence) == len(last) && sequence <= last {
			t.Errorf("SEQUENCE %s after %s", sequence, last)
		}
		last = sequence
	}
	if len(uids) != 1 {
		t.Errorf("UIDs: %v", uids)
	}
}

func TestSeal_RefusesAddressesThatWouldBeSeveral(t *testing.T) {
	c := composer(t)
	for _, address := range []string{"", "no-at-sign", "a@b\r\nBcc: c@d", "a@example.com, b@example.com", "A <a@example.com>", "a@exämple.com",
		strings.Repeat("a", 250) + "@example.com"} {
		n := preview.Sample(notice.DoctorBooked, notice.Portuguese)
		n.To.Email = address
		if _, err := c.Seal(n); err == nil || address != "" && strings.Contains(err.Error(), address) {
			t.Errorf("%.40q: %v", address, err)
		}
	}
}

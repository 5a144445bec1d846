package sesinbox_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sesv2/types"
	"github.com/google/go-cmp/cmp"

	"github.com/healthmed/healthmed/pkg/sesinbox"
)

type listing struct {
	Items []struct {
		ID, From, Subject, Preview, Invitation string
		To                                     []string
		Tags                                   map[string]string
		Size                                   int
	}
	NextCursor      *string `json:"next_cursor"`
	Total, Matching int
}

func (l listing) subjects() []string {
	subjects := []string{}
	for _, item := range l.Items {
		subjects = append(subjects, item.Subject)
	}
	return subjects
}

// mailWith makes a plain message.
func mailWith(subject, text string) string {
	return crlf("From: agenda@healthmed.example\nTo: ana@example.com\nContent-Type: text/plain; charset=utf-8\nSubject: " + subject + "\n\n" + text + "\n")
}

func TestMessages_AreFoundByRecipientAndText(t *testing.T) {
	e := start(t, sesinbox.Config{})
	e.send(t, rawInput(mailWith("Um", "Consulta com João às 10:00"), "ana@example.com"))
	e.send(t, rawInput(mailWith("Dois", "Lembrete"), "Bia <bia@example.com>"))
	in := rawInput(mailWith("Três", "Cancelada"), "ana@example.com", "bia@example.com")
	in.EmailTags = []types.MessageTag{{Name: aws.String("delivery_id"), Value: aws.String("d-77")}}
	e.send(t, in)
	tests := []struct {
		query string
		want  []string
	}{
		{"", []string{"Três", "Dois", "Um"}},
		{"?limit=2", []string{"Três", "Dois"}},
		{"?to=BIA@example.com", []string{"Três", "Dois"}},
		{"?to=bia", []string{}},
		{"?q=joao", []string{"Um"}},
		{"?q=JOÃO+consulta", []string{"Um"}},
		{"?q=joao+lembrete", []string{}},
		{"?q=d-77", []string{"Três"}},
		{"?q=tres&to=ana@example.com", []string{"Três"}},
		{"?q=bia@example.com", []string{"Três", "Dois"}},
	}
	for _, tt := range tests {
		t.Run(tt.query, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, getJSON[listing](t, e, "/messages"+tt.query).subjects()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestMessages_PagesMeetWithoutGapWhileNewOnesArrive(t *testing.T) {
	e := start(t, sesinbox.Config{})
	for i := range 5 {
		e.send(t, rawInput(mailWith(fmt.Sprint(i), "x")))
	}
	first := getJSON[listing](t, e, "/messages?limit=2")
	e.send(t, rawInput(mailWith("new", "x")))
	second := getJSON[listing](t, e, "/messages?limit=2&cursor="+*first.NextCursor)
	third := getJSON[listing](t, e, "/messages?limit=2&cursor="+*second.NextCursor)
	got := [][]string{first.subjects(), second.subjects(), third.subjects()}
	if diff := cmp.Diff([][]string{{"4", "3"}, {"2", "1"}, {"0"}}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if third.NextCursor != nil || third.Total != 6 {
		t.Errorf("last page: next cursor %v, total %d", third.NextCursor, third.Total)
	}
}

func TestMessages_WrongQuestionsAreExplained(t *testing.T) {
	e := start(t, sesinbox.Config{})
	tests := []struct {
		method, path string
		status       int
	}{
		{"GET", "/messages?limit=0", 422},
		{"GET", "/messages?limit=1001", 422},
		{"GET", "/messages?limit=x", 422},
		{"GET", "/messages?order=asc", 422},
		{"GET", "/messages/nothing", 404},
		{"GET", "/messages/nothing/raw", 404},
		{"GET", "/messages/nothing/html", 404},
		{"GET", "/messages/..%2f..%2fetc%2fpasswd/raw", 404},
		{"GET", "/nothing", 404},
		{"POST", "/messages", 405},
	}
	for _, tt := range tests {
		t.Run(tt.method+tt.path, func(t *testing.T) {
			if answer, body := e.request(t, tt.method, tt.path, nil, ""); answer.StatusCode != tt.status || body == "" {
				t.Errorf("%d %q, want %d and a reason", answer.StatusCode, body, tt.status)
			} else if got := answer.Header.Get("Content-Type"); got != "application/problem+json" {
				t.Errorf("Content-Type %q, want a problem", got)
			} else if allow := answer.Header.Get("Allow"); tt.status == http.StatusMethodNotAllowed && allow != "DELETE, GET, HEAD" {
				t.Errorf("Allow %q", allow)
			}
		})
	}
}

func TestMessages_DeleteEmptiesTheInbox(t *testing.T) {
	e := start(t, sesinbox.Config{Dir: t.TempDir()})
	id := e.send(t, rawInput(plainMail))
	if answer, _ := e.request(t, "DELETE", "/messages", nil, ""); answer.StatusCode != http.StatusNoContent {
		t.Fatalf("status %d", answer.StatusCode)
	}
	if got := getJSON[listing](t, e, "/messages"); len(got.Items) != 0 || got.Total != 0 {
		t.Errorf("still there: %+v", got)
	}
	if answer, _ := e.request(t, "GET", "/messages/"+id+"/raw", nil, ""); answer.StatusCode != http.StatusNotFound {
		t.Errorf("source: status %d", answer.StatusCode)
	}
}

const invitationMail = `
From: =?utf-8?q?Health=26Med?= <agenda@healthmed.example>
To: =?utf-8?q?Dra=2E_Helena?= <helena@example.com>
Subject: Nova consulta
MIME-Version: 1.0
Content-Type: multipart/mixed; boundary=outer

--outer
Content-Type: multipart/alternative; boundary=inner

--inner
Content-Type: text/plain; charset=iso-8859-1
Content-Transfer-Encoding: quoted-printable

Ol=E1
--inner
Content-Type: text/html; charset=utf-8
Content-Transfer-Encoding: base64

PCFkb2N0eXBlIGh0bWw+PGh0bWw+PGhlYWQ+PHRpdGxlPng8L3RpdGxlPjwvaGVhZD48Ym9keT48aW1nIHNyYz0iY2lkOmxvZ28iPjxhIGhyZWY9Imh0dHBzOi8vaGVhbHRobWVkLmV4YW1wbGUiPm88L2E+PC9ib2R5PjwvaHRtbD4=
--inner
Content-Type: text/calendar; method=REQUEST; charset=utf-8
Content-Transfer-Encoding: 8bit

BEGIN:VCALENDAR
METHOD:REQUEST
BEGIN:VTIMEZONE
TZID:America/Sao_Paulo
BEGIN:STANDARD
DTSTART:19700101T000000
END:STANDARD
END:VTIMEZONE
BEGIN:VEVENT
UID:a1@healthmed.example
SEQUENCE:3
SUMMARY:Consulta\, Ana\; primeira
DESCRIPTION:linha um\nlinha \\n dois
DTSTART;TZID=America/Sao_Paulo:20261203T100000
DTEND:20261203T133000Z
STATUS:CONFIRMED
ORGANIZER;CN="Health&Med; agenda":mailto:agenda@healthmed.example
ATTENDEE;CN=Dra. Helena;PARTSTAT=NEEDS-ACTION;RSVP=TRUE:MAILTO:hele
 na@example.com
BEGIN:VALARM
DESCRIPTION:not the event's
END:VALARM
END:VEVENT
END:VCALENDAR
--inner--
--outer
Content-Type: application/ics; name="invite.ics"
Content-Disposition: attachment; filename="invite.ics"

BEGIN:VCALENDAR
METHOD:REQUEST
END:VCALENDAR
--outer
Content-Type: image/png
Content-Id: <logo>
Content-Disposition: inline
Content-Transfer-Encoding: base64

iVBORw==
--outer--
`

type shown struct {
	From, Subject, Text, HTML string
	HeaderTo                  string `json:"header_to"`
	Invitation                map[string]any
	Warnings                  []string
	Parts                     []map[string]any
}

func TestMessage_IsShownAsItsReaderSeesIt(t *testing.T) {
	e := start(t, sesinbox.Config{})
	id := e.send(t, rawInput(crlf(invitationMail)))
	got := getJSON[shown](t, e, "/messages/"+id)
	delete(got.Invitation, "source")
	got.HTML = ""
	want := shown{
		From: "Health&Med <agenda@healthmed.example>", HeaderTo: "Dra. Helena <helena@example.com>", Subject: "Nova consulta", Text: "Olá",
		Invitation: map[string]any{
			"method": "REQUEST", "uid": "a1@healthmed.example", "sequence": 3.0, "status": "CONFIRMED",
			"summary": "Consulta, Ana; primeira", "description": "linha um\nlinha \\n dois",
			"start": "2026-12-03T10:00:00-03:00", "end": "2026-12-03T13:30:00Z", "time_zone": "America/Sao_Paulo",
			"organizer": map[string]any{"name": "Health&Med; agenda", "email": "agenda@healthmed.example"},
			"attendees": []any{map[string]any{"name": "Dra. Helena", "email": "helena@example.com", "status": "NEEDS-ACTION"}},
		},
		Warnings: []string{},
		Parts: []map[string]any{
			{"index": 0.0, "path": "1.1", "content_type": "text/plain", "attachment": false, "size": 4.0},
			{"index": 1.0, "path": "1.2", "content_type": "text/html", "attachment": false, "size": 131.0},
			{"index": 2.0, "path": "1.3", "content_type": "text/calendar", "attachment": false, "size": 0.0},
			{"index": 3.0, "path": "2", "content_type": "application/ics", "attachment": true, "filename": "invite.ics", "size": 0.0},
			{"index": 4.0, "path": "3", "content_type": "image/png", "attachment": false, "content_id": "logo", "size": 4.0},
		},
	}
	for _, i := range []int{2, 3} {
		want.Parts[i]["size"] = got.Parts[i]["size"]
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if item := getJSON[listing](t, e, "/messages").Items[0]; item.Invitation != "REQUEST" || item.Preview != "Olá" {
		t.Errorf("line of the list = %+v", item)
	}
}

func TestMessage_HTMLIsServedWhereNothingRuns(t *testing.T) {
	e := start(t, sesinbox.Config{})
	id := e.send(t, rawInput(crlf(invitationMail)))
	answer, body := e.request(t, "GET", "/messages/"+id+"/html", nil, "")
	want := `<!doctype html><html><head><base target="_blank"><title>x</title></head><body><img src="data:image/png;base64,iVBORw=="><a href="https://healthmed.example">o</a></body></html>`
	if diff := cmp.Diff(want, body); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	directives := make(map[string]string)
	for directive := range strings.SplitSeq(answer.Header.Get("Content-Security-Policy"), ";") {
		name, value, _ := strings.Cut(strings.TrimSpace(directive), " ")
		directives[name] = value
	}
	if _, sandboxed := directives["sandbox"]; !sandboxed || directives["default-src"] != "'none'" || directives["form-action"] != "'none'" {
		t.Errorf("policy = %v", directives)
	}
	for name, value := range directives {
		if strings.Contains(value, "http") || strings.Contains(value, "allow-scripts") || strings.Contains(value, "allow-same-origin") || name == "script-src" {
			t.Errorf("policy allows %s %s", name, value)
		}
	}
}

func TestMessage_PartsAndSourceAreDownloadsOnly(t *testing.T) {
	e := start(t, sesinbox.Config{})
	id := e.send(t, rawInput(crlf(invitationMail)))
	answer, body := e.request(t, "GET", "/messages/"+id+"/parts/1", nil, "")
	if answer.Header.Get("Content-Type") != "application/octet-stream" || !strings.HasPrefix(answer.Header.Get("Content-Disposition"), "attachment") {
		t.Errorf("HTML part: %v", answer.Header)
	}
	if !strings.Contains(body, "cid:logo") {
		t.Errorf("HTML part isn't decoded: %q", body)
	}
	answer, _ = e.request(t, "GET", "/messages/"+id+"/parts/3", nil, "")
	if got := answer.Header.Get("Content-Disposition"); got != "attachment; filename=invite.ics" {
		t.Errorf("disposition = %q", got)
	}
	for _, path := range []string{"/parts/5", "/parts/-1", "/parts/x"} {
		if answer, _ := e.request(t, "GET", "/messages/"+id+path, nil, ""); answer.StatusCode != http.StatusNotFound {
			t.Errorf("%s: status %d", path, answer.StatusCode)
		}
	}
	answer, body = e.request(t, "GET", "/messages/"+id+"/raw", nil, "")
	if source, _ := e.Raw(id); body != string(source) || answer.Header.Get("Content-Type") != "message/rfc822" {
		t.Errorf("source differs or has type %q", answer.Header.Get("Content-Type"))
	}
}

func TestMessage_MalformedIsShownWithWarnings(t *testing.T) {
	head := "From: a@example.com\nTo: b@example.com\nSubject: x\nMIME-Version: 1.0\n"
	deep := head
	for i := range 20 {
		deep += fmt.Sprintf("Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\n", i, i)
	}
	tests := []struct {
		name, source, warning, text string
	}{
		{"multipart cut off", head + "Content-Type: multipart/mixed; boundary=b\n\n--b\n\nthe text", "MIME structure is broken", "the text"},
		{"no boundary", head + "Content-Type: multipart/mixed\n\nthe text\n", "MIME structure is broken", ""},
		{"unknown charset", head + "Content-Type: text/plain; charset=x-klingon\n\nthe text\n", "can't be decoded", "the text\r\n"},
		{"unknown encoding", head + "Content-Transfer-Encoding: rot13\n\nthe text\n", "can't be decoded", "the text\r\n"},
		{"broken base64", head + "Content-Transfer-Encoding: base64\n\ndGhl%%%\n", "MIME structure is broken", "the"},
		{"malformed type", head + "Content-Type: ;;;\n\nthe text\n", "malformed Content-Type", ""},
		{"invalid UTF-8", head + "Content-Type: text/plain; charset=utf-8\n\n\xff\x00\n", "", "\uFFFD\uFFFD\r\n"},
		{"20 levels deep", deep + "\nthe text\n", "too many or too deeply nested", ""},
		{"calendar without event", head + "Content-Type: text/calendar\n\nBEGIN:VCALENDAR\nEND:VCALENDAR\n", "holds no event", ""},
		{"methods differ", head + "Content-Type: text/calendar; method=REQUEST\n\nBEGIN:VCALENDAR\nMETHOD:CANCEL\nBEGIN:VEVENT\nUID:x\nDTSTART:20261203T100000Z\nEND:VEVENT\nEND:VCALENDAR\n", "want them equal", ""},
	}
	e := start(t, sesinbox.Config{})
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			id := e.send(t, rawInput(crlf(tt.source)))
			got := getJSON[shown](t, e, "/messages/"+id)
			if got.Text != tt.text {
				t.Errorf("text = %q, want %q", got.Text, tt.text)
			}
			if warnings := strings.Join(got.Warnings, "\n"); !strings.Contains(warnings, tt.warning) || (tt.warning == "") != (warnings == "") {
				t.Errorf("warnings = %q, want %q in them", warnings, tt.warning)
			}
			if answer, _ := e.request(t, "GET", "/messages/"+id+"/raw", nil, ""); answer.StatusCode != http.StatusOK {
				t.Errorf("source: status %d", answer.StatusCode)
			}
		})
	}
}

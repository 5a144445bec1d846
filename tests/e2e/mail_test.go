package e2e

import (
	"bytes"
	"io"
	"strings"
	"testing"
	"time"

	ical "github.com/emersion/go-ical"
	"github.com/emersion/go-message"
	_ "github.com/emersion/go-message/charset" // decodes what senders declare
)

// part returns the decoded first part of a media type (type/subtype), with its parameters.
func part(t *testing.T, source []byte, mediaType string) (body []byte, params map[string]string) {
	t.Helper()
	entity, err := message.Read(bytes.NewReader(source))
	if err != nil {
		t.Fatalf("e-mail: %v", err)
	}
	err = entity.Walk(func(_ []int, e *message.Entity, err error) error {
		if err != nil {
			return err
		}
		kind, p, err := e.Header.ContentType()
		if err != nil || kind != mediaType || body != nil {
			return err
		}
		params = p
		body, err = io.ReadAll(e.Body)
		return err
	})
	if err != nil {
		t.Fatalf("e-mail: %v", err)
	}
	if body == nil {
		t.Fatalf("e-mail has no %s part:\n%s", mediaType, source)
	}
	return body, params
}

func textPart(t *testing.T, source []byte) string {
	t.Helper()
	body, _ := part(t, source, "text/plain")
	if html, _ := part(t, source, "text/html"); !bytes.Contains(html, []byte("<html")) {
		t.Error("the HTML part is not a page")
	}
	return string(body)
}

// invitation checks the calendar part with a parser that isn't the composer's.
func invitation(t *testing.T, source []byte, method string, want appointment) {
	t.Helper()
	body, params := part(t, source, "text/calendar")
	calendar, err := ical.NewDecoder(bytes.NewReader(body)).Decode()
	if err != nil {
		t.Fatalf("invitation: %v\n%s", err, body)
	}
	if got := calendar.Props.Get(ical.PropMethod).Value; got != method || !strings.EqualFold(params["method"], method) {
		t.Errorf("METHOD %q, method parameter %q, want %s", got, params["method"], method)
	}
	list := calendar.Events()
	if len(list) != 1 {
		t.Fatalf("%d events in the invitation, want 1", len(list))
	}
	start, err := list[0].DateTimeStart(time.UTC)
	if err != nil {
		t.Fatal(err)
	}
	end, err := list[0].DateTimeEnd(time.UTC)
	if err != nil {
		t.Fatal(err)
	}
	if !start.Equal(want.StartsAt) || !end.Equal(want.EndsAt) {
		t.Errorf("invitation from %s to %s, want %s to %s", start, end, want.StartsAt, want.EndsAt)
	}
	if uid := list[0].Props.Get(ical.PropUID).Value; !strings.Contains(uid, want.ID) {
		t.Errorf("UID %q does not name the appointment", uid)
	}
}

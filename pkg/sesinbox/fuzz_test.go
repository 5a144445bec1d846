package sesinbox

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"
)

// Whatever is stored can be shown: parsing ends, and gives valid JSON.
func FuzzParse(f *testing.F) {
	f.Add([]byte("From: a@b.example\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nx\r\n--b--\r\n"))
	f.Add([]byte("From: a\r\nContent-Type: text/calendar; method=REQUEST\r\n\r\nBEGIN:VCALENDAR\r\nBEGIN:VEVENT\r\nDTSTART;TZID=\"x\":2026\r\n"))
	f.Add([]byte("Content-Type: text/html; charset=utf-7\r\nContent-Transfer-Encoding: base64\r\n\r\nPGI+\r\n"))
	f.Fuzz(func(t *testing.T, source []byte) {
		v := parse(source)
		body, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		if !utf8.Valid(body) || len(v.Parts) > maxParts {
			t.Errorf("%d parts, valid UTF-8: %v", len(v.Parts), utf8.Valid(body))
		}
		standalone(v)
	})
}

// A calendar line is refused, or its parts are found in it.
func FuzzParseProperty(f *testing.F) {
	f.Add(`ATTENDEE;CN="Prado; Helena";PARTSTAT=ACCEPTED:mailto:h@example.com`)
	f.Add("DTSTART;TZID=America/Sao_Paulo:20261203T100000")
	f.Add(`X;A="`)
	f.Fuzz(func(t *testing.T, line string) {
		p, ok := parseProperty(line)
		if !ok {
			return
		}
		if !strings.HasSuffix(line, ":"+p.value) || !strings.HasPrefix(strings.ToUpper(line), p.name) {
			t.Errorf("%q became %+v", line, p)
		}
		parseInvitation([]byte("BEGIN:VCALENDAR\nBEGIN:VEVENT\n" + line + "\nEND:VEVENT\nEND:VCALENDAR\n"))
	})
}

// Splitting loses no byte: what isn't replaced leaves as it came.
func FuzzSplitSource(f *testing.F) {
	f.Add([]byte("From: a@b.example\r\nSubject: x\r\n y\r\n\r\nbody\r\n"))
	f.Add([]byte("A: b\n\n"))
	f.Add([]byte("\r\n"))
	f.Fuzz(func(t *testing.T, source []byte) {
		fields, body, err := splitSource(source)
		if err != nil {
			return
		}
		var joined []byte
		for _, f := range fields {
			joined = append(joined, f.raw...)
		}
		head, tail := source[:len(joined)], source[len(source)-len(body):]
		between := source[len(joined) : len(source)-len(body)]
		if !bytes.Equal(head, joined) || !bytes.Equal(tail, body) || strings.Trim(string(between), "\r\n") != "" {
			t.Errorf("%q became %q and %q", source, joined, body)
		}
	})
}

// An accepted address has one @ that splits it, and nothing that could start another header.
func FuzzCheckAddress(f *testing.F) {
	f.Add("Ana <ana@example.com>")
	f.Add("ana@example.com\r\nBcc: x@y.example")
	f.Add(`","@example.com`)
	f.Fuzz(func(t *testing.T, text string) {
		bare, err := checkAddress(text)
		if err != nil {
			return
		}
		if strings.ContainsAny(bare, "\r\n\x00 ") || !strings.Contains(bare, "@") || !strings.Contains(text, bare) {
			t.Errorf("%q became %q", text, bare)
		}
	})
}

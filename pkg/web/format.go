package web

import (
	"errors"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/getkin/kin-openapi/openapi3"
)

// Format checks a string format of the OpenAPI document, e.g. "cpf". Its fault joins those of the schema. It replaces a
// built-in one (uuid, date-time, date, email) of the same name.
type Format struct {
	Name   string
	Check  func(string) error
	Detail Text // shown instead of the value or the error
}

// formatCheck is a Format as the schema validator calls it.
type formatCheck struct {
	check  func(string) error
	detail Text
}

var errFormat = errors.New("wrong format")

// Validate implements openapi3.StringFormatValidator. What the check says is not passed on: it may hold the value.
func (f formatCheck) Validate(value string) error {
	if f.check(value) != nil {
		return formatError{f.detail}
	}
	return nil
}

// formatError carries the format's own text through the schema validator.
type formatError struct{ detail Text }

func (formatError) Error() string { return errFormat.Error() }

// formatsWith returns the built-in formats and the service's own.
func formatsWith(own []Format) map[string]formatCheck {
	formats := map[string]formatCheck{
		"uuid":      {checkUUID, Text{"deve ser um UUID", "must be a UUID"}},
		"date-time": {checkDateTime, Text{"deve ser data e hora com fuso (RFC 3339), como 2026-12-01T09:00:00-03:00", "must be a date and time with offset (RFC 3339), such as 2026-12-01T09:00:00-03:00"}},
		"date":      {checkDate, Text{"deve ser uma data AAAA-MM-DD", "must be a date YYYY-MM-DD"}},
		"email":     {checkEmail, Text{"deve ser um endereço de e-mail", "must be an e-mail address"}},
	}
	for _, f := range own {
		formats[f.Name] = formatCheck{f.Check, f.Detail}
	}
	return formats
}

func validators(formats map[string]formatCheck) map[string]openapi3.StringFormatValidator {
	m := make(map[string]openapi3.StringFormatValidator, len(formats))
	for name, f := range formats {
		m[name] = f
	}
	return m
}

// checkUUID accepts the canonical form alone (RFC 9562, section 4), of any version.
func checkUUID(s string) error {
	if len(s) != 36 {
		return errFormat
	}
	for i := range len(s) {
		c := s[i]
		switch {
		case i == 8 || i == 13 || i == 18 || i == 23:
			if c != '-' {
				return errFormat
			}
		case c >= '0' && c <= '9', c >= 'a' && c <= 'f', c >= 'A' && c <= 'F':
		default:
			return errFormat
		}
	}
	return nil
}

// checkDateTime accepts what time.Time reads strictly, within the years that it can write again in UTC.
func checkDateTime(s string) error {
	var t time.Time
	if err := t.UnmarshalText([]byte(s)); err != nil {
		return err
	}
	if year := t.UTC().Year(); year < 1 || year > 9999 {
		return errFormat
	}
	return nil
}

func checkDate(s string) error {
	t, err := time.Parse(time.DateOnly, s)
	if err != nil || t.Year() < 1 {
		return errFormat
	}
	return nil
}

// checkEmail accepts addresses that mail is really sent to: one @, a dotted domain, no quoting, no comments
// (RFC 5321, section 4.5.3.1 for the lengths). It allows letters of any script.
func checkEmail(s string) error {
	local, domain, ok := strings.Cut(s, "@")
	if !ok || local == "" || len(local) > 64 || len(s) > 254 || !utf8.ValidString(s) ||
		strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r == 0x7f || strings.ContainsRune(`"(),:;<>[\]`, r) }) ||
		strings.HasPrefix(local, ".") || strings.HasSuffix(local, ".") || strings.Contains(local, "..") ||
		strings.Contains(domain, "@") || !strings.Contains(domain, ".") {
		return errFormat
	}
	for label := range strings.SplitSeq(domain, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' ||
			strings.ContainsFunc(label, func(r rune) bool {
				return r < utf8.RuneSelf && r != '-' && (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z')
			}) {
			return errFormat
		}
	}
	return nil
}

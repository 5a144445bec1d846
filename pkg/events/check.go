package events

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"
)

// ErrInvalid marks everything that breaks the contract: a malformed envelope, or data that its schema refuses.
// No retry mends it. The text names fields, never their values.
var ErrInvalid = errors.New("invalid event")

func invalid(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrInvalid}, args...)...)
}

// The patterns of the schemas; a test holds both together.
var (
	codePattern   = regexp.MustCompile(`^[a-z][a-z0-9_.-]{0,63}$`)
	emailPattern  = regexp.MustCompile(`^[^@\s]+@[^@\s]+$`)
	localePattern = regexp.MustCompile(`^[a-z]{2,3}(-[A-Z]{2})?$`)
	crmPattern    = regexp.MustCompile(`^[0-9]{1,10}$`)
	ufPattern     = regexp.MustCompile(`^[A-Z]{2}$`)
	zonePattern   = regexp.MustCompile(`^[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+){0,3}$`)
)

// faults collects what is wrong with an event's data: all of it, so that one look is enough.
type faults []string

func (f *faults) unless(fault bool, text string) {
	if fault {
		*f = append(*f, text)
	}
}

func (f *faults) id(name string, id uuid.UUID) {
	f.unless(id == uuid.Nil, name+" is missing")
}

// when takes the years that are written with four digits in every zone; the zero time is the commonest mistake.
func (f *faults) when(name string, t time.Time) {
	f.unless(t.IsZero(), name+" is missing")
	f.unless(!t.IsZero() && (t.Year() < 1900 || t.Year() > 9998), name+" is not in the years 1900 to 9998")
}

func (f *faults) interval(prefix string, start, end time.Time) {
	f.when(prefix+"starts_at", start)
	f.when(prefix+"ends_at", end)
	f.unless(!start.Before(end), prefix+"ends_at is not after starts_at")
}

func (f *faults) match(name, value string, pattern *regexp.Regexp) {
	f.unless(!pattern.MatchString(value), name+" does not match "+pattern.String())
}

func (f *faults) length(name, value string, low, high int) {
	n := utf8.RuneCountInString(value)
	f.unless(n < low || n > high, fmt.Sprintf("%s is not %d to %d characters long", name, low, high))
	f.unless(!utf8.ValidString(value), name+" is not UTF-8")
}

func (f *faults) oneOf(name, value string, allowed ...string) {
	f.unless(!slices.Contains(allowed, value), name+" is not one of "+strings.Join(allowed, ", "))
}

func (f *faults) version(v int64) {
	f.unless(v < 1 || v > maxVersion, "version is not 1 to 2^53-1")
}

// maxVersion is the largest whole number that every JSON reader keeps exact.
const maxVersion = 1<<53 - 1

// validate checks the data of an event, with its times as micro gives them, and that it belongs to this place in
// its aggregate's history.
func validate(ev checked, sequence int64) error {
	if sequence < 1 || sequence > maxVersion {
		return invalid("sequence is not 1 to 2^53-1")
	}
	var f faults
	ev.check(&f)
	if v, ok := ev.(versioned); ok {
		f.unless(v.version() != sequence, "version differs from the envelope's sequence")
	}
	if len(f) > 0 {
		return invalid("%s: %s", ev.Type(), strings.Join(f, "; "))
	}
	return nil
}

// parseID accepts the canonical form alone (36 characters, lower case), so that ids can be compared as text.
func parseID(s string) (uuid.UUID, bool) {
	id, err := uuid.Parse(s)
	return id, err == nil && id.String() == s
}

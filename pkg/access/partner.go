package access

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/healthmed/healthmed/pkg/bus"
	"github.com/healthmed/healthmed/pkg/events"
)

// Partner is another system that subscribes to events.
type Partner struct {
	Name    string     `json:"name"` // also of their account and of their durables
	Key     string     `json:"key"`  // public nkey
	Events  []string   `json:"events"`
	Doctor  *uuid.UUID `json:"doctor,omitempty"` // only this doctor's
	Streams []string   `json:"streams"`          // in which they have a durable
	Added   time.Time  `json:"added"`
	// Revoked partners have no account any more; they leave the list once their durables are removed.
	Revoked bool `json:"revoked,omitempty"`
}

// Request asks for a partner.
type Request struct {
	Name string
	// Events are <context>.<aggregate>.<event>, with * for any, such as scheduling.appointment.*; version 1 is meant
	// unless a fourth word (v2) says otherwise.
	Events []string
	Doctor *uuid.UUID // nil is all
	Users  bool       // the partner may read USERS: names and e-mail addresses
	// From is where the durable begins: nil at the first event, else with the first at or after it.
	From *time.Time
}

var (
	validName = regexp.MustCompile(`^[a-z][a-z0-9-]{1,30}$`)
	validWord = regexp.MustCompile(`^([a-z_]+|\*)$`)
	version   = regexp.MustCompile(`^v[1-9][0-9]*$`)
)

// filters gives the subjects asked for, by stream. Every fault is reported at once.
func (r Request) filters() (map[string][]string, error) {
	var faults []error
	refuse := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	if !validName.MatchString(r.Name) {
		refuse("name %q: want 2 to 31 lower-case letters, digits and hyphens, a letter first", r.Name)
	}
	// Durables of a service begin with its name; a partner of that name would get the service's messages.
	if first, _, _ := strings.Cut(r.Name, "-"); slices.Contains(Holders(), first) {
		refuse("name %q: names that begin with %s are the system's own", r.Name, first)
	}
	if len(r.Events) == 0 {
		refuse("events are missing, such as scheduling.appointment.*")
	}
	out := map[string][]string{}
	for _, pattern := range r.Events {
		stream, subjects, err := r.subjects(pattern)
		if err != nil {
			refuse("events %q: %w", pattern, err)
			continue
		}
		for _, s := range subjects {
			if !slices.Contains(out[stream], s) {
				out[stream] = append(out[stream], s)
			}
		}
	}
	return out, errors.Join(faults...)
}

// subjects translates a pattern.
func (r Request) subjects(pattern string) (stream string, subjects []string, err error) {
	words := strings.Split(pattern, ".")
	if len(words) == 3 {
		words = append(words, "v1")
	}
	if len(words) != 4 || !version.MatchString(words[3]) || slices.ContainsFunc(words[:3], func(w string) bool { return !validWord.MatchString(w) }) {
		return "", nil, errors.New("want <context>.<aggregate>.<event>, with * for any, such as scheduling.appointment.*")
	}
	base := "healthmed." + strings.Join(words, ".")
	for _, d := range events.All() {
		if d.Stream == stream || !matches(words, d) {
			continue
		}
		if stream != "" {
			return "", nil, errors.New("the context can't be *: each has a stream of its own")
		}
		stream = d.Stream
	}
	switch {
	case stream == "":
		return "", nil, errors.New("no event has such a name; /events lists them")
	case stream == bus.Users && !r.Users:
		return "", nil, errors.New("they name people: say --users if the partner may read that")
	case r.Doctor == nil:
		return stream, []string{base + ".>"}, nil
	case stream != bus.Scheduling:
		return "", nil, errors.New("only events of scheduling are known by doctor")
	}
	doctor := base + "." + r.Doctor.String()
	return stream, []string{doctor, doctor + ".>"}, nil // the doctor's id is the last word of some, and followed by another in others
}

// matches compares a pattern's words with an event's name, <context>.<aggregate>.<event>.v<N>.
func matches(words []string, d events.Definition) bool {
	have := strings.Split(d.Name, ".")
	if len(have) != len(words) {
		return false
	}
	for i, word := range words {
		if word != "*" && word != have[i] {
			return false
		}
	}
	return true
}

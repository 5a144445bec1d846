package notice

import (
	"time"

	"github.com/google/uuid"
)

// Locale is a language that messages are written in.
type Locale string

// Locales.
const (
	Portuguese Locale = "pt-BR"
	English    Locale = "en"
)

// LocaleOf maps a BCP 47 tag to a locale; Portuguese unless the tag is English.
func LocaleOf(tag string) Locale {
	if len(tag) >= 2 && (tag[0]|0x20) == 'e' && (tag[1]|0x20) == 'n' && (len(tag) == 2 || tag[2] == '-' || tag[2] == '_') {
		return English
	}
	return Portuguese
}

// Contact is what the notifier knows of a person: its own projection of the USERS stream.
type Contact struct {
	ID      uuid.UUID
	Role    string
	Name    string
	Email   string
	Locale  Locale
	Version int64 // of the user aggregate; older events don't overwrite newer ones
	// Erased is set once the person asked for erasure; name and e-mail are empty from then on.
	Erased bool
	// Undeliverable says why the address is not written to any more (a hard bounce or a complaint), or is empty.
	Undeliverable string
	// Agenda and Reminders are the person's choice to receive them.
	Agenda, Reminders bool
}

// Preferences are the messages a person may turn off. Messages about changes of an appointment can't be.
type Preferences struct {
	Agenda    bool // tomorrow's agenda, doctors
	Reminders bool // a day before an appointment, patients
}

// Interval is a stretch of time.
type Interval struct {
	StartsAt time.Time `json:"starts_at"`
	EndsAt   time.Time `json:"ends_at"`
}

// Equal compares instants, whatever their zones.
func (i Interval) Equal(o Interval) bool {
	return i.StartsAt.Equal(o.StartsAt) && i.EndsAt.Equal(o.EndsAt)
}

// Statuses of an appointment, as scheduling names them.
const (
	StatusRequested = "requested"
	StatusBooked    = "booked"
	StatusDeclined  = "declined"
	StatusCancelled = "cancelled"
)

// Appointment is the latest known state of an appointment: the notifier's own projection of SCHEDULING.
type Appointment struct {
	ID, DoctorID, PatientID uuid.UUID
	StartsAt, EndsAt        time.Time
	TimeZone                string // IANA, the doctor's
	Status                  string
	Version                 int64
	ActorRole               string // who caused the latest version: patient, doctor, admin, system
}

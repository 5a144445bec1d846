package notice

import (
	"time"

	"github.com/google/uuid"
)

// Candidate is a delivery that is due, with all that the decision needs, read in one transaction.
type Candidate struct {
	ID              uuid.UUID
	Draft           Draft
	Attempts        int
	CreatedAt       time.Time
	Told            int64        // version that an earlier attempt of this delivery may have told, or 0
	Secret          *Account     // of an account message; nil once wiped
	Appointment     *Appointment // latest state; nil if it is about none
	Recipient       *Contact     // nil if not known (yet)
	Doctor, Patient *Contact
	Heard           Heard
	Agenda          []AgendaItem // for an agenda: that day's booked appointments, in order
}

// Heard is what the reader has been told of an appointment by other deliveries: sent, being sent, or perhaps sent, which
// counts as told, because a cancellation too many does no harm and one too few does.
type Heard struct {
	Version int64    // latest told; 0 is nothing
	Told    Interval // the time that was told with it
	Invited bool     // an invitation is in their calendar
	At      time.Time
	Sending bool // another message is under way: what they have heard isn't certain
}

// AgendaItem is a line of a doctor's agenda.
type AgendaItem struct {
	StartsAt, EndsAt time.Time
	PatientName      string
}

// Reasons why a delivery is not sent, or not yet. They are stored as last_error and published.
const (
	ReasonUnderWay      = "another_under_way"     // wait for what comes of it
	ReasonMovedAgain    = "moved_again"           // told of another time a moment ago; wait for the last of several moves
	ReasonSuperseded    = "superseded"            // a later state has been or will be told instead
	ReasonNeverTold     = "never_announced"       // the reader never heard of the appointment
	ReasonExpired       = "expired"               // too late to make sense
	ReasonErased        = "recipient_erased"      // the person's data was erased
	ReasonUndeliverable = "address_undeliverable" // a hard bounce or complaint before
	ReasonOptedOut      = "opted_out"
	ReasonEmpty         = "nothing_to_tell" // an agenda without appointments
	ReasonUnknown       = "contact_unknown" // a person is not known (yet)
	ReasonExhausted     = "retries_exhausted"
	ReasonInDoubt       = "in_doubt"
	ReasonLeaseExpired  = "lease_expired"
)

// Window is how long a delivery is tried, or waits for a person to become known.
const Window = 24 * time.Hour

// Calm is how long after one message a move is held back: whoever tries one time after another tells the last one.
// The first change is told at once.
const Calm = 5 * time.Second

// Verdict is what to do with a due delivery.
type Verdict int

// Verdicts.
const (
	Send Verdict = iota // send Decision.Notice
	Skip                // final, on purpose
	Wait                // look again at Decision.At
	Fail                // final, a fault
	Hold                // send at Decision.At, unless it is stale by then
)

// Decision is the outcome of Decide.
type Decision struct {
	Verdict Verdict
	Reason  string
	At      time.Time // of Wait and Hold
	Missing uuid.UUID // of Wait: whose arrival ends it
	Notice  Notice    // of Send
}

// Notice is a message with everything to compose it.
type Notice struct {
	DeliveryID, EventID uuid.UUID
	Template            Template
	To                  Contact
	DoctorName          string // empty when unknown or erased
	PatientName         string
	Appointment         Appointment // as of now
	Previous            *Interval   // of a move: the time the reader knows
	Invited             bool        // a cancellation takes an invitation back
	Offer               *Offer
	Day                 *Day // of an agenda
	Agenda              []AgendaItem
	Link                string // of an account message
	At                  time.Time
}

// Decide looks at a due delivery in the light of the latest state. Stale news is not told: a message whose appointment
// has moved on is either told with the latest state (ten quick moves become one message) or skipped (a cancelled
// booking isn't announced as new).
func (c Candidate) Decide(now time.Time) Decision {
	if !c.Draft.ExpiresAt.IsZero() && !now.Before(c.Draft.ExpiresAt) {
		return Decision{Verdict: Skip, Reason: ReasonExpired}
	}
	if c.Draft.Template.Account() {
		return c.account(now)
	}
	if c.Appointment != nil {
		if d, stale := c.stale(now); stale {
			return d
		}
	}
	if d, waiting := c.people(now); waiting {
		return d
	}
	switch {
	case c.Recipient.Erased:
		return Decision{Verdict: Skip, Reason: ReasonErased}
	case c.Recipient.Undeliverable != "":
		return Decision{Verdict: Skip, Reason: ReasonUndeliverable}
	case c.Draft.Template == DoctorAgenda && !c.Recipient.Agenda,
		c.Draft.Template == PatientReminder && !c.Recipient.Reminders:
		return Decision{Verdict: Skip, Reason: ReasonOptedOut}
	case c.Draft.Template == DoctorAgenda && len(c.Agenda) == 0:
		return Decision{Verdict: Skip, Reason: ReasonEmpty}
	}
	if c.Draft.Template == DoctorAgenda { // late, it tells what is still to come
		if c.Agenda = c.ahead(now); len(c.Agenda) == 0 {
			return Decision{Verdict: Skip, Reason: ReasonExpired}
		}
	}
	return Decision{Verdict: Send, Notice: c.notice(now)}
}

// ahead is what is left of the agenda.
func (c Candidate) ahead(now time.Time) []AgendaItem {
	for i, item := range c.Agenda {
		if now.Before(item.StartsAt) {
			return c.Agenda[i:]
		}
	}
	return nil
}

// account decides on a message of an account. It brings its own name and address, which may be newer than the contact.
func (c Candidate) account(now time.Time) Decision {
	switch {
	case c.Secret == nil:
		return Decision{Verdict: Skip, Reason: ReasonExpired}
	case c.Recipient != nil && c.Recipient.Erased:
		return Decision{Verdict: Skip, Reason: ReasonErased}
	case c.Recipient != nil && c.Recipient.Undeliverable != "" && c.Recipient.Email == c.Secret.Email:
		return Decision{Verdict: Skip, Reason: ReasonUndeliverable}
	}
	to := Contact{ID: c.Draft.RecipientID, Name: c.Secret.Name, Email: c.Secret.Email, Locale: LocaleOf(c.Secret.Locale)}
	if c.Recipient != nil {
		to.Role = c.Recipient.Role
	}
	return Decision{Verdict: Send, Notice: Notice{
		DeliveryID: c.ID, EventID: c.Draft.EventID, Template: c.Draft.Template, To: to, Link: c.Secret.Link, At: now,
	}}
}

// stale holds the delivery against the appointment's latest state and what its reader knows already.
func (c Candidate) stale(now time.Time) (Decision, bool) {
	t, a := c.Draft.Template, c.Appointment
	superseded := Decision{Verdict: Skip, Reason: ReasonSuperseded}
	switch {
	case !t.truthful(a.Status):
		return superseded, true
	case t == PatientReminder:
		return superseded, c.Draft.Version != a.Version
	case !t.Announces():
		return Decision{}, false
	case c.Heard.Sending:
		return Decision{Verdict: Hold, Reason: ReasonUnderWay, At: now.Add(time.Second)}, true
	case !now.Before(a.EndsAt):
		return Decision{Verdict: Skip, Reason: ReasonExpired}, true
	case c.Heard.Version >= max(c.Draft.Version, c.Told):
		return superseded, true
	case t.Cancels() && c.Heard.Version == 0:
		return Decision{Verdict: Skip, Reason: ReasonNeverTold}, true
	case t.Moves() && a.Status == StatusBooked && c.Heard.Version > 0 && !c.Heard.Invited && c.Draft.Version < a.Version:
		return superseded, true // a request was moved and then confirmed: the confirmation tells both
	case t.Moves() && c.Heard.Version > 0 && c.Heard.Told.Equal(Interval{a.StartsAt, a.EndsAt}):
		return superseded, true // moved and moved back before anybody was told
	case t.Moves() && c.Heard.Version > 0 && now.Before(c.Heard.At.Add(Calm)):
		return Decision{Verdict: Hold, Reason: ReasonMovedAgain, At: c.Heard.At.Add(Calm)}, true
	}
	return Decision{}, false
}

// people waits for those whose names the message needs: USERS and SCHEDULING are separate streams, so a booking may
// be heard of before its people are.
func (c Candidate) people(now time.Time) (Decision, bool) {
	var missing uuid.UUID
	switch {
	case c.Recipient == nil:
		missing = c.Draft.RecipientID
	case c.Doctor == nil && c.Draft.DoctorID != uuid.Nil:
		missing = c.Draft.DoctorID
	case c.Patient == nil && c.Draft.PatientID != uuid.Nil:
		missing = c.Draft.PatientID
	default:
		return Decision{}, false
	}
	since := c.CreatedAt
	if c.Draft.PlannedAt.After(since) { // planned for later, or retried by an operator
		since = c.Draft.PlannedAt
	}
	age := now.Sub(since)
	if age >= Window {
		return Decision{Verdict: Fail, Reason: ReasonUnknown}, true
	}
	// The arrival wakes it; looking again by the clock is only for an arrival at this very moment.
	pause := min(max(age, 2*time.Second), 10*time.Minute)
	return Decision{Verdict: Wait, Reason: ReasonUnknown, At: now.Add(pause), Missing: missing}, true
}

func (c Candidate) notice(now time.Time) Notice {
	n := Notice{
		DeliveryID: c.ID, EventID: c.Draft.EventID, Template: c.Draft.Template, To: *c.Recipient,
		Previous: c.Draft.Detail.Previous, Invited: c.Heard.Invited, Offer: c.Draft.Detail.Offer,
		Day: c.Draft.Detail.Day, Agenda: c.Agenda, At: now,
	}
	if c.Doctor != nil {
		n.DoctorName = c.Doctor.Name
	}
	if c.Patient != nil {
		n.PatientName = c.Patient.Name
	}
	if c.Appointment != nil {
		n.Appointment = *c.Appointment
	}
	if !c.Draft.Template.Moves() {
		return n
	}
	n.Previous = nil
	if c.Heard.Version > 0 {
		told := c.Heard.Told
		n.Previous = &told
	}
	// A moved request is a request still, for another time: nothing for a calendar yet.
	if n.Previous == nil || n.Appointment.Status == StatusRequested {
		n.Template = c.Draft.Template.first(n.Appointment.Status)
	}
	return n
}

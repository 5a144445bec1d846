package fault

import "time"

// Snapshot is everything that an operator can see of the system once it is quiet, beside the clients' journal. It is
// plain data, so that each check can be shown to fail.
type Snapshot struct {
	Taken time.Time

	People       []Person           // users' own
	Known        map[string][]Known // projections of people, by service
	Appointments []Appointment      // scheduling's own
	History      []Transition
	Copies       map[string][]Copy // projections of appointments, by service
	Waits        []Wait
	Deliveries   []Delivery
	Inbox        map[string]bool // events that the notifier has taken in
	Stuck        []string        // rows that are beyond their time, as the databases tell
	Quarantined  []string        // outbox rows that were given up

	Events      map[string][]Event // by stream, in stream order
	Durables    []Durable
	Observed    map[string]int // events that a subscriber of our own received, by id
	DeadLetters []string
	Mails       []Mail
}

// Person is an account.
type Person struct {
	ID, Role, Status, Name, Email string
	Version                       int64
}

// Known is what another service knows of a person. Email is empty where it isn't kept.
type Known struct {
	ID, Name, Email string
	Version         int64
}

// Appointment is a row that occupies, or occupied, time. A held one is no appointment yet.
type Appointment struct {
	ID, Doctor, Patient, Status, Reason string
	Starts, Ends, BlockedUntil          time.Time
	Version                             int64
}

// Occupies says whether the row takes time.
func (a Appointment) Occupies() bool {
	return a.Status == "held" || a.Status == "requested" || a.Status == "booked"
}

// Transition is one row of an appointment's history.
type Transition struct {
	ID, Action, Status string
	Version            int64
	At                 time.Time
}

// Copy is an appointment as another service knows it. Status is empty where it isn't kept.
type Copy struct {
	ID, Status string
	Stands     bool
	Version    int64
	Starts     time.Time
}

// Wait is a place in the waitlist.
type Wait struct {
	ID, Status, HoldID string
}

// Delivery is one message to one person.
type Delivery struct {
	ID, EventID, Template, Recipient, AppointmentID, Status, LastError string
	Attempts, Resends                                                  int
	Told                                                               int64 // version of the appointment that its reader was told
}

// Event is a stored message.
type Event struct {
	Seq                 uint64 // of the stream
	ID, Type, Aggregate string
	Version             int64
}

// Durable is a subscriber's position.
type Durable struct {
	Stream, Name      string
	Pending, Unacked  uint64
	AckFloor, LastSeq uint64
}

// Mail is an e-mail that the mail service accepted.
type Mail struct {
	ID, DeliveryID, Template string
	At                       time.Time
}

// Violation is a promise that was broken.
type Violation struct {
	Invariant string
	Detail    string
}

func (v Violation) String() string { return v.Invariant + ": " + v.Detail }

// Package booking holds the rules of scheduling: when a doctor may be seen, which slots that makes, and what may
// become of an appointment. It knows no SQL, no HTTP and no clock: the caller passes the time.
//
// A slot comes from one function only, Schedule.Slots. Listing, searching, holding, booking, moving and the
// waitlist's offers all use it, so that what is listed can be booked and nothing else can.
package booking

import (
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
)

// Errors of the domain. Each is one problem of the API.
var (
	// ErrDoctorNotFound: nobody by that id can be booked.
	ErrDoctorNotFound = errors.New("booking: doctor not found")
	// ErrNotApproved: an administrator has yet to approve the doctor.
	ErrNotApproved = errors.New("booking: doctor not approved")
	// ErrPatientNotFound: an attendant named a patient that doesn't exist.
	ErrPatientNotFound = errors.New("booking: patient not found")
	// ErrNoAvailability: the doctor hasn't said when they work.
	ErrNoAvailability = errors.New("booking: availability not set")
	// ErrNotFound: no such thing, or it isn't the caller's.
	ErrNotFound = errors.New("booking: not found")
	// ErrOutsideAvailability: the doctor doesn't see patients then, or it isn't where a slot begins.
	ErrOutsideAvailability = errors.New("booking: outside availability")
	// ErrTooSoon: it is past, or nearer than the doctor's minimum notice.
	ErrTooSoon = errors.New("booking: too soon")
	// ErrBeyondHorizon: it is further off than the doctor takes bookings for.
	ErrBeyondHorizon = errors.New("booking: beyond horizon")
	// ErrSlotTaken: the doctor's time is occupied.
	ErrSlotTaken = errors.New("booking: slot taken")
	// ErrOwnHold: it is occupied by the patient's own hold or offer, and to be booked with that.
	ErrOwnHold = fmt.Errorf("%w by the patient's own hold", ErrSlotTaken)
	// ErrPatientBusy: the patient has something else at that time.
	ErrPatientBusy = errors.New("booking: patient busy")
	// ErrHoldExpired: the hold has run out, or was another slot's.
	ErrHoldExpired = errors.New("booking: hold expired")
	// ErrTooManyHolds: the patient keeps as many slots as anyone may.
	ErrTooManyHolds = errors.New("booking: too many holds")
	// ErrTooManyWaiting: the patient waits in as many lines as anyone may.
	ErrTooManyWaiting = errors.New("booking: too many waitlist entries")
	// ErrInvalidTransition: the appointment's status doesn't allow it.
	ErrInvalidTransition = errors.New("booking: invalid transition")
	// ErrTooLate: the doctor's cancellation notice has passed for the patient.
	ErrTooLate = errors.New("booking: too late")
	// ErrTooEarly: an appointment can't be completed or missed before it begins.
	ErrTooEarly = errors.New("booking: too early")
	// ErrForbidden: this person may not do that, though they may see it.
	ErrForbidden = errors.New("booking: forbidden")
	// ErrStale: the resource has changed since the caller read it.
	ErrStale = errors.New("booking: stale version")
	// ErrDeparted: the person's account was erased.
	ErrDeparted = errors.New("booking: account erased")
)

// Bounds of what doctors and patients may set.
const (
	HoldFor         = 10 * time.Minute // a patient's hold on a slot
	OfferFor        = 30 * time.Minute // a waitlist offer
	LineFirst       = 3 * time.Second  // how long time that came free is kept for the waitlist, if nobody sees to it sooner
	RequestFor      = 24 * time.Hour   // a request that waits for the doctor
	MaxHolds        = 5                // live holds of one patient
	MaxWaiting      = 20               // open waitlist entries of one patient
	MaxListedDays   = 62               // days in one list of slots
	MaxReasonLength = 500              // characters
)

// Role of who acts.
type Role string

// Roles. System acts for the clock and for people who have left.
const (
	Patient Role = "patient"
	Doctor  Role = "doctor"
	Admin   Role = "admin"
	System  Role = "system"
)

// Actor is who acts. System has the nil id.
type Actor struct {
	Role Role
	ID   uuid.UUID
}

// Slot is a stretch of time in which a patient can be seen, [StartsAt, EndsAt), in UTC.
type Slot struct {
	StartsAt, EndsAt time.Time
}

// Interval is time that is taken, [Start, End) in Unix seconds, the buffer after the appointment included.
type Interval struct {
	Start, End int64
}

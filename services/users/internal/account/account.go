// Package account holds the people of Health&Med: patients, doctors and administrators, and the rules about
// what may be said of them. It knows no SQL, no HTTP and no clock; times are passed in.
package account

import (
	"errors"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/healthmed/healthmed/pkg/events"
)

// Role of a user. A user has exactly one.
type Role string

// Roles.
const (
	Patient Role = "patient"
	Doctor  Role = "doctor"
	Admin   Role = "admin"
)

// Status of a user.
type Status string

// Statuses.
const (
	// Active users may do all that their role allows; active doctors are listed.
	Active Status = "active"
	// PendingVerification is a doctor whom an administrator has yet to approve: may sign in, is not listed.
	PendingVerification Status = "pending_verification"
	// Rejected is a doctor whom an administrator refused: may sign in and appeal, is not listed.
	Rejected Status = "rejected"
	// Erased is what is left of a person whose data was erased: id, role and dates, nothing personal.
	Erased Status = "erased"
)

// Errors that rules and stores answer with. The API translates each into a problem.
var (
	// ErrNotFound: no such user, or not one that the caller may know of.
	ErrNotFound = errors.New("account: not found")
	// ErrAlreadyRegistered: e-mail, CPF or CRM belongs to another account. Which one is deliberately not said.
	ErrAlreadyRegistered = errors.New("account: already registered")
	// ErrInvalidCredentials: unknown e-mail or wrong password; nobody can tell which.
	ErrInvalidCredentials = errors.New("account: invalid credentials")
	// ErrInvalidToken: a refresh, verification or reset token that is unknown, used, revoked or expired.
	ErrInvalidToken = errors.New("account: invalid token")
	// ErrStale: the resource has changed since the version that the caller saw.
	ErrStale = errors.New("account: stale version")
	// ErrInvalidTransition: the decision does not fit the doctor's status.
	ErrInvalidTransition = errors.New("account: invalid transition")
)

// User is one person with an account.
type User struct {
	ID            uuid.UUID
	Role          Role
	Status        Status
	Version       int64 // from 1; one event per version
	Name          Name
	Email         Email
	EmailVerified bool
	PendingEmail  Email // a change of e-mail that awaits its confirmation; empty without one
	Phone         Phone // empty when not given
	BirthDate     *time.Time
	Locale        string // BCP 47: pt-BR or en
	CPF           CPF    // empty for administrators
	CRM           CRM    // zero for all but doctors
	Specialties   []string
	CreatedAt     time.Time
	UpdatedAt     time.Time
}

// DefaultLocale is what a Brazilian reader sees.
const DefaultLocale = "pt-BR"

// Registration is what somebody says of themselves when they register, parsed.
type Registration struct {
	Role        Role
	Name        Name
	Email       Email
	CPF         CPF
	CRM         CRM
	Specialties []string
	Phone       Phone
	BirthDate   *time.Time
	Locale      string
}

// Register makes the user of a registration. manualApproval says that doctors wait for an administrator.
func Register(id uuid.UUID, r Registration, manualApproval bool, now time.Time) User {
	u := User{
		ID: id, Role: r.Role, Status: Active, Version: 1, Name: r.Name, Email: r.Email, CPF: r.CPF, CRM: r.CRM,
		Specialties: slices.Compact(slices.Sorted(slices.Values(r.Specialties))), Phone: r.Phone, BirthDate: r.BirthDate,
		Locale: r.Locale, CreatedAt: now.UTC().Truncate(time.Microsecond),
	}
	if u.Locale == "" {
		u.Locale = DefaultLocale
	}
	if u.Role == Doctor && manualApproval {
		u.Status = PendingVerification
	}
	u.UpdatedAt = u.CreatedAt
	return u
}

// Listed says whether the public may find the user among the doctors.
func (u User) Listed() bool { return u.Role == Doctor && u.Status == Active }

// Registered is the event of a new account.
func (u User) Registered() events.Event {
	ev := events.UserRegistered(u.shape())
	return &ev
}

// Updated is the event of a changed account.
func (u User) Updated() events.Event {
	ev := u.shape()
	return &ev
}

// shape is what events say of a user: enough to address them, never CPF or phone.
func (u User) shape() events.UserUpdated {
	ev := events.UserUpdated{
		UserID: u.ID, Role: string(u.Role), Status: string(u.Status), Name: string(u.Name), Email: string(u.Email),
		Locale: u.Locale, OccurredAt: u.UpdatedAt,
	}
	if u.Role == Doctor {
		ev.Doctor = &events.DoctorProfile{
			CRM:         events.CRM{Number: u.CRM.Number, State: u.CRM.State},
			Specialties: append([]string{}, u.Specialties...),
		}
	}
	return ev
}

package events

import (
	"encoding/json"
	"time"

	"github.com/google/uuid"
)

const (
	userRegistered = "users.user.registered.v1"
	userUpdated    = "users.user.updated.v1"
	userErased     = "users.user.erased.v1"
)

// CRM is a doctor's registration with a regional council of medicine.
type CRM struct {
	Number string `json:"number"` // 1 to 10 digits
	State  string `json:"state"`  // UF: two capital letters
}

// DoctorProfile is what UserRegistered and UserUpdated say of a doctor beyond name and e-mail.
type DoctorProfile struct {
	CRM         CRM      `json:"crm"`
	Specialties []string `json:"specialties"` // codes such as cardiology
}

// MarshalJSON writes an array of specialties, also where there is none: the schema knows no null.
func (p DoctorProfile) MarshalJSON() ([]byte, error) {
	type plain DoctorProfile
	if p.Specialties == nil {
		p.Specialties = []string{}
	}
	return json.Marshal(plain(p))
}

// UserRegistered says that an account was made. UserUpdated has the same shape, after the change.
// Event structs are used as pointers (*UserRegistered implements Event).
type UserRegistered struct {
	UserID     uuid.UUID      `json:"user_id"`
	Role       string         `json:"role"`   // patient, doctor, admin
	Status     string         `json:"status"` // active, pending_verification, rejected; treat any other as not active
	Name       string         `json:"name"`
	Email      string         `json:"email"`
	Locale     string         `json:"locale"` // BCP 47, e.g. pt-BR
	Doctor     *DoctorProfile `json:"doctor,omitempty"`
	OccurredAt time.Time      `json:"occurred_at"`
}

func (e *UserRegistered) Type() string           { return typePrefix + userRegistered }
func (e *UserRegistered) Source() string         { return sourceUsers }
func (e *UserRegistered) AggregateID() uuid.UUID { return e.UserID }
func (e *UserRegistered) Subject() string        { return subject(userRegistered, e.UserID) }
func (e *UserRegistered) At() time.Time          { return e.OccurredAt.UTC() }

func (e *UserRegistered) check(f *faults) {
	f.id("user_id", e.UserID)
	f.oneOf("role", e.Role, "patient", "doctor", "admin")
	f.match("status", e.Status, codePattern)
	f.length("name", e.Name, 1, 200)
	f.match("email", e.Email, emailPattern)
	f.length("email", e.Email, 3, 254)
	f.match("locale", e.Locale, localePattern)
	f.when("occurred_at", e.OccurredAt)
	if e.Doctor == nil {
		f.unless(e.Role == "doctor", "doctor is missing")
		return
	}
	f.match("doctor.crm.number", e.Doctor.CRM.Number, crmPattern)
	f.match("doctor.crm.state", e.Doctor.CRM.State, ufPattern)
	for _, s := range e.Doctor.Specialties {
		f.match("doctor.specialties", s, codePattern)
	}
}

// UserUpdated is UserRegistered's shape, after a change.
type UserUpdated UserRegistered

func (e *UserUpdated) Type() string           { return typePrefix + userUpdated }
func (e *UserUpdated) Source() string         { return sourceUsers }
func (e *UserUpdated) AggregateID() uuid.UUID { return e.UserID }
func (e *UserUpdated) Subject() string        { return subject(userUpdated, e.UserID) }
func (e *UserUpdated) At() time.Time          { return e.OccurredAt.UTC() }
func (e *UserUpdated) check(f *faults)        { (*UserRegistered)(e).check(f) }

// UserErased says that a person's data was erased; their earlier events have been purged.
type UserErased struct {
	UserID     uuid.UUID `json:"user_id"`
	Role       string    `json:"role"` // patient, doctor, admin
	OccurredAt time.Time `json:"occurred_at"`
}

func (e *UserErased) Type() string           { return typePrefix + userErased }
func (e *UserErased) Source() string         { return sourceUsers }
func (e *UserErased) AggregateID() uuid.UUID { return e.UserID }
func (e *UserErased) Subject() string        { return subject(userErased, e.UserID) }
func (e *UserErased) At() time.Time          { return e.OccurredAt.UTC() }

func (e *UserErased) check(f *faults) {
	f.id("user_id", e.UserID)
	f.oneOf("role", e.Role, "patient", "doctor", "admin")
	f.when("occurred_at", e.OccurredAt)
}

package account

import (
	"net/netip"
	"time"

	"github.com/google/uuid"
)

// Action is what the audit log records.
type Action string

// Actions.
const (
	SignedIn        Action = "sign_in"
	SignedOut       Action = "sign_out"
	TokenReused     Action = "refresh_token_reuse"
	PasswordChanged Action = "password_change"
	PasswordReset   Action = "password_reset"
	EmailVerified   Action = "email_verify"
	AccountRead     Action = "account_read"
	AccountsListed  Action = "accounts_list"
	AccountChanged  Action = "account_change"
	AccountErased   Action = "account_erase"
	AccountExported Action = "account_export"
	AdminRegistered Action = "admin_register"
	DoctorDecided   Action = "doctor_verification"
	AuditRead       Action = "audit_read"
)

// Outcome of an action.
type Outcome string

// Outcomes.
const (
	OK     Outcome = "ok"
	Denied Outcome = "denied"
)

// Entry is one line of the audit log: who did what to whose data, when, from where, and with what outcome. It holds ids, never
// names, e-mails or numbers.
type Entry struct {
	ID        uuid.UUID
	At        time.Time
	ActorID   uuid.UUID // nil: nobody signed in
	ActorRole Role
	Action    Action
	SubjectID uuid.UUID // nil: nobody in particular
	Outcome   Outcome
	Address   netip.Addr
	RequestID string
	Detail    map[string]any
}

// Of gives the entry for an action on somebody's data.
func (e Entry) Of(action Action, subject uuid.UUID, outcome Outcome) Entry {
	e.Action, e.SubjectID, e.Outcome = action, subject, outcome
	return e
}

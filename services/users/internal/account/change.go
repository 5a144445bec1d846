package account

import (
	"slices"
	"time"
)

// Patch is what somebody wants changed; nil leaves as it is.
type Patch struct {
	Name        *Name
	Email       *Email
	Phone       *Phone // empty removes it
	BirthDate   *time.Time
	Locale      *string
	CRM         *CRM
	Specialties []string
}

// Change applies a patch. A new e-mail of one's own waits until its mailbox has confirmed it; confirmed says that the
// caller answers for it (an administrator), and it counts at once, unverified. The version rises only when something changed.
func (u User) Change(p Patch, confirmed bool, now time.Time) User {
	old := u
	if p.Name != nil {
		u.Name = *p.Name
	}
	if p.Phone != nil {
		u.Phone = *p.Phone
	}
	if p.BirthDate != nil {
		u.BirthDate = p.BirthDate
	}
	if p.Locale != nil {
		u.Locale = *p.Locale
	}
	if p.CRM != nil {
		u.CRM = *p.CRM
	}
	if p.Specialties != nil {
		u.Specialties = slices.Compact(slices.Sorted(slices.Values(p.Specialties)))
	}
	if p.Email != nil {
		switch {
		case *p.Email == u.Email:
			u.PendingEmail = ""
		case confirmed:
			u.Email, u.EmailVerified, u.PendingEmail = *p.Email, false, ""
		default:
			u.PendingEmail = *p.Email
		}
	}
	if u.same(old) {
		return old
	}
	return u.next(now)
}

func (u User) same(o User) bool {
	sameDay := u.BirthDate == nil && o.BirthDate == nil || u.BirthDate != nil && o.BirthDate != nil && u.BirthDate.Equal(*o.BirthDate)
	return u.Name == o.Name && u.Email == o.Email && u.PendingEmail == o.PendingEmail && u.Phone == o.Phone && sameDay &&
		u.Locale == o.Locale && u.CRM == o.CRM && slices.Equal(u.Specialties, o.Specialties)
}

// next is the following version.
func (u User) next(now time.Time) User {
	u.Version++
	u.UpdatedAt = now.UTC().Truncate(time.Microsecond)
	return u
}

// ConfirmEmail takes the proof that the user reads an address: their own, or the one that they want to change to. Proof of
// any other address, such as one that was changed again meanwhile, is ErrInvalidToken.
func (u User) ConfirmEmail(proved Email, now time.Time) (User, error) {
	switch {
	case proved == "":
		return u, ErrInvalidToken
	case proved == u.PendingEmail:
		u.Email, u.PendingEmail, u.EmailVerified = proved, "", true
	case proved != u.Email:
		return u, ErrInvalidToken
	case u.EmailVerified:
		return u, nil
	default:
		u.EmailVerified = true
	}
	return u.next(now), nil
}

// Decide approves or rejects a doctor. An administrator may change their mind; deciding the same again changes nothing.
func (u User) Decide(approved bool, now time.Time) (User, error) {
	if u.Role != Doctor || u.Status == Erased {
		return u, ErrInvalidTransition
	}
	status := Rejected
	if approved {
		status = Active
	}
	if u.Status == status {
		return u, nil
	}
	u.Status = status
	return u.next(now), nil
}

// Erase leaves id, role, dates and version.
func (u User) Erase(now time.Time) User {
	return User{ID: u.ID, Role: u.Role, Status: Erased, Version: u.Version, CreatedAt: u.CreatedAt}.next(now)
}

// Package identity says what the service asks of whoever keeps passwords and issues tokens: its own local identity
// (package local) or Amazon Cognito (package cognito).
package identity

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"

	"github.com/healthmed/healthmed/services/users/internal/account"
)

// Session is a successful sign-in or refresh.
type Session struct {
	AccessToken  string
	ExpiresIn    time.Duration
	RefreshToken string
	User         account.User
}

// Proof is a token or code from somebody's mailbox. Email is what they say whose; only Cognito needs it.
type Proof struct {
	Token string
	Email account.Email
}

// Provider keeps passwords and issues tokens. Besides the errors below it answers with account.ErrAlreadyRegistered,
// ErrInvalidCredentials (perhaps as *Refused), ErrInvalidToken, *Busy, or something unexpected. who is the caller as the audit log names them.
type Provider interface {
	// Register makes an account with a password, and sends its mailbox a token.
	Register(ctx context.Context, r account.Registration, password string) (account.User, error)
	// SignIn exchanges e-mail and password for tokens, in the same time whether the e-mail is known or not.
	SignIn(ctx context.Context, email account.Email, password string) (Session, error)
	// Refresh exchanges a refresh token for new tokens.
	Refresh(ctx context.Context, refreshToken string, who account.Entry) (Session, error)
	// SignOut revokes a refresh token and all that came or will come of the same sign-in. An unknown token is no error.
	SignOut(ctx context.Context, refreshToken string) error
	// ForgotPassword sends a token to a mailbox, if somebody has it.
	ForgotPassword(ctx context.Context, email account.Email) error
	// ResetPassword sets a new password, and ends every sign-in.
	ResetPassword(ctx context.Context, proof Proof, password string, who account.Entry) error
	// ChangePassword is ResetPassword by somebody who knows the present one.
	ChangePassword(ctx context.Context, u account.User, current, next string, who account.Entry) error
	// VerifyEmail takes the proof that a mailbox is read by the account's owner.
	VerifyEmail(ctx context.Context, proof Proof, who account.Entry) (account.User, error)
	// Changed tells what has become of an account, once that is stored.
	Changed(ctx context.Context, u account.User) error
	// Forget removes what the provider itself keeps of an erased account. It may be called again.
	Forget(ctx context.Context, userID uuid.UUID) error
}

// Errors of a provider.
var (
	// ErrEmailNotVerified: the password is right, but the provider wants the mailbox confirmed first.
	ErrEmailNotVerified = errors.New("identity: e-mail not verified")
	// ErrEmailNeeded: a proof needs its e-mail with this provider.
	ErrEmailNeeded = errors.New("identity: proof needs its e-mail")
)

// Busy says that the provider is too busy, or away, and when to try again.
type Busy struct{ RetryAfter time.Duration }

// Error implements error.
func (b *Busy) Error() string { return "identity: busy, retry after " + b.RetryAfter.String() }

// Refused is a wrong password for an account that exists; callers see account.ErrInvalidCredentials, the audit log whose.
type Refused struct{ UserID uuid.UUID }

// Error implements error.
func (r *Refused) Error() string { return account.ErrInvalidCredentials.Error() }

// Unwrap makes it account.ErrInvalidCredentials.
func (r *Refused) Unwrap() error { return account.ErrInvalidCredentials }

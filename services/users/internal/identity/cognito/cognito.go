// Package cognito keeps passwords and issues tokens with an Amazon Cognito user pool.
//
// The pool's sub is the user's id. It exists only once the pool has the account, so a registration goes: note in the
// database, account in the pool, group, user in the database. Each step may be repeated, and what stops half-way is finished by
// the person's next try or undone by Reconcile. Afterwards the database says who somebody is, and the pool follows.
//
// The pool: UsernameAttributes [email], AutoVerifiedAttributes [email], groups patients, doctors and admins, no MFA. Its
// client: ALLOW_USER_PASSWORD_AUTH, refresh token rotation, token revocation, PreventUserExistenceErrors ENABLED.
package cognito

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	idp "github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider"
	"github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider/types"
	"github.com/google/uuid"

	"github.com/healthmed/healthmed/services/users/internal/account"
	"github.com/healthmed/healthmed/services/users/internal/identity"
	"github.com/healthmed/healthmed/services/users/internal/postgres"
)

const (
	// attemptLease is how long one attempt may work on an address before the next may take over: longer than all its calls.
	attemptLease = 30 * time.Second
	// settled is how old what is half done must be before it is undone, so that nobody's next try is disturbed.
	settled = 15 * time.Minute
)

// Config of a Provider.
type Config struct {
	Client         *idp.Client
	Store          *postgres.Store // made with External
	Log            *slog.Logger
	Now            func() time.Time
	PoolID         string
	ClientID       string
	ClientSecret   string // empty: the app client has none
	ManualApproval bool   // new doctors wait for an administrator
}

// Provider implements identity.Provider.
type Provider struct{ Config }

var _ identity.Provider = (*Provider)(nil)

// New makes a Provider.
func New(cfg Config) *Provider { return &Provider{cfg} }

// Register implements identity.Provider.
func (p *Provider) Register(ctx context.Context, r account.Registration, pass string) (account.User, error) {
	attempt, err := p.begin(ctx, r)
	if err != nil {
		return account.User{}, err
	}
	u, err := p.register(ctx, attempt, r, pass)
	if err == nil {
		return u, nil
	}
	// The next try need not wait, also when this caller has gone.
	leave, cancel := context.WithTimeout(context.WithoutCancel(ctx), 3*time.Second)
	defer cancel()
	if err := p.Store.LeaveRegistration(leave, attempt); err != nil {
		p.Log.WarnContext(ctx, "registration not left", "error", err)
	}
	return account.User{}, err
}

// begin notes the attempt. An account that the pool has lost, never confirmed and so never used, makes room first.
func (p *Provider) begin(ctx context.Context, r account.Registration) (postgres.Attempt, error) {
	attempt, err := p.Store.BeginRegistration(ctx, r, attemptLease)
	if errors.Is(err, account.ErrAlreadyRegistered) {
		lost, lostErr := p.lost(ctx, r)
		if lostErr != nil || !lost {
			return postgres.Attempt{}, errors.Join(err, lostErr)
		}
		attempt, err = p.Store.BeginRegistration(ctx, r, attemptLease)
	}
	if errors.Is(err, postgres.ErrAttemptBusy) {
		return postgres.Attempt{}, &identity.Busy{RetryAfter: 5 * time.Second}
	}
	return attempt, err
}

// lost erases the account of a registration's person, if it is one that nobody can ever sign in to.
func (p *Provider) lost(ctx context.Context, r account.Registration) (bool, error) {
	u, err := p.Store.UserByEmail(ctx, r.Email)
	if errors.Is(err, account.ErrNotFound) || err == nil && (u.CPF != r.CPF || u.EmailVerified || p.young(u)) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	lost, err := p.compare(ctx, u)
	if err == nil && lost {
		err = p.eraseLost(ctx, u)
	}
	return lost, err
}

func (p *Provider) young(u account.User) bool { return p.Now().Sub(u.CreatedAt) < settled }

func (p *Provider) register(ctx context.Context, attempt postgres.Attempt, r account.Registration, pass string) (account.User, error) {
	sub, err := p.signUp(ctx, r.Email, pass)
	if err != nil {
		return account.User{}, err
	}
	if err := p.join(ctx, sub, r.Role); err != nil {
		return account.User{}, err
	}
	// For administrators somebody answers: the operator, or another administrator.
	vouched := r.Role == account.Admin
	if vouched {
		if err := p.confirm(ctx, sub); err != nil {
			return account.User{}, err
		}
	}
	u := account.Register(sub, r, p.ManualApproval, p.Now())
	err = p.Store.Enrol(ctx, u, attempt, vouched)
	switch {
	case errors.Is(err, postgres.ErrAttemptBusy):
		return account.User{}, &identity.Busy{RetryAfter: 5 * time.Second}
	case errors.Is(err, account.ErrAlreadyRegistered):
		// CPF or CRM went to somebody else meanwhile: the pool must not keep what the database refuses. Or this very
		// person was registered by a try before ours, and keeps their account.
		return account.User{}, errors.Join(err, p.undo(ctx, attempt, sub))
	case err != nil:
		return account.User{}, err
	}
	return u, nil
}

// signUp makes the account in the pool, or finds the one that an earlier try has left there.
func (p *Provider) signUp(ctx context.Context, email account.Email, pass string) (uuid.UUID, error) {
	out, err := p.Client.SignUp(ctx, &idp.SignUpInput{
		ClientId: &p.ClientID, SecretHash: p.secretHash(string(email)), Username: aws.String(string(email)), Password: &pass,
		UserAttributes: []types.AttributeType{{Name: aws.String("email"), Value: aws.String(string(email))}},
	})
	var exists *types.UsernameExistsException
	switch {
	case errors.As(err, &exists):
		return p.resume(ctx, email, pass)
	case err != nil:
		return uuid.Nil, p.failed(ctx, "SignUp", err)
	}
	return uuid.Parse(aws.ToString(out.UserSub))
}

// resume carries on with a half-done registration for whoever knows its password. For anybody else the address is taken, until
// Reconcile has undone it.
func (p *Provider) resume(ctx context.Context, email account.Email, pass string) (uuid.UUID, error) {
	_, err := p.authenticate(ctx, email, pass)
	unconfirmed := errors.Is(err, identity.ErrEmailNotVerified)
	switch {
	case errors.Is(err, account.ErrInvalidCredentials):
		return uuid.Nil, account.ErrAlreadyRegistered
	case err != nil && !unconfirmed:
		return uuid.Nil, err
	}
	a, err := p.account(ctx, string(email))
	if err != nil {
		return uuid.Nil, err
	}
	if unconfirmed {
		_, err := p.Client.ResendConfirmationCode(ctx, &idp.ResendConfirmationCodeInput{
			ClientId: &p.ClientID, SecretHash: p.secretHash(string(email)), Username: aws.String(string(email)),
		})
		if err != nil { // the first code is still good
			p.Log.WarnContext(ctx, "confirmation code not sent again", "error", codeOf(err))
		}
	}
	return a.sub, nil
}

// join puts an account into the group of a role; being there already is no error.
func (p *Provider) join(ctx context.Context, sub uuid.UUID, role account.Role) error {
	_, err := p.Client.AdminAddUserToGroup(ctx, &idp.AdminAddUserToGroupInput{
		UserPoolId: &p.PoolID, Username: aws.String(sub.String()), GroupName: aws.String(group(role)),
	})
	return p.failed(ctx, "AdminAddUserToGroup", err)
}

func group(role account.Role) string { return string(role) + "s" }

// confirm makes an account ready for signing in without a code from its mailbox.
func (p *Provider) confirm(ctx context.Context, sub uuid.UUID) error {
	_, err := p.Client.AdminConfirmSignUp(ctx, &idp.AdminConfirmSignUpInput{UserPoolId: &p.PoolID, Username: aws.String(sub.String())})
	var already *types.NotAuthorizedException // "Current status is CONFIRMED"
	if errors.As(err, &already) {
		return nil
	}
	return p.failed(ctx, "AdminConfirmSignUp", err)
}

// undo takes back what an attempt has left in the pool, unless it is somebody's after all.
func (p *Provider) undo(ctx context.Context, attempt postgres.Attempt, sub uuid.UUID) error {
	_, err := p.Store.User(ctx, sub)
	if errors.Is(err, account.ErrNotFound) {
		p.Log.InfoContext(ctx, "half-done registration undone", "sub", sub)
		err = p.Forget(ctx, sub)
	}
	if err != nil {
		return err
	}
	return p.Store.EndRegistration(ctx, attempt)
}

// Forget implements identity.Provider. Deleting the account ends its sign-ins.
func (p *Provider) Forget(ctx context.Context, id uuid.UUID) error {
	_, err := p.Client.AdminDeleteUser(ctx, &idp.AdminDeleteUserInput{UserPoolId: &p.PoolID, Username: aws.String(id.String())})
	if unknown(err) {
		return nil
	}
	return p.failed(ctx, "AdminDeleteUser", err)
}

// poolAccount is what the pool says of somebody.
type poolAccount struct {
	sub       uuid.UUID
	email     account.Email
	verified  bool
	confirmed bool
}

// account reads an account by sub or e-mail; account.ErrNotFound if the pool has none.
func (p *Provider) account(ctx context.Context, name string) (poolAccount, error) {
	out, err := p.Client.AdminGetUser(ctx, &idp.AdminGetUserInput{UserPoolId: &p.PoolID, Username: &name})
	if unknown(err) {
		return poolAccount{}, account.ErrNotFound
	}
	if err != nil {
		return poolAccount{}, p.failed(ctx, "AdminGetUser", err)
	}
	a := poolAccount{confirmed: out.UserStatus != types.UserStatusTypeUnconfirmed}
	for _, attribute := range out.UserAttributes {
		value := aws.ToString(attribute.Value)
		switch aws.ToString(attribute.Name) {
		case "sub":
			if a.sub, err = uuid.Parse(value); err != nil {
				return poolAccount{}, fmt.Errorf("cognito: sub: %w", err)
			}
		case "email":
			a.email = account.Email(value)
		case "email_verified":
			a.verified = value == "true"
		}
	}
	return a, nil
}

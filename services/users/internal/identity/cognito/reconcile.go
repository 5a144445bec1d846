package cognito

import (
	"context"
	"errors"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	idp "github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider"
	"github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider/types"
	"github.com/google/uuid"

	"github.com/healthmed/healthmed/services/users/internal/account"
	"github.com/healthmed/healthmed/services/users/internal/postgres"
)

// Reconcile heals what is half done between pool and database: registrations that were given up, changes that the
// pool has not heard of, and young accounts that the pool has lost or has seen confirmed. It looks only at what the
// database has noted, never through the whole pool: a database that was restored from a backup must not empty the pool.
func (p *Provider) Reconcile(ctx context.Context) error {
	return errors.Join(p.undoStale(ctx), p.tell(ctx, uuid.Nil), p.checkYoung(ctx))
}

// undoStale removes accounts of the pool that a registration has left there without a user. What fails is left to
// the next run.
func (p *Provider) undoStale(ctx context.Context) error {
	var failed []error
	for range 50 {
		attempt, err := p.Store.TakeStaleRegistration(ctx, settled, attemptLease)
		if err != nil || attempt.ID == uuid.Nil {
			return errors.Join(append(failed, err)...)
		}
		if err := p.undoAttempt(ctx, attempt); err != nil {
			failed = append(failed, err)
		}
	}
	return errors.Join(failed...)
}

func (p *Provider) undoAttempt(ctx context.Context, attempt postgres.Attempt) error {
	ctx, cancel := context.WithTimeout(ctx, attemptLease/2) // nobody may have taken over while we delete
	defer cancel()
	a, err := p.account(ctx, string(attempt.Email))
	if errors.Is(err, account.ErrNotFound) {
		return p.Store.EndRegistration(ctx, attempt)
	}
	if err != nil {
		return err
	}
	return p.undo(ctx, attempt, a.sub)
}

// Changed implements identity.Provider. A pool that is away is told by Reconcile.
func (p *Provider) Changed(ctx context.Context, u account.User) error {
	if err := p.tell(ctx, u.ID); err != nil {
		p.Log.WarnContext(ctx, "change not told to the pool yet", "user_id", u.ID, "error", err)
	}
	return nil
}

// tell passes on what the pool has not heard of one user, or, with uuid.Nil, of anybody.
func (p *Provider) tell(ctx context.Context, userID uuid.UUID) error {
	changes, err := p.Store.PoolChanges(ctx, userID)
	if err != nil {
		return err
	}
	var failed []error
	for _, c := range changes {
		if err := p.apply(ctx, c); err != nil {
			failed = append(failed, err)
			continue
		}
		if err := p.Store.PoolTold(ctx, c); err != nil {
			failed = append(failed, err)
		}
	}
	return errors.Join(failed...)
}

// apply brings the pool's account to what the database says.
func (p *Provider) apply(ctx context.Context, c postgres.PoolChange) error {
	u, name := c.User, aws.String(c.User.ID.String())
	a, err := p.account(ctx, u.ID.String())
	if errors.Is(err, account.ErrNotFound) {
		p.Log.ErrorContext(ctx, "the pool has lost an account", "user_id", u.ID)
		return nil
	}
	if err != nil {
		return err
	}
	if a.email != u.Email || a.verified != u.EmailVerified {
		verified := "false"
		if u.EmailVerified {
			verified = "true"
		}
		_, err := p.Client.AdminUpdateUserAttributes(ctx, &idp.AdminUpdateUserAttributesInput{
			UserPoolId: &p.PoolID, Username: name, UserAttributes: []types.AttributeType{
				{Name: aws.String("email"), Value: aws.String(string(u.Email))}, {Name: aws.String("email_verified"), Value: &verified},
			},
		})
		if err != nil {
			return p.failed(ctx, "AdminUpdateUserAttributes", err)
		}
	}
	if u.EmailVerified && !a.confirmed {
		if err := p.confirm(ctx, u.ID); err != nil {
			return err
		}
	}
	if c.SignOut {
		_, err := p.Client.AdminUserGlobalSignOut(ctx, &idp.AdminUserGlobalSignOutInput{UserPoolId: &p.PoolID, Username: name})
		return p.failed(ctx, "AdminUserGlobalSignOut", err)
	}
	return nil
}

// checkYoung looks after accounts of the last hour that nobody has confirmed.
func (p *Provider) checkYoung(ctx context.Context) error {
	now := p.Now()
	users, err := p.Store.Unverified(ctx, now.Add(-settled-time.Hour), now.Add(-settled))
	if err != nil {
		return err
	}
	var failed []error
	for _, u := range users {
		lost, err := p.compare(ctx, u)
		if err == nil && lost {
			err = p.eraseLost(ctx, u)
		}
		if err != nil {
			failed = append(failed, err)
		}
	}
	return errors.Join(failed...)
}

// compare looks at what the pool has of a user: nothing, or an address that it has seen confirmed and we have not.
func (p *Provider) compare(ctx context.Context, u account.User) (lost bool, err error) {
	a, err := p.account(ctx, u.ID.String())
	if errors.Is(err, account.ErrNotFound) {
		return true, nil
	}
	if err == nil && a.verified && a.email == u.Email && !u.EmailVerified {
		_, err = p.Store.ConfirmEmail(ctx, u.ID, a.email, account.Entry{})
	}
	return false, err
}

// eraseLost erases a user whose account the pool has lost, and who never confirmed it: nobody can ever sign in to it, and
// it stands in its owner's way.
func (p *Provider) eraseLost(ctx context.Context, u account.User) error {
	p.Log.WarnContext(ctx, "an account that the pool has lost is erased", "user_id", u.ID)
	entry := account.Entry{Detail: map[string]any{"reason": "lost by the identity pool"}}
	return p.Store.Erase(ctx, u.ID, u.Role, u.Version, entry.Of(account.AccountErased, u.ID, account.OK))
}

package cognito

import (
	"context"
	"errors"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	idp "github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider"
	"github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider/types"

	"github.com/healthmed/healthmed/services/users/internal/account"
	"github.com/healthmed/healthmed/services/users/internal/identity"
)

// ForgotPassword implements identity.Provider. The pool sends the code, to confirmed addresses only.
func (p *Provider) ForgotPassword(ctx context.Context, email account.Email) error {
	_, err := p.Client.ForgotPassword(ctx, &idp.ForgotPasswordInput{
		ClientId: &p.ClientID, SecretHash: p.secretHash(string(email)), Username: aws.String(string(email)),
	})
	var (
		unconfirmed *types.InvalidParameterException // no confirmed address to write to
		refused     *types.NotAuthorizedException    // disabled
		enough      *types.LimitExceededException    // the mailbox has enough of our e-mails
	)
	if unknown(err) || errors.As(err, &unconfirmed) || errors.As(err, &refused) || errors.As(err, &enough) {
		return nil
	}
	return p.failed(ctx, "ForgotPassword", err)
}

// ResetPassword implements identity.Provider.
func (p *Provider) ResetPassword(ctx context.Context, proof identity.Proof, pass string, who account.Entry) error {
	if proof.Email == "" {
		return identity.ErrEmailNeeded
	}
	_, err := p.Client.ConfirmForgotPassword(ctx, &idp.ConfirmForgotPasswordInput{
		ClientId: &p.ClientID, SecretHash: p.secretHash(string(proof.Email)), Username: aws.String(string(proof.Email)),
		ConfirmationCode: &proof.Token, Password: &pass,
	})
	var invalid *types.InvalidParameterException
	if badCode(err) || errors.As(err, &invalid) {
		return account.ErrInvalidToken
	}
	if err != nil {
		return p.failed(ctx, "ConfirmForgotPassword", err)
	}
	u, err := p.Store.UserByEmail(ctx, proof.Email)
	if errors.Is(err, account.ErrNotFound) {
		return nil // in the pool alone: nobody who could sign in
	}
	if err != nil {
		return err
	}
	return p.passwordChanged(ctx, u, who.Of(account.PasswordReset, u.ID, account.OK))
}

// ChangePassword implements identity.Provider.
func (p *Provider) ChangePassword(ctx context.Context, u account.User, current, next string, who account.Entry) error {
	tokens, err := p.authenticate(ctx, u.Email, current)
	if err != nil {
		return err
	}
	_, err = p.Client.ChangePassword(ctx, &idp.ChangePasswordInput{
		AccessToken: tokens.AccessToken, PreviousPassword: &current, ProposedPassword: &next,
	})
	var wrong *types.NotAuthorizedException
	if errors.As(err, &wrong) {
		return account.ErrInvalidCredentials
	}
	if err != nil {
		return p.failed(ctx, "ChangePassword", err)
	}
	return p.passwordChanged(ctx, u, who.Of(account.PasswordChanged, u.ID, account.OK))
}

// passwordChanged ends every sign-in, now or by Reconcile.
func (p *Provider) passwordChanged(ctx context.Context, u account.User, entry account.Entry) error {
	if err := p.Store.PoolPasswordChanged(ctx, u, entry); err != nil {
		return err
	}
	return p.Changed(ctx, u)
}

// VerifyEmail implements identity.Provider. The pool sends six digits to the address of a registration; a changed
// address gets a token of ours, as with local identity, and the pool is told once it is confirmed.
func (p *Provider) VerifyEmail(ctx context.Context, proof identity.Proof, who account.Entry) (account.User, error) {
	if len(proof.Token) != 6 || strings.Trim(proof.Token, "0123456789") != "" {
		u, err := p.Store.VerifyEmail(ctx, proof.Token, who)
		if err != nil {
			return account.User{}, err
		}
		return u, p.Changed(ctx, u)
	}
	if proof.Email == "" {
		return account.User{}, identity.ErrEmailNeeded
	}
	_, err := p.Client.ConfirmSignUp(ctx, &idp.ConfirmSignUpInput{
		ClientId: &p.ClientID, SecretHash: p.secretHash(string(proof.Email)), Username: aws.String(string(proof.Email)),
		ConfirmationCode: &proof.Token,
	})
	if badCode(err) {
		return account.User{}, account.ErrInvalidToken
	}
	if err != nil {
		return account.User{}, p.failed(ctx, "ConfirmSignUp", err)
	}
	u, err := p.Store.UserByEmail(ctx, proof.Email)
	if errors.Is(err, account.ErrNotFound) {
		return account.User{}, nil // the registration is half done; its next try finds the address confirmed
	}
	if err != nil {
		return account.User{}, err
	}
	if u, err = p.Store.ConfirmEmail(ctx, u.ID, proof.Email, who); err != nil {
		return account.User{}, err
	}
	return u, p.Changed(ctx, u)
}

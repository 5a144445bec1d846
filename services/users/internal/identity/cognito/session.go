package cognito

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	idp "github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider"
	"github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider/types"
	"github.com/golang-jwt/jwt/v5"
	"github.com/google/uuid"

	"github.com/healthmed/healthmed/services/users/internal/account"
	"github.com/healthmed/healthmed/services/users/internal/identity"
)

// nobody is asked for in place of what is no address, so that it takes the same time.
const nobody account.Email = "nobody@healthmed.invalid"

// SignIn implements identity.Provider.
func (p *Provider) SignIn(ctx context.Context, email account.Email, pass string) (identity.Session, error) {
	if email == "" {
		email = nobody
	}
	known, err := p.Store.UserByEmail(ctx, email)
	if err != nil && !errors.Is(err, account.ErrNotFound) {
		return identity.Session{}, err
	}
	tokens, err := p.authenticate(ctx, email, pass)
	if errors.Is(err, account.ErrInvalidCredentials) && known.ID != uuid.Nil {
		return identity.Session{}, &identity.Refused{UserID: known.ID}
	}
	if err != nil {
		return identity.Session{}, err
	}
	session, err := p.session(ctx, tokens)
	if errors.Is(err, account.ErrInvalidToken) { // in the pool, not in the database: as good as unknown
		return identity.Session{}, account.ErrInvalidCredentials
	}
	if err == nil && !session.User.EmailVerified {
		if _, err := p.compare(ctx, session.User); err != nil {
			p.Log.WarnContext(ctx, "account not compared with the pool", "user_id", session.User.ID, "error", err)
		}
	}
	return session, err
}

// authenticate exchanges e-mail and password for tokens. account.ErrInvalidCredentials, identity.ErrEmailNotVerified.
func (p *Provider) authenticate(ctx context.Context, email account.Email, pass string) (*types.AuthenticationResultType, error) {
	parameters := map[string]string{"USERNAME": string(email), "PASSWORD": pass}
	if hash := p.secretHash(string(email)); hash != nil {
		parameters["SECRET_HASH"] = *hash
	}
	out, err := p.Client.InitiateAuth(ctx, &idp.InitiateAuthInput{
		AuthFlow: types.AuthFlowTypeUserPasswordAuth, ClientId: &p.ClientID, AuthParameters: parameters,
	})
	var (
		wrong       *types.NotAuthorizedException
		unconfirmed *types.UserNotConfirmedException
		reset       *types.PasswordResetRequiredException
	)
	switch {
	case errors.As(err, &wrong), errors.As(err, &reset), unknown(err), err != nil && codeOf(err) == "InvalidPasswordException": // the last is cognito-local's
		return nil, account.ErrInvalidCredentials
	case errors.As(err, &unconfirmed):
		return nil, identity.ErrEmailNotVerified
	case err != nil:
		return nil, p.failed(ctx, "InitiateAuth", err)
	case out.AuthenticationResult == nil:
		return nil, fmt.Errorf("cognito: the pool asks for %s, which this API has no answer to", out.ChallengeName)
	}
	return out.AuthenticationResult, nil
}

// Refresh implements identity.Provider. The pool rotates refresh tokens and refuses old ones.
func (p *Provider) Refresh(ctx context.Context, token string, who account.Entry) (identity.Session, error) {
	tokens, err := p.exchange(ctx, token)
	var (
		reused  *types.RefreshTokenReuseException
		refused *types.NotAuthorizedException
		invalid *types.InvalidParameterException
	)
	switch {
	case errors.As(err, &reused):
		// It was stolen, or stolen from: what came of it ends.
		if err := p.SignOut(ctx, token); err != nil {
			return identity.Session{}, err
		}
		if err := p.Store.Audit(ctx, who.Of(account.TokenReused, uuid.Nil, account.Denied)); err != nil {
			return identity.Session{}, err
		}
		return identity.Session{}, account.ErrInvalidToken
	case errors.As(err, &refused), errors.As(err, &invalid), unknown(err):
		return identity.Session{}, account.ErrInvalidToken
	case err != nil:
		return identity.Session{}, p.failed(ctx, "GetTokensFromRefreshToken", err)
	}
	return p.session(ctx, tokens)
}

func (p *Provider) exchange(ctx context.Context, token string) (*types.AuthenticationResultType, error) {
	in := &idp.GetTokensFromRefreshTokenInput{ClientId: &p.ClientID, RefreshToken: &token}
	if p.ClientSecret != "" {
		in.ClientSecret = &p.ClientSecret
	}
	out, err := p.Client.GetTokensFromRefreshToken(ctx, in)
	if err != nil {
		return nil, err
	}
	if out.AuthenticationResult == nil {
		return nil, errors.New("cognito: no tokens in the answer")
	}
	if out.AuthenticationResult.RefreshToken == nil { // a client without rotation
		out.AuthenticationResult.RefreshToken = &token
	}
	return out.AuthenticationResult, nil
}

// SignOut implements identity.Provider.
func (p *Provider) SignOut(ctx context.Context, token string) error {
	in := &idp.RevokeTokenInput{ClientId: &p.ClientID, Token: &token}
	if p.ClientSecret != "" {
		in.ClientSecret = &p.ClientSecret
	}
	_, err := p.Client.RevokeToken(ctx, in)
	var (
		other   *types.UnsupportedTokenTypeException
		refused *types.NotAuthorizedException
		invalid *types.InvalidParameterException
	)
	if errors.As(err, &other) || errors.As(err, &refused) || errors.As(err, &invalid) {
		return nil // not a token of ours, or no longer one
	}
	return p.failed(ctx, "RevokeToken", err)
}

// session is whose tokens they are. The database says what somebody may do: where the pool's groups say otherwise, they
// are mended, and the tokens are issued anew. account.ErrInvalidToken: the database has no such user.
func (p *Provider) session(ctx context.Context, tokens *types.AuthenticationResultType) (identity.Session, error) {
	sub, groups, err := claimsOf(aws.ToString(tokens.AccessToken))
	if err != nil {
		return identity.Session{}, err
	}
	u, err := p.Store.User(ctx, sub)
	if errors.Is(err, account.ErrNotFound) {
		return identity.Session{}, errors.Join(account.ErrInvalidToken, p.SignOut(ctx, aws.ToString(tokens.RefreshToken)))
	}
	if err != nil {
		return identity.Session{}, err
	}
	mended, err := p.regroup(ctx, u, groups)
	if err != nil {
		return identity.Session{}, err
	}
	if mended {
		if tokens, err = p.exchange(ctx, aws.ToString(tokens.RefreshToken)); err != nil {
			return identity.Session{}, p.failed(ctx, "GetTokensFromRefreshToken", err)
		}
	}
	return identity.Session{
		AccessToken: aws.ToString(tokens.AccessToken), RefreshToken: aws.ToString(tokens.RefreshToken),
		ExpiresIn: time.Duration(tokens.ExpiresIn) * time.Second, User: u,
	}, nil
}

// claimsOf reads a token that came from the pool just now: nobody else can have made it.
func claimsOf(accessToken string) (sub uuid.UUID, groups []string, err error) {
	var claims struct {
		jwt.RegisteredClaims
		Groups []string `json:"cognito:groups"`
	}
	if _, _, err := jwt.NewParser().ParseUnverified(accessToken, &claims); err != nil {
		return uuid.Nil, nil, fmt.Errorf("cognito: access token: %w", err)
	}
	sub, err = uuid.Parse(claims.Subject)
	return sub, claims.Groups, err
}

// regroup makes the pool's groups those of the user's role.
func (p *Provider) regroup(ctx context.Context, u account.User, groups []string) (mended bool, err error) {
	if !slices.Contains(groups, group(u.Role)) {
		mended = true
		if err := p.join(ctx, u.ID, u.Role); err != nil {
			return false, err
		}
	}
	for _, role := range []account.Role{account.Admin, account.Doctor, account.Patient} {
		if role == u.Role || !slices.Contains(groups, group(role)) {
			continue
		}
		mended = true
		_, err := p.Client.AdminRemoveUserFromGroup(ctx, &idp.AdminRemoveUserFromGroupInput{
			UserPoolId: &p.PoolID, Username: aws.String(u.ID.String()), GroupName: aws.String(group(role)),
		})
		if err != nil {
			return false, p.failed(ctx, "AdminRemoveUserFromGroup", err)
		}
	}
	return mended, nil
}

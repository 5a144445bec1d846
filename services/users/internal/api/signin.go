package api

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"

	"github.com/healthmed/healthmed/pkg/web"
	"github.com/healthmed/healthmed/services/users/internal/account"
	"github.com/healthmed/healthmed/services/users/internal/identity"
)

// Login implements POST /v1/auth/login.
func (s *Server) Login(ctx context.Context, req LoginRequestObject) (LoginResponseObject, error) {
	// What is no address is nobody's: it goes on as an unknown one, at the same cost.
	email, err := account.ParseEmail(req.Body.Email)
	if err != nil {
		email = ""
	}
	session, err := s.signIn(ctx, email, req.Body.Password)
	if err := s.auditSignIn(ctx, session, err); err != nil {
		return nil, err
	}
	if err != nil {
		return nil, translate(err)
	}
	return Login200JSONResponse{sessionOf(session)}, nil
}

// signIn spends from the budgets of address and account first, and gives back what the right password has shown to be innocent.
func (s *Server) signIn(ctx context.Context, email account.Email, password string) (identity.Session, error) {
	done, err := s.spend(ctx)
	if err != nil {
		return identity.Session{}, err
	}
	if err := s.take(ctx, perAccount, string(email), s.Limits.Account); err != nil {
		return identity.Session{}, err
	}
	session, err := s.Identity.SignIn(ctx, email, password)
	done(err)
	switch {
	case err == nil:
		err = s.Store.Refill(ctx, perAccount, string(email))
	case !counts(err):
		err = errors.Join(err, s.Store.GiveBack(context.WithoutCancel(ctx), perAccount, string(email), s.Limits.Account))
	}
	return session, err
}

// auditSignIn notes a sign-in, also a refused one. No sign-in goes unnoted.
func (s *Server) auditSignIn(ctx context.Context, session identity.Session, err error) error {
	entry := who(ctx).Of(account.SignedIn, session.User.ID, account.OK)
	var refused *identity.Refused
	var limited web.Problem
	switch {
	case err == nil:
		entry.ActorID, entry.ActorRole = session.User.ID, session.User.Role
	case errors.As(err, &refused):
		entry = entry.Of(account.SignedIn, refused.UserID, account.Denied)
	case errors.Is(err, account.ErrInvalidCredentials):
		entry = entry.Of(account.SignedIn, uuid.Nil, account.Denied)
	case errors.As(err, &limited) && limited.Status == 429:
		entry = entry.Of(account.SignedIn, uuid.Nil, account.Denied)
		entry.Detail = map[string]any{"reason": "rate-limited"}
	default:
		return nil
	}
	return s.Store.Audit(ctx, entry)
}

// Refresh implements POST /v1/auth/refresh.
func (s *Server) Refresh(ctx context.Context, req RefreshRequestObject) (RefreshResponseObject, error) {
	session, err := s.Identity.Refresh(ctx, req.Body.RefreshToken, who(ctx))
	if err != nil {
		return nil, translate(err)
	}
	return Refresh200JSONResponse{sessionOf(session)}, nil
}

// Logout implements POST /v1/auth/logout.
func (s *Server) Logout(ctx context.Context, req LogoutRequestObject) (LogoutResponseObject, error) {
	if err := s.Identity.SignOut(ctx, req.Body.RefreshToken); err != nil {
		return nil, translate(err)
	}
	return Logout204Response{}, nil
}

// forgotTime is how long asking for a reset takes, whether or not there is somebody to write to.
const forgotTime = 250 * time.Millisecond

// ForgotPassword implements POST /v1/auth/password/forgot.
func (s *Server) ForgotPassword(ctx context.Context, req ForgotPasswordRequestObject) (ForgotPasswordResponseObject, error) {
	defer sameTime(ctx, time.Now(), forgotTime)
	// Every request costs, since no answer tells which ones were honest.
	if err := s.take(ctx, perAddress, addressKey(web.ClientAddr(ctx)), s.Limits.Address); err != nil {
		return nil, err
	}
	email, err := account.ParseEmail(req.Body.Email)
	if err != nil {
		return ForgotPassword202Response{}, nil
	}
	wait, err := s.Store.Spend(ctx, perMailbox, string(email), s.Limits.Mail)
	if err == nil && wait == 0 { // else the mailbox has enough of our e-mails
		err = s.Identity.ForgotPassword(ctx, email)
	}
	if err != nil {
		return nil, translate(err)
	}
	return ForgotPassword202Response{}, nil
}

// ResetPassword implements POST /v1/auth/password/reset.
func (s *Server) ResetPassword(ctx context.Context, req ResetPasswordRequestObject) (ResetPasswordResponseObject, error) {
	proof, err := proofOf(req.Body.Token, req.Body.Email)
	if err != nil {
		return nil, err
	}
	done, err := s.spend(ctx)
	if err != nil {
		return nil, err
	}
	err = s.Identity.ResetPassword(ctx, proof, req.Body.Password, who(ctx))
	if done(err); err != nil {
		return nil, translate(err)
	}
	return ResetPassword204Response{}, nil
}

// VerifyEmail implements POST /v1/auth/email/verify.
func (s *Server) VerifyEmail(ctx context.Context, req VerifyEmailRequestObject) (VerifyEmailResponseObject, error) {
	proof, err := proofOf(req.Body.Token, req.Body.Email)
	if err != nil {
		return nil, err
	}
	done, err := s.spend(ctx)
	if err != nil {
		return nil, err
	}
	_, err = s.Identity.VerifyEmail(ctx, proof, who(ctx))
	if done(err); err != nil {
		return nil, translate(err)
	}
	return VerifyEmail204Response{}, nil
}

func proofOf(token string, email *string) (identity.Proof, error) {
	proof := identity.Proof{Token: token}
	if email == nil {
		return proof, nil
	}
	var err error
	proof.Email, err = account.ParseEmail(*email)
	return proof, err
}

// GetJWKS implements GET /.well-known/jwks.json.
func (s *Server) GetJWKS(ctx context.Context, _ GetJWKSRequestObject) (GetJWKSResponseObject, error) {
	keys := []JWK{}
	if s.Keys != nil {
		public, err := s.Keys.Public(ctx)
		if err != nil {
			return nil, err
		}
		for _, k := range public {
			keys = append(keys, JWK{Kty: k.KeyType, Crv: k.Curve, X: k.X, Kid: k.KeyID, Use: k.Use, Alg: k.Algorithm})
		}
	}
	return GetJWKS200JSONResponse{Keys: keys}, nil
}

func sessionOf(s identity.Session) SessionJSONResponse {
	return SessionJSONResponse{
		AccessToken: s.AccessToken, TokenType: Bearer, ExpiresIn: int(s.ExpiresIn.Seconds()), RefreshToken: s.RefreshToken,
		User: SessionUser{Id: s.User.ID, Role: Role(s.User.Role), Name: string(s.User.Name)},
	}
}

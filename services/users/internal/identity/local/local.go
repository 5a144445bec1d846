// Package local is the service's own identity provider: argon2id passwords, access tokens signed with Ed25519 keys
// that rotate, and refresh tokens that are used once.
package local

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"log/slog"
	"time"

	"github.com/google/uuid"

	"github.com/healthmed/healthmed/services/users/internal/account"
	"github.com/healthmed/healthmed/services/users/internal/identity"
	"github.com/healthmed/healthmed/services/users/internal/password"
	"github.com/healthmed/healthmed/services/users/internal/postgres"
)

// Config of a Provider.
type Config struct {
	Store          *postgres.Store
	Keys           *Keys
	Hasher         *password.Hasher
	Log            *slog.Logger
	Now            func() time.Time
	Issuer         string        // iss of access tokens
	ClientID       string        // client_id of access tokens
	AccessTTL      time.Duration // of an access token
	RefreshTTL     time.Duration // of a sign-in, however often it is refreshed
	ManualApproval bool          // new doctors wait for an administrator
}

// Provider implements identity.Provider.
type Provider struct{ Config }

var _ identity.Provider = (*Provider)(nil)

// New makes a Provider.
func New(cfg Config) *Provider { return &Provider{cfg} }

// Register implements identity.Provider.
func (p *Provider) Register(ctx context.Context, r account.Registration, pass string) (account.User, error) {
	hash, err := p.Hasher.Hash(ctx, pass)
	if err != nil {
		return account.User{}, busy(err)
	}
	id, err := uuid.NewV7()
	if err != nil {
		return account.User{}, err
	}
	u := account.Register(id, r, p.ManualApproval, p.Now())
	if err := p.Store.Register(ctx, u, hash); err != nil {
		return account.User{}, err
	}
	return u, nil
}

// SignIn implements identity.Provider.
func (p *Provider) SignIn(ctx context.Context, email account.Email, pass string) (identity.Session, error) {
	c, err := p.Store.Credential(ctx, email)
	if err != nil {
		return identity.Session{}, err
	}
	ok, rehash, err := p.Hasher.Verify(ctx, c.PasswordHash, pass)
	if err != nil {
		return identity.Session{}, busy(err)
	}
	switch {
	case !ok && c.PasswordHash != "":
		return identity.Session{}, &identity.Refused{UserID: c.User.ID}
	case !ok:
		return identity.Session{}, account.ErrInvalidCredentials
	case rehash:
		p.rehash(ctx, c, pass)
	}
	refresh := newSecret()
	family, err := uuid.NewV7()
	if err != nil {
		return identity.Session{}, err
	}
	err = p.Store.StartFamily(ctx, postgres.Family{
		ID: family, UserID: c.User.ID, TokenHash: hashSecret(refresh), ExpiresAt: p.Now().Add(p.RefreshTTL),
		PasswordSetAt: c.PasswordSetAt,
	})
	if errors.Is(err, account.ErrInvalidCredentials) {
		return identity.Session{}, &identity.Refused{UserID: c.User.ID}
	}
	if err != nil {
		return identity.Session{}, err
	}
	return p.session(ctx, c.User, refresh)
}

// rehash stores the password under the present parameters. Failing to is no reason to refuse the sign-in.
func (p *Provider) rehash(ctx context.Context, c postgres.Credential, pass string) {
	fresh, err := p.Hasher.Hash(ctx, pass)
	if err == nil {
		err = p.Store.SetPasswordHash(ctx, c.User.ID, c.PasswordHash, fresh)
	}
	if err != nil {
		p.Log.WarnContext(ctx, "password not rehashed", "user_id", c.User.ID, "error", err)
	}
}

// Refresh implements identity.Provider.
func (p *Provider) Refresh(ctx context.Context, token string, who account.Entry) (identity.Session, error) {
	next := newSecret()
	u, err := p.Store.Refresh(ctx, hashSecret(token), hashSecret(next), who)
	if err != nil {
		return identity.Session{}, err
	}
	return p.session(ctx, u, next)
}

// SignOut implements identity.Provider.
func (p *Provider) SignOut(ctx context.Context, token string) error {
	return p.Store.EndFamily(ctx, hashSecret(token))
}

// ForgotPassword implements identity.Provider.
func (p *Provider) ForgotPassword(ctx context.Context, email account.Email) error {
	return p.Store.ForgotPassword(ctx, email)
}

// ResetPassword implements identity.Provider.
func (p *Provider) ResetPassword(ctx context.Context, proof identity.Proof, pass string, who account.Entry) error {
	// A made-up token must not cost a hash.
	if err := p.Store.CheckReset(ctx, proof.Token); err != nil {
		return err
	}
	hash, err := p.Hasher.Hash(ctx, pass)
	if err != nil {
		return busy(err)
	}
	return p.Store.ResetPassword(ctx, proof.Token, hash, who)
}

// ChangePassword implements identity.Provider.
func (p *Provider) ChangePassword(ctx context.Context, u account.User, current, next string, who account.Entry) error {
	c, err := p.Store.Credential(ctx, u.Email)
	if err != nil {
		return err
	}
	ok, _, err := p.Hasher.Verify(ctx, c.PasswordHash, current)
	if err != nil {
		return busy(err)
	}
	if !ok || c.User.ID != u.ID {
		return account.ErrInvalidCredentials
	}
	hash, err := p.Hasher.Hash(ctx, next)
	if err != nil {
		return busy(err)
	}
	return p.Store.ChangePassword(ctx, u.ID, c.PasswordHash, hash, who)
}

// VerifyEmail implements identity.Provider.
func (p *Provider) VerifyEmail(ctx context.Context, proof identity.Proof, who account.Entry) (account.User, error) {
	return p.Store.VerifyEmail(ctx, proof.Token, who)
}

// Changed implements identity.Provider: what there is to know is in the store.
func (p *Provider) Changed(context.Context, account.User) error { return nil }

// Forget implements identity.Provider: the store has forgotten already.
func (p *Provider) Forget(context.Context, uuid.UUID) error { return nil }

func (p *Provider) session(ctx context.Context, u account.User, refresh string) (identity.Session, error) {
	access, err := p.accessToken(ctx, u)
	if err != nil {
		return identity.Session{}, err
	}
	return identity.Session{AccessToken: access, ExpiresIn: p.AccessTTL, RefreshToken: refresh, User: u}, nil
}

// newSecret is 256 random bits as text.
func newSecret() string {
	b := make([]byte, 32)
	rand.Read(b) // never fails (crypto/rand)
	return base64.RawURLEncoding.EncodeToString(b)
}

// hashSecret is what the database keeps. A fast hash will do: 256 random bits cannot be guessed.
func hashSecret(secret string) []byte {
	sum := sha256.Sum256([]byte(secret))
	return sum[:]
}

func busy(err error) error {
	if errors.Is(err, password.ErrBusy) {
		return &identity.Busy{RetryAfter: 2 * time.Second}
	}
	return err
}

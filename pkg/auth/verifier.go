package auth

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"slices"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/uuid"

	"github.com/healthmed/healthmed/pkg/auth/keystore"
)

const (
	// leeway is how far our clock and the issuer's may disagree.
	leeway = 30 * time.Second
	// maxToken bounds a token, in bytes. Cognito's access tokens have about 1 KiB.
	maxToken = 8 << 10
)

// Verifier checks tokens: iss, token_use=access, client_id, exp, nbf, algorithm list (RS256, EdDSA), signature by
// JWKS with rotation. An unknown kid refetches the keys at most once in 10 s.
//
// A token that was found good is remembered, as the signature is most of the work; exp and nbf are checked each time,
// and a key that its issuer withdraws takes its tokens along.
type Verifier struct {
	cfg    Config
	now    func() time.Time
	parser *jwt.Parser
	keys   *keySet
	good   *cache
}

// Options of a verifier. Any may be nil.
type Options struct {
	Keys *keystore.Store  // without one, a verifier that starts while the issuer is away verifies nothing
	Log  *slog.Logger     // tells of the issuer and of the store being away; silent by default
	Now  func() time.Time // time.Now by default
}

// NewVerifier doesn't fetch: keys are had by Run or on first use.
func NewVerifier(cfg Config, o Options) (*Verifier, error) {
	if cfg.Issuer == "" || cfg.ClientID == "" {
		return nil, errors.New("auth: AUTH_ISSUER and AUTH_CLIENT_ID are required")
	}
	if u, err := url.Parse(cfg.JWKSURL); err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, errors.New("auth: AUTH_JWKS_URL must be an http or https URL")
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Verifier{
		cfg:  cfg,
		now:  o.Now,
		keys: newKeySet(cfg.JWKSURL, o),
		good: newCache(),
		parser: jwt.NewParser(
			jwt.WithValidMethods([]string{algRS256, algEdDSA}),
			jwt.WithIssuer(cfg.Issuer),
			jwt.WithExpirationRequired(),
			jwt.WithLeeway(leeway),
			jwt.WithTimeFunc(o.Now),
			jwt.WithStrictDecoding(),
		),
	}, nil
}

// Run has keys fetched though no token comes, and keeps them for the next start, until ctx ends. Its error is nil.
func (v *Verifier) Run(ctx context.Context) error {
	v.keys.run(ctx)
	return nil
}

// claims of an access token.
type claims struct {
	jwt.RegisteredClaims
	TokenUse string   `json:"token_use"`
	ClientID string   `json:"client_id"`
	Groups   []string `json:"cognito:groups"`
}

// Verify checks a compact JWT. The error is ErrUnauthenticated, or ErrUnavailable when the issuer can't be asked for a
// key that isn't at hand.
func (v *Verifier) Verify(ctx context.Context, token string) (Principal, error) {
	if token == "" || len(token) > maxToken {
		return Principal{}, fmt.Errorf("%w: no token, or over %d bytes", ErrUnauthenticated, maxToken)
	}
	digest := sha256.Sum256([]byte(token))
	if known, ok := v.good.get(digest); ok && v.current(known) {
		return known.principal, nil
	}
	checked, err := v.check(ctx, token)
	if err != nil {
		return Principal{}, err
	}
	v.good.put(digest, checked)
	return checked.principal, nil
}

// current tells whether a token that was good still is.
func (v *Verifier) current(t verified) bool {
	now := v.now()
	return now.Before(t.principal.ExpiresAt.Add(leeway)) && !now.Add(leeway).Before(t.notBefore) && v.keys.holds(t.key)
}

func (v *Verifier) check(ctx context.Context, token string) (verified, error) {
	var c claims
	var used *key
	_, err := v.parser.ParseWithClaims(token, &c, func(t *jwt.Token) (any, error) {
		// RFC 7515, section 4.1.11: what the header says must be understood, and isn't, makes the token invalid.
		if _, critical := t.Header["crit"]; critical {
			return nil, errors.New("critical header")
		}
		kid, _ := t.Header["kid"].(string)
		k, err := v.keys.find(ctx, kid)
		if err != nil {
			return nil, err
		}
		if k.alg != t.Method.Alg() {
			return nil, errors.New("the key is for another algorithm")
		}
		used = k
		return k.public, nil
	})
	switch {
	case errors.Is(err, ErrUnavailable):
		return verified{}, err
	case err != nil:
		return verified{}, fmt.Errorf("%w: %w", ErrUnauthenticated, err)
	}
	principal, err := v.principal(c)
	if err != nil {
		return verified{}, fmt.Errorf("%w: %w", ErrUnauthenticated, err)
	}
	checked := verified{principal: principal, key: used}
	if c.NotBefore != nil {
		checked.notBefore = c.NotBefore.Time
	}
	return checked, nil
}

// principal checks the claims that are not JWT's own.
func (v *Verifier) principal(c claims) (Principal, error) {
	switch {
	case c.TokenUse != "access":
		return Principal{}, errors.New("token_use is not access")
	case c.ClientID != v.cfg.ClientID:
		return Principal{}, errors.New("client_id is not ours")
	}
	id, err := uuid.Parse(c.Subject)
	if err != nil || len(c.Subject) != 36 || id == uuid.Nil {
		return Principal{}, errors.New("sub is not a UUID")
	}
	role, ok := roleOf(c.Groups)
	if !ok {
		return Principal{}, errors.New("no group is a role")
	}
	return Principal{ID: id, Role: role, TokenID: c.ID, ExpiresAt: c.ExpiresAt.Time}, nil
}

// roleOf is the one role of a caller. A user in several groups has the most powerful role: admin, then doctor, then
// patient. Groups that are no role are passed over, as a Cognito pool may have others.
func roleOf(groups []string) (Role, bool) {
	for _, role := range []Role{Admin, Doctor, Patient} {
		if slices.Contains(groups, role.Group()) {
			return role, true
		}
	}
	return "", false
}

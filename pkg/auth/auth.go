// Package auth verifies access tokens of the local issuer or of Amazon Cognito by one code path, and says who calls.
//
// Both issuers sign access tokens with the claims iss, sub, token_use=access, client_id, exp and cognito:groups, and
// publish their keys as a JWKS. Cognito's access tokens have no aud, so aud is not looked at.
package auth

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"
)

// Role of a caller. The token's claim cognito:groups holds the plural: patients, doctors, admins.
type Role string

// Roles.
const (
	Patient Role = "patient"
	Doctor  Role = "doctor"
	Admin   Role = "admin"
)

// Group is the value of cognito:groups for the role.
func (r Role) Group() string { return string(r) + "s" }

// Principal is the authenticated caller.
type Principal struct {
	ID        uuid.UUID // the token's sub
	Role      Role
	TokenID   string // jti
	ExpiresAt time.Time
}

// Errors of Verify.
var (
	// ErrUnauthenticated: the token is missing, malformed, expired, forged or not meant for us.
	ErrUnauthenticated = errors.New("auth: unauthenticated")
	// ErrUnavailable: the issuer's keys cannot be had right now.
	ErrUnavailable = errors.New("auth: keys unavailable")
)

// Config of a verifier. Embed it in a service's Config.
type Config struct {
	Issuer   string `env:"AUTH_ISSUER,required"`    // exact iss
	ClientID string `env:"AUTH_CLIENT_ID,required"` // exact client_id
	JWKSURL  string `env:"AUTH_JWKS_URL,required"`  // where the issuer publishes its public keys
}

type principalKey struct{}

// NewContext carries the caller.
func NewContext(ctx context.Context, p Principal) context.Context {
	return context.WithValue(ctx, principalKey{}, p)
}

// FromContext returns the caller; false for an anonymous request.
func FromContext(ctx context.Context) (Principal, bool) {
	p, ok := ctx.Value(principalKey{}).(Principal)
	return p, ok
}

package web

import (
	"context"
	"errors"
	"strings"

	"github.com/healthmed/healthmed/pkg/auth"
)

// verify reads the Authorization header's bearer token (RFC 6750). Any other scheme is as bad as a wrong token.
func (a *App) verify(ctx context.Context, header string) (auth.Principal, error) {
	invalid := Unauthenticated()
	invalid.challenge = challengeInvalid
	scheme, token, ok := strings.Cut(header, " ")
	if !ok || !strings.EqualFold(scheme, "Bearer") || a.verifier == nil {
		return auth.Principal{}, invalid
	}
	caller, err := a.verifier.Verify(ctx, strings.TrimSpace(token))
	if errors.Is(err, auth.ErrUnauthenticated) {
		return auth.Principal{}, invalid
	}
	return caller, err
}

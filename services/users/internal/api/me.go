package api

import (
	"context"
	"errors"

	"github.com/healthmed/healthmed/pkg/auth"
	"github.com/healthmed/healthmed/pkg/web"
	"github.com/healthmed/healthmed/services/users/internal/account"
)

// GetMe implements GET /v1/me: one read by primary key.
func (s *Server) GetMe(ctx context.Context, _ GetMeRequestObject) (GetMeResponseObject, error) {
	u, err := s.me(ctx)
	if err != nil {
		return nil, err
	}
	return GetMe200JSONResponse{profileOf(u)}, nil
}

// me is the caller's own account. A token may outlive its account by minutes: then it is good for nothing.
func (s *Server) me(ctx context.Context) (account.User, error) {
	caller, ok := auth.FromContext(ctx)
	if !ok {
		return account.User{}, web.Unauthenticated()
	}
	u, err := s.Store.User(ctx, caller.ID)
	if errors.Is(err, account.ErrNotFound) {
		return account.User{}, web.Unauthenticated()
	}
	return u, err
}

func profileOf(u account.User) ProfileJSONResponse {
	etag := etagOf(u)
	return ProfileJSONResponse{Body: accountOf(u), Headers: ProfileResponseHeaders{ETag: &etag}}
}

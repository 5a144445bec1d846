package api

import (
	"context"

	"github.com/healthmed/healthmed/pkg/auth"
	"github.com/healthmed/healthmed/pkg/web"
	"github.com/healthmed/healthmed/services/notifier/internal/notice"
)

// GetPreferences implements GET /v1/notification-preferences.
func (s *Server) GetPreferences(ctx context.Context, _ GetPreferencesRequestObject) (GetPreferencesResponseObject, error) {
	caller, ok := auth.FromContext(ctx)
	if !ok {
		return nil, web.Unauthenticated()
	}
	p, err := s.Store.Preferences(ctx, caller.ID)
	if err != nil {
		return nil, err
	}
	return GetPreferences200JSONResponse{PreferencesJSONResponse{DailyAgenda: p.Agenda, Reminders: p.Reminders}}, nil
}

// PutPreferences implements PUT /v1/notification-preferences.
func (s *Server) PutPreferences(ctx context.Context, r PutPreferencesRequestObject) (PutPreferencesResponseObject, error) {
	caller, ok := auth.FromContext(ctx)
	if !ok {
		return nil, web.Unauthenticated()
	}
	p := notice.Preferences{Agenda: r.Body.DailyAgenda, Reminders: r.Body.Reminders}
	if err := s.Store.SavePreferences(ctx, caller.ID, p, s.Now()); err != nil {
		return nil, err
	}
	return PutPreferences200JSONResponse{PreferencesJSONResponse(*r.Body)}, nil
}

package api

import (
	"context"

	"github.com/healthmed/healthmed/pkg/specialty"
	"github.com/healthmed/healthmed/pkg/web"
	"github.com/healthmed/healthmed/services/scheduling/internal/postgres"
)

// SearchSlots implements StrictServerInterface.
func (s *Server) SearchSlots(ctx context.Context, r SearchSlotsRequestObject) (SearchSlotsResponseObject, error) {
	days := deref(r.Params.Days, 14)
	from, _, err := s.dates(r.Params.From, nil, days, days)
	if err != nil {
		return nil, err
	}
	if r.Params.Specialty != nil && specialty.Check(*r.Params.Specialty) != nil {
		return nil, web.Validation(web.Fault{Parameter: "specialty", Detail: unknownSpecialty()})
	}
	q := postgres.Query{Specialty: deref(r.Params.Specialty, ""), From: from, Days: days, Limit: deref(r.Params.Limit, 20)}
	if r.Params.Cursor != nil {
		at, err := decodeCursor(*r.Params.Cursor)
		if err != nil {
			return nil, err
		}
		q.After = &postgres.Position{At: at.At, ID: at.ID}
	}
	found, next, err := s.Store.Search(ctx, q)
	if err != nil {
		return nil, err
	}
	list := SlotSearch{Items: make([]FreeDoctor, len(found))}
	if next != nil {
		list.NextCursor = encodeCursor(position{At: next.At, ID: next.ID})
	}
	for i, f := range found {
		list.Items[i] = FreeDoctor{
			Doctor: DoctorProfile{Id: f.ID, Name: f.Name, Crm: CRM{Number: f.CRMNumber, State: f.CRMState},
				Specialties: f.Specialties},
			TimeZone: f.TimeZone, Slots: slots(f.Slots),
		}
	}
	return SearchSlots200JSONResponse{FoundJSONResponse(list)}, nil
}

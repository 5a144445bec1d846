package api

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	openapi_types "github.com/oapi-codegen/runtime/types"

	"github.com/healthmed/healthmed/pkg/web"
	"github.com/healthmed/healthmed/services/scheduling/internal/booking"
	"github.com/healthmed/healthmed/services/scheduling/internal/postgres"
)

// defaultZone is answered for a doctor who has set no availability.
const defaultZone = "America/Sao_Paulo"

// ListSlots implements StrictServerInterface.
func (s *Server) ListSlots(ctx context.Context, r ListSlotsRequestObject) (ListSlotsResponseObject, error) {
	from, to, err := s.dates(r.Params.From, r.Params.To, 7, booking.MaxListedDays)
	if err != nil {
		return nil, err
	}
	schedule, free, err := s.Store.Slots(ctx, r.Id, from, to)
	if err != nil {
		return nil, err
	}
	list := SlotList{DoctorId: r.Id, TimeZone: defaultZone, Slots: slots(free)}
	if schedule != nil {
		list.TimeZone = schedule.Availability.TimeZone
	}
	return ListSlots200JSONResponse{SlotsJSONResponse(list)}, nil
}

func slots(free []booking.Slot) []Slot {
	out := make([]Slot, len(free))
	for i, slot := range free {
		out[i] = Slot{StartsAt: slot.StartsAt, EndsAt: slot.EndsAt}
	}
	return out
}

// dates reads a range of dates: from today if not said, for so many days if not said, at most so many.
func (s *Server) dates(from, to *openapi_types.Date, days, most int) (first, last booking.Date, err error) {
	first = booking.DateOf(s.Now(), time.UTC) - 1 // it may still be yesterday somewhere
	if from != nil {
		first = booking.NewDate(from.Date())
	}
	last = first + booking.Date(days-1)
	if to != nil {
		last = booking.NewDate(to.Date())
	}
	switch {
	case last < first:
		return 0, 0, web.Validation(web.Fault{Parameter: "to", Detail: web.Text{
			PT: "Deve ser a mesma data ou depois de from.", EN: "Must not be before from."}})
	case int(last-first)+1 > most:
		return 0, 0, web.Validation(web.Fault{Parameter: "to", Detail: web.Text{
			PT: "Intervalo longo demais.", EN: "The range is too long."}})
	}
	return first, last, nil
}

// CreateHold implements StrictServerInterface.
func (s *Server) CreateHold(ctx context.Context, r CreateHoldRequestObject) (CreateHoldResponseObject, error) {
	by, req, err := request(ctx, r.Params.IdempotencyKey, "hold", r.Body)
	if err != nil {
		return nil, err
	}
	a, err := s.Store.Hold(ctx, r.Body.DoctorId, by.ID, r.Body.StartsAt, req, func(h booking.Hold) (postgres.Answer, error) {
		body, err := json.Marshal(hold(h))
		return postgres.Answer{Status: http.StatusCreated, Location: "/v1/holds/" + h.ID.String(), Body: body}, err
	})
	return answer(a), err
}

// DeleteHold implements StrictServerInterface.
func (s *Server) DeleteHold(ctx context.Context, r DeleteHoldRequestObject) (DeleteHoldResponseObject, error) {
	by, err := caller(ctx)
	if err != nil {
		return nil, err
	}
	return DeleteHold204Response{}, s.Store.ReleaseHold(ctx, r.Id, by.ID)
}

func hold(h booking.Hold) Hold {
	return Hold{
		Id: h.ID, DoctorId: h.DoctorID, PatientId: h.PatientID, StartsAt: h.Slot.StartsAt.UTC(),
		EndsAt: h.Slot.EndsAt.UTC(), TimeZone: h.TimeZone, ExpiresAt: h.ExpiresAt.UTC(),
	}
}

package api

import (
	"context"
	"time"

	"github.com/google/uuid"

	"github.com/healthmed/healthmed/pkg/specialty"
	"github.com/healthmed/healthmed/pkg/web"
	"github.com/healthmed/healthmed/services/scheduling/internal/booking"
	"github.com/healthmed/healthmed/services/scheduling/internal/postgres"
)

// JoinWaitlist implements StrictServerInterface.
func (s *Server) JoinWaitlist(ctx context.Context, r JoinWaitlistRequestObject) (JoinWaitlistResponseObject, error) {
	by, err := caller(ctx)
	if err != nil {
		return nil, err
	}
	w := booking.Wait{
		PatientID: by.ID, DoctorID: deref(r.Body.DoctorId, uuid.Nil), Specialty: deref(r.Body.Specialty, ""),
		From: booking.NewDate(r.Body.From.Date()), To: booking.NewDate(r.Body.To.Date()),
	}
	if faults := s.waitFaults(w); len(faults) > 0 {
		return nil, web.Validation(faults...)
	}
	w, err = s.Store.Join(ctx, w)
	if err != nil {
		return nil, err
	}
	return JoinWaitlist201JSONResponse{WaitJSONResponse{
		Body: wait(postgres.Place{Wait: w}), Headers: WaitResponseHeaders{Location: new("/v1/waitlist/" + w.ID.String())},
	}}, nil
}

func unknownSpecialty() web.Text {
	return web.Text{PT: "Especialidade desconhecida: veja /v1/specialties.", EN: "Unknown specialty: see /v1/specialties."}
}

// waitFaults is what the schema cannot say of a place in line.
func (s *Server) waitFaults(w booking.Wait) (faults []web.Fault) {
	if (w.DoctorID == uuid.Nil) == (w.Specialty == "") {
		faults = append(faults, web.Fault{Pointer: "/doctor_id", Detail: web.Text{
			PT: "Informe doctor_id, ou specialty.", EN: "Give either doctor_id or specialty."}})
	}
	if w.Specialty != "" && specialty.Check(w.Specialty) != nil {
		faults = append(faults, web.Fault{Pointer: "/specialty", Detail: unknownSpecialty()})
	}
	today := booking.DateOf(s.Now(), time.UTC) - 1 // it may still be yesterday somewhere
	if w.To < w.From || w.To < today || w.To > today+booking.MaxHorizonDays+1 {
		faults = append(faults, web.Fault{Pointer: "/to", Detail: web.Text{
			PT: "Deve ser de hoje em diante, até um ano, e não antes de from.",
			EN: "Must be from today on, up to a year ahead, and not before from."}})
	}
	return faults
}

// ListWaitlist implements StrictServerInterface.
func (s *Server) ListWaitlist(ctx context.Context, r ListWaitlistRequestObject) (ListWaitlistResponseObject, error) {
	by, err := caller(ctx)
	if err != nil {
		return nil, err
	}
	var before uuid.UUID
	if r.Params.Cursor != nil {
		at, err := decodeCursor(*r.Params.Cursor)
		if err != nil {
			return nil, err
		}
		before = at.ID
	}
	n := deref(r.Params.Limit, 20)
	places, err := s.Store.Places(ctx, by.ID, before, n+1)
	if err != nil {
		return nil, err
	}
	list := WaitList{Items: make([]Wait, 0, len(places))}
	if len(places) > n {
		places = places[:n]
		list.NextCursor = encodeCursor(position{At: places[n-1].CreatedAt, ID: places[n-1].ID})
	}
	for _, p := range places {
		list.Items = append(list.Items, wait(p))
	}
	return ListWaitlist200JSONResponse{WaitsJSONResponse(list)}, nil
}

// LeaveWaitlist implements StrictServerInterface.
func (s *Server) LeaveWaitlist(ctx context.Context, r LeaveWaitlistRequestObject) (LeaveWaitlistResponseObject, error) {
	by, err := caller(ctx)
	if err != nil {
		return nil, err
	}
	return LeaveWaitlist204Response{}, s.Store.Leave(ctx, r.Id, by.ID)
}

func wait(p postgres.Place) Wait {
	out := Wait{
		Id: p.ID, DoctorId: optional(p.DoctorID), Specialty: optional(p.Specialty), From: date(p.From), To: date(p.To),
		Status: WaitStatus(p.Status), CreatedAt: p.CreatedAt.UTC(),
	}
	if p.Offer != nil {
		out.HoldId, out.Offer = &p.Offer.ID, new(hold(*p.Offer))
	}
	return out
}

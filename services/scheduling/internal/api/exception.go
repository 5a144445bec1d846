package api

import (
	"context"
	"time"

	openapi_types "github.com/oapi-codegen/runtime/types"

	"github.com/healthmed/healthmed/pkg/web"
	"github.com/healthmed/healthmed/services/scheduling/internal/booking"
	"github.com/healthmed/healthmed/services/scheduling/internal/postgres"
)

// exceptionsAhead is how far ahead a date can be set apart.
const exceptionsAhead = 2 * 366

// ListExceptions implements StrictServerInterface.
func (s *Server) ListExceptions(ctx context.Context, r ListExceptionsRequestObject) (ListExceptionsResponseObject, error) {
	if err := ownDoctor(ctx, r.Id); err != nil {
		return nil, err
	}
	from, to, err := s.dates(r.Params.From, r.Params.To, 366, 366)
	if err != nil {
		return nil, err
	}
	found, err := s.Store.Exceptions(ctx, r.Id, from, to)
	if err != nil {
		return nil, err
	}
	list := ExceptionList{Items: make([]Exception, len(found))}
	for i, e := range found {
		list.Items[i] = exception(e)
	}
	return ListExceptions200JSONResponse{ExceptionsJSONResponse(list)}, nil
}

// PutException implements StrictServerInterface.
func (s *Server) PutException(ctx context.Context, r PutExceptionRequestObject) (PutExceptionResponseObject, error) {
	if err := ownDoctor(ctx, r.Id); err != nil {
		return nil, err
	}
	e := booking.Exception{Date: booking.NewDate(r.Date.Date()), Note: deref(r.Body.Note, "")}
	if fault, wrong := s.exceptionFault(e.Date, r.Body); wrong {
		return nil, web.Validation(fault)
	}
	var err error
	if e.Hours, err = hoursOf(deref(r.Body.Hours, nil)); err != nil {
		return nil, err
	}
	if err := s.Store.SetException(ctx, r.Id, e); err != nil {
		return nil, validation(err)
	}
	return PutException200JSONResponse{ExceptionJSONResponse(exception(e))}, nil
}

// exceptionFault is what the schema cannot say of an exception.
func (s *Server) exceptionFault(date booking.Date, in *ExceptionInput) (web.Fault, bool) {
	today := booking.DateOf(s.Now(), time.UTC)
	switch {
	case date < today-1 || date > today+exceptionsAhead:
		return web.Fault{Parameter: "date", Detail: web.Text{
			PT: "Deve ser de hoje em diante, até dois anos.", EN: "Must be from today on, up to two years ahead."}}, true
	case deref(in.Closed, false) == (in.Hours != nil):
		return web.Fault{Pointer: "/hours", Detail: web.Text{
			PT: "Informe closed, ou hours.", EN: "Give either closed or hours."}}, true
	}
	return web.Fault{}, false
}

// DeleteException implements StrictServerInterface.
func (s *Server) DeleteException(ctx context.Context, r DeleteExceptionRequestObject) (DeleteExceptionResponseObject, error) {
	if err := ownDoctor(ctx, r.Id); err != nil {
		return nil, err
	}
	return DeleteException204Response{}, s.Store.RemoveException(ctx, r.Id, booking.NewDate(r.Date.Date()))
}

// ListAvailabilityConflicts implements StrictServerInterface.
func (s *Server) ListAvailabilityConflicts(ctx context.Context, r ListAvailabilityConflictsRequestObject) (ListAvailabilityConflictsResponseObject, error) {
	if err := ownDoctor(ctx, r.Id); err != nil {
		return nil, err
	}
	list, err := page(ctx, s.Store.Conflicts, postgres.Filter{DoctorID: r.Id}, r.Params.Limit, r.Params.Cursor)
	if err != nil {
		return nil, err
	}
	return ListAvailabilityConflicts200JSONResponse{AppointmentsJSONResponse(list)}, nil
}

func exception(e booking.Exception) Exception {
	out := Exception{Date: date(e.Date), Closed: len(e.Hours) == 0, Hours: make([]Hours, len(e.Hours)), Note: optional(e.Note)}
	for i, h := range e.Hours {
		out.Hours[i] = Hours{Start: h.Start.String(), End: h.End.String()}
	}
	return out
}

func date(d booking.Date) openapi_types.Date { return openapi_types.Date{Time: d.Time()} }

package api

import (
	"context"
	"time"

	"github.com/google/uuid"

	"github.com/healthmed/healthmed/pkg/web"
	"github.com/healthmed/healthmed/services/scheduling/internal/booking"
	"github.com/healthmed/healthmed/services/scheduling/internal/postgres"
)

// BookAppointment implements StrictServerInterface.
func (s *Server) BookAppointment(ctx context.Context, r BookAppointmentRequestObject) (BookAppointmentResponseObject, error) {
	by, req, err := request(ctx, r.Params.IdempotencyKey, "book", r.Body)
	if err != nil {
		return nil, err
	}
	patient := by.ID
	switch {
	case by.Role == booking.Admin && r.Body.PatientId == nil:
		return nil, web.Validation(web.Fault{Pointer: "/patient_id", Detail: web.Text{
			PT: "Informe o paciente.", EN: "Say who the patient is."}})
	case by.Role == booking.Admin:
		patient = *r.Body.PatientId
	case r.Body.PatientId != nil && *r.Body.PatientId != by.ID:
		return nil, web.Forbidden()
	}
	if r.Body.HoldId != nil && *r.Body.HoldId == uuid.Nil { // which the store takes for none
		return nil, web.Validation(web.Fault{Pointer: "/hold_id", Detail: web.Text{
			PT: "Não é o identificador de uma reserva.", EN: "Not the id of a hold."}})
	}
	a, err := s.Store.Book(ctx, postgres.Booking{
		DoctorID: r.Body.DoctorId, PatientID: patient, StartsAt: r.Body.StartsAt, By: by,
		Reason: deref(r.Body.Reason, ""), HoldID: deref(r.Body.HoldId, uuid.Nil),
	}, req, renderNew)
	return answer(a), err
}

// GetAppointment implements StrictServerInterface.
func (s *Server) GetAppointment(ctx context.Context, r GetAppointmentRequestObject) (GetAppointmentResponseObject, error) {
	by, err := caller(ctx)
	if err != nil {
		return nil, err
	}
	a, err := s.Store.Appointment(ctx, r.Id, by)
	if err != nil {
		return nil, err
	}
	return GetAppointment200JSONResponse{AppointmentJSONResponse{
		Body:    appointment(a),
		Headers: AppointmentResponseHeaders{ETag: new(etag(a.Version))},
	}}, nil
}

// ListAppointments implements StrictServerInterface.
func (s *Server) ListAppointments(ctx context.Context, r ListAppointmentsRequestObject) (ListAppointmentsResponseObject, error) {
	by, err := caller(ctx)
	if err != nil {
		return nil, err
	}
	p := r.Params
	f := postgres.Filter{
		DoctorID: deref(p.DoctorId, uuid.Nil), PatientID: deref(p.PatientId, uuid.Nil),
		Status: booking.Status(deref(p.Status, "")), From: deref(p.From, time.Time{}), To: deref(p.To, time.Time{}),
	}
	// Each sees their own, whatever else they ask for.
	switch by.Role {
	case booking.Patient:
		f.PatientID = narrowed(f.PatientID, by.ID)
	case booking.Doctor:
		f.DoctorID = narrowed(f.DoctorID, by.ID)
	case booking.Admin, booking.System:
	}
	list, err := page(ctx, s.Store.Appointments, f, p.Limit, p.Cursor)
	if err != nil {
		return nil, err
	}
	return ListAppointments200JSONResponse{AppointmentsJSONResponse(list)}, nil
}

// narrowed is the caller's own id, or one that nobody has when they ask for somebody else's.
func narrowed(asked, own uuid.UUID) uuid.UUID {
	if asked != uuid.Nil && asked != own {
		return uuid.Max
	}
	return own
}

// page answers one page of appointments of a list.
func page(ctx context.Context, list func(context.Context, postgres.Filter) ([]booking.Appointment, error),
	f postgres.Filter, limit *int, cursor *string) (AppointmentList, error) {
	n := deref(limit, 20)
	f.Limit = n + 1
	if cursor != nil {
		at, err := decodeCursor(*cursor)
		if err != nil {
			return AppointmentList{}, err
		}
		f.AfterStart, f.AfterID = at.At, at.ID
	}
	found, err := list(ctx, f)
	if err != nil {
		return AppointmentList{}, err
	}
	out := AppointmentList{Items: make([]Appointment, 0, len(found))}
	if len(found) > n {
		found = found[:n]
		out.NextCursor = encodeCursor(position{At: found[n-1].Slot.StartsAt, ID: found[n-1].ID})
	}
	for _, a := range found {
		out.Items = append(out.Items, appointment(a))
	}
	return out, nil
}

// GetHistory implements StrictServerInterface.
func (s *Server) GetHistory(ctx context.Context, r GetHistoryRequestObject) (GetHistoryResponseObject, error) {
	by, err := caller(ctx)
	if err != nil {
		return nil, err
	}
	entries, err := s.Store.History(ctx, r.Id, by)
	if err != nil {
		return nil, err
	}
	list := HistoryList{Items: make([]HistoryEntry, len(entries))}
	for i, e := range entries {
		list.Items[i] = HistoryEntry{
			Version: e.Version, Action: HistoryEntryAction(e.Action), Status: Status(e.Status),
			Actor: Actor{Role: ActorRole(e.By.Role), Id: e.By.ID}, Reason: optional(e.Note),
			StartsAt: e.Slot.StartsAt.UTC(), EndsAt: e.Slot.EndsAt.UTC(), At: e.At.UTC(),
		}
	}
	return GetHistory200JSONResponse{HistoryJSONResponse(list)}, nil
}

// appointment as clients see it.
func appointment(a booking.Appointment) Appointment {
	out := Appointment{
		Id: a.ID, DoctorId: a.DoctorID, PatientId: a.PatientID,
		StartsAt: a.Slot.StartsAt.UTC(), EndsAt: a.Slot.EndsAt.UTC(), TimeZone: a.TimeZone,
		Status: Status(a.Status), Reason: optional(a.Reason), Version: a.Version,
		CreatedAt: a.CreatedAt.UTC(), UpdatedAt: a.UpdatedAt.UTC(),
	}
	if !a.ExpiresAt.IsZero() {
		out.ExpiresAt = new(a.ExpiresAt.UTC())
	}
	return out
}

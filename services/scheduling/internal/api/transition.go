package api

import (
	"context"
	"time"

	"github.com/google/uuid"

	"github.com/healthmed/healthmed/services/scheduling/internal/booking"
	"github.com/healthmed/healthmed/services/scheduling/internal/postgres"
)

type decide = func(a booking.Appointment, schedule *booking.Schedule, by booking.Actor, now time.Time) (booking.Change, error)

// transition makes a change of an appointment; asked is what the key's fingerprint is made of.
func (s *Server) transition(ctx context.Context, operation string, id uuid.UUID, key, match *string, asked any, f decide) (answer, error) {
	by, req, err := request(ctx, key, operation+" "+id.String(), asked)
	if err != nil {
		return answer{}, err
	}
	t := postgres.Transition{ID: id, By: by, IfVersion: ifMatch(match),
		Decide: func(a booking.Appointment, schedule *booking.Schedule, now time.Time) (booking.Change, error) {
			return f(a, schedule, by, now)
		}}
	change := s.Store.Change
	if operation == "reschedule" {
		change = s.Store.Reschedule
	}
	a, err := change(ctx, t, req, render)
	return answer(a), err
}

// CancelAppointment implements StrictServerInterface.
func (s *Server) CancelAppointment(ctx context.Context, r CancelAppointmentRequestObject) (CancelAppointmentResponseObject, error) {
	return s.transition(ctx, "cancel", r.Id, r.Params.IdempotencyKey, r.Params.IfMatch, r.Body,
		func(a booking.Appointment, schedule *booking.Schedule, by booking.Actor, now time.Time) (booking.Change, error) {
			var notice time.Duration
			if schedule != nil {
				notice = schedule.CancelNotice()
			}
			return a.Cancel(by, r.Body.Reason, notice, now)
		})
}

// RescheduleAppointment implements StrictServerInterface.
func (s *Server) RescheduleAppointment(ctx context.Context, r RescheduleAppointmentRequestObject) (RescheduleAppointmentResponseObject, error) {
	return s.transition(ctx, "reschedule", r.Id, r.Params.IdempotencyKey, r.Params.IfMatch, r.Body,
		func(a booking.Appointment, schedule *booking.Schedule, by booking.Actor, now time.Time) (booking.Change, error) {
			if schedule == nil {
				return booking.Change{}, booking.ErrOutsideAvailability
			}
			return a.Reschedule(schedule, r.Body.StartsAt, by, now)
		})
}

// ConfirmAppointment implements StrictServerInterface.
func (s *Server) ConfirmAppointment(ctx context.Context, r ConfirmAppointmentRequestObject) (ConfirmAppointmentResponseObject, error) {
	return s.transition(ctx, "confirm", r.Id, r.Params.IdempotencyKey, r.Params.IfMatch, nil,
		func(a booking.Appointment, _ *booking.Schedule, by booking.Actor, now time.Time) (booking.Change, error) {
			return a.Confirm(by, now)
		})
}

// DeclineAppointment implements StrictServerInterface.
func (s *Server) DeclineAppointment(ctx context.Context, r DeclineAppointmentRequestObject) (DeclineAppointmentResponseObject, error) {
	return s.transition(ctx, "decline", r.Id, r.Params.IdempotencyKey, r.Params.IfMatch, r.Body,
		func(a booking.Appointment, _ *booking.Schedule, by booking.Actor, now time.Time) (booking.Change, error) {
			return a.Decline(by, r.Body.Reason, now)
		})
}

// CompleteAppointment implements StrictServerInterface.
func (s *Server) CompleteAppointment(ctx context.Context, r CompleteAppointmentRequestObject) (CompleteAppointmentResponseObject, error) {
	return s.transition(ctx, "complete", r.Id, r.Params.IdempotencyKey, r.Params.IfMatch, nil,
		func(a booking.Appointment, _ *booking.Schedule, by booking.Actor, now time.Time) (booking.Change, error) {
			return a.Complete(by, now)
		})
}

// MarkNoShow implements StrictServerInterface.
func (s *Server) MarkNoShow(ctx context.Context, r MarkNoShowRequestObject) (MarkNoShowResponseObject, error) {
	return s.transition(ctx, "no-show", r.Id, r.Params.IdempotencyKey, r.Params.IfMatch, nil,
		func(a booking.Appointment, _ *booking.Schedule, by booking.Actor, now time.Time) (booking.Change, error) {
			return a.NoShow(by, now)
		})
}

package api

import (
	"context"

	"github.com/google/uuid"

	"github.com/healthmed/healthmed/services/notifier/internal/notice"
	"github.com/healthmed/healthmed/services/notifier/internal/postgres"
)

// ListDeliveries implements GET /v1/deliveries.
func (s *Server) ListDeliveries(ctx context.Context, r ListDeliveriesRequestObject) (ListDeliveriesResponseObject, error) {
	last, err := before(r.Params.Cursor)
	if err != nil {
		return nil, err
	}
	limit := limitOf(r.Params.Limit)
	filter := postgres.Filter{Before: last, Limit: limit + 1}
	if r.Params.Status != nil {
		filter.Status = notice.Status(*r.Params.Status)
	}
	if r.Params.AppointmentId != nil {
		filter.AppointmentID = *r.Params.AppointmentId
	}
	if r.Params.RecipientId != nil {
		filter.RecipientID = *r.Params.RecipientId
	}
	found, err := s.Store.Deliveries(ctx, filter)
	if err != nil {
		return nil, err
	}
	found, next := page(found, limit, func(d notice.Delivery) uuid.UUID { return d.ID })
	out := DeliveryPage{Items: make([]Delivery, 0, len(found)), NextCursor: next}
	for _, d := range found {
		out.Items = append(out.Items, shown(d))
	}
	return ListDeliveries200JSONResponse(out), nil
}

// GetDelivery implements GET /v1/deliveries/{id}.
func (s *Server) GetDelivery(ctx context.Context, r GetDeliveryRequestObject) (GetDeliveryResponseObject, error) {
	d, err := s.Store.Delivery(ctx, r.Id)
	if err != nil {
		return nil, err
	}
	return GetDelivery200JSONResponse{DeliveryJSONResponse(shown(d))}, nil
}

// RetryDelivery implements POST /v1/deliveries/{id}/retry.
func (s *Server) RetryDelivery(ctx context.Context, r RetryDeliveryRequestObject) (RetryDeliveryResponseObject, error) {
	d, err := s.Store.Retry(ctx, r.Id, s.Now())
	if err != nil {
		return nil, err
	}
	s.Nudge()
	return RetryDelivery200JSONResponse{DeliveryJSONResponse(shown(d))}, nil
}

func shown(d notice.Delivery) Delivery {
	return Delivery{
		Id: d.ID, EventId: d.EventID, Template: string(d.Template), RecipientId: d.RecipientID,
		AppointmentId: optional(d.AppointmentID), Status: Status(d.Status), Attempts: d.Attempts, Resends: d.Resends,
		LastError: optional(d.LastError), SesMessageId: optional(d.SESMessageID),
		CreatedAt: d.CreatedAt.UTC(), DueAt: d.DueAt.UTC(), SentAt: optionalTime(d.SentAt),
	}
}

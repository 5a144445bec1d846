package api

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"net/http"

	"github.com/gofiber/fiber/v2"

	"github.com/healthmed/healthmed/services/scheduling/internal/booking"
	"github.com/healthmed/healthmed/services/scheduling/internal/postgres"
)

// answer is a response whose bytes were made, and perhaps stored, in the operation's transaction.
type answer postgres.Answer

func (a answer) send(c *fiber.Ctx) error {
	if a.Location != "" {
		c.Set(fiber.HeaderLocation, a.Location)
	}
	if a.ETag != "" {
		c.Set(fiber.HeaderETag, a.ETag)
	}
	if a.Replayed {
		c.Set("Idempotent-Replayed", "true")
	}
	c.Set(fiber.HeaderContentType, fiber.MIMEApplicationJSON)
	if a.Status >= http.StatusBadRequest {
		c.Set(fiber.HeaderContentType, "application/problem+json")
	}
	return c.Status(a.Status).Send(a.Body)
}

func (a answer) VisitBookAppointmentResponse(c *fiber.Ctx) error       { return a.send(c) }
func (a answer) VisitCancelAppointmentResponse(c *fiber.Ctx) error     { return a.send(c) }
func (a answer) VisitRescheduleAppointmentResponse(c *fiber.Ctx) error { return a.send(c) }
func (a answer) VisitConfirmAppointmentResponse(c *fiber.Ctx) error    { return a.send(c) }
func (a answer) VisitDeclineAppointmentResponse(c *fiber.Ctx) error    { return a.send(c) }
func (a answer) VisitCompleteAppointmentResponse(c *fiber.Ctx) error   { return a.send(c) }
func (a answer) VisitMarkNoShowResponse(c *fiber.Ctx) error            { return a.send(c) }
func (a answer) VisitCreateHoldResponse(c *fiber.Ctx) error            { return a.send(c) }

// request identifies a call that may be repeated: caller, key, and what was asked of which operation.
func request(ctx context.Context, key *string, operation string, asked any) (booking.Actor, postgres.Request, error) {
	by, err := caller(ctx)
	if err != nil {
		return by, postgres.Request{}, err
	}
	r := postgres.Request{Caller: by.ID, Key: deref(key, ""), Refusal: func(err error) (postgres.Answer, bool) {
		p, kept := refusal(err)
		if !kept {
			return postgres.Answer{}, false
		}
		return postgres.Answer{Status: p.Status, Body: p.JSON(ctx)}, true
	}}
	if r.Key == "" {
		return by, r, nil
	}
	body, err := json.Marshal(asked)
	if err != nil {
		return by, r, err
	}
	r.Fingerprint = sha256.Sum256(append([]byte(operation+"\x00"), body...))
	return by, r, nil
}

// renderNew answers 201 with the new appointment.
func renderNew(a booking.Appointment) (postgres.Answer, error) {
	body, err := json.Marshal(appointment(a))
	return postgres.Answer{Status: http.StatusCreated, Location: "/v1/appointments/" + a.ID.String(), Body: body,
		ETag: etag(a.Version)}, err
}

// render answers 200 with the appointment as it is now.
func render(a booking.Appointment) (postgres.Answer, error) {
	body, err := json.Marshal(appointment(a))
	return postgres.Answer{Status: http.StatusOK, Body: body, ETag: etag(a.Version)}, err
}

package web_test

import (
	"io"
	"net"
	"strings"
	"testing"

	"github.com/gofiber/fiber/v2"
	"github.com/valyala/fasthttp"

	"github.com/healthmed/healthmed/pkg/auth"
	"github.com/healthmed/healthmed/pkg/auth/authtest"
	"github.com/healthmed/healthmed/pkg/telemetry"
	"github.com/healthmed/healthmed/pkg/web"
)

const bookingSpec = `
openapi: 3.0.3
info: {title: Booking, version: "1"}
components: {securitySchemes: {bearer: {type: http, scheme: bearer}}}
paths:
  /v1/appointments:
    post:
      operationId: book
      security: [{bearer: []}]
      x-roles: [patient, admin]
      parameters: [{name: Idempotency-Key, in: header, required: true, schema: {type: string, minLength: 1, maxLength: 255}}]
      requestBody:
        required: true
        content:
          application/json:
            schema:
              type: object
              required: [doctor_id, starts_at]
              properties:
                doctor_id: {type: string, format: uuid}
                starts_at: {type: string, format: date-time}
                reason: {type: string, maxLength: 500}
                hold_id: {type: string, format: uuid}
      responses: {"201": {description: booked}}
  /v1/doctors/{id}/slots:
    get:
      operationId: slots
      parameters:
        - {name: id, in: path, required: true, schema: {type: string, format: uuid}}
        - {name: from, in: query, schema: {type: string, format: date}}
        - {name: to, in: query, schema: {type: string, format: date}}
      responses: {"200": {description: slots}}
`

// BenchmarkRequest shows what this package costs on top of Fiber: the same handlers behind nothing, and behind the whole
// edge with a token, validation, log line, metrics and deadline.
func BenchmarkRequest(b *testing.B) {
	handlers := func(app *fiber.App) {
		app.Post("/v1/appointments", func(c *fiber.Ctx) error { return c.SendStatus(201) })
		app.Get("/v1/doctors/:id/slots", func(c *fiber.Ctx) error { return c.SendStatus(200) })
	}
	issuer := authtest.New(b)
	tel, err := telemetry.New(b.Context(), "bench", telemetry.Config{LogOutput: io.Discard})
	if err != nil {
		b.Fatal(err)
	}
	app, err := web.New(web.Config{Service: "bench", Spec: []byte(bookingSpec), Telemetry: tel, Verifier: issuer.Verifier()})
	if err != nil {
		b.Fatal(err)
	}
	handlers(app.Fiber)
	bare := fiber.New(fiber.Config{Immutable: true})
	handlers(bare)

	var book, list, faulty fasthttp.Request
	book.Header.SetMethod("POST")
	book.SetRequestURI("/v1/appointments")
	book.Header.SetContentType("application/json")
	book.Header.Set("Authorization", issuer.Bearer(auth.Principal{}))
	book.Header.Set("Idempotency-Key", "0193e1d2-7c1a-7b3e-9f10-123456789012")
	book.SetBodyString(`{"doctor_id":"0193e1d2-7c1a-7b3e-9f10-123456789012","starts_at":"2026-12-01T09:00:00-03:00","reason":"` + strings.Repeat("a", 40) + `"}`)
	book.CopyTo(&faulty)
	faulty.SetBodyString(`{"doctor_id":"x","starts_at":"x","reason":1,"status":"booked"}`)
	list.Header.SetMethod("GET")
	list.SetRequestURI("/v1/doctors/0193e1d2-7c1a-7b3e-9f10-123456789012/slots?from=2026-12-01&to=2026-12-07")

	for _, c := range []struct {
		name    string
		request *fasthttp.Request
		status  int
	}{{"book", &book, 201}, {"slots", &list, 200}, {"refused", &faulty, 422}} {
		for _, edge := range []struct {
			name    string
			handler fasthttp.RequestHandler
		}{{"bare Fiber", bare.Handler()}, {"edge", app.Fiber.Handler()}} {
			if edge.name == "bare Fiber" && c.status >= 400 {
				continue
			}
			b.Run(c.name+"/"+edge.name, func(b *testing.B) {
				b.ReportAllocs()
				peer := &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1}
				for b.Loop() {
					var ctx fasthttp.RequestCtx
					ctx.Init(&fasthttp.Request{}, peer, nil)
					c.request.CopyTo(&ctx.Request)
					edge.handler(&ctx)
					if got := ctx.Response.StatusCode(); got != c.status {
						b.Fatalf("status %d: %s", got, ctx.Response.Body())
					}
				}
			})
		}
	}
}

package web_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gofiber/fiber/v2"

	"github.com/healthmed/healthmed/pkg/telemetry"
	"github.com/healthmed/healthmed/pkg/web"
)

// clinic is a small service with one of everything that the package knows.
const clinic = `
openapi: 3.0.3
info: {title: Clinic, version: "1"}
paths:
  /v1/patients:
    post:
      operationId: registerPatient
      requestBody:
        required: true
        content:
          application/json:
            schema: {$ref: "#/components/schemas/Registration"}
      responses: {"201": {description: registered}}
    get:
      operationId: listPatients
      parameters:
        - {name: limit, in: query, schema: {type: integer, minimum: 1, maximum: 100}}
        - {name: name, in: query, schema: {type: string, minLength: 2}}
        - {name: active, in: query, schema: {type: boolean}}
        - {name: status, in: query, schema: {type: array, items: {type: string, enum: [active, blocked]}}}
        - {name: ids, in: query, explode: false, schema: {type: array, maxItems: 2, items: {type: string, format: uuid}}}
        - {name: from, in: query, schema: {type: string, format: date-time}}
      responses: {"200": {description: list}}
  /v1/patients/{id}:
    parameters:
      - {name: id, in: path, required: true, schema: {type: string, format: uuid}}
    get:
      operationId: getPatient
      responses: {"200": {description: one}}
    patch:
      operationId: changePatient
      parameters:
        - {name: If-Match, in: header, required: true, schema: {type: string, pattern: '^"[0-9]+"$'}}
      requestBody:
        content:
          application/json:
            schema:
              oneOf:
                - type: object
                  required: [closed]
                  additionalProperties: false
                  properties: {closed: {type: boolean}}
                - type: object
                  required: [hours]
                  additionalProperties: false
                  properties: {hours: {type: integer}}
      responses: {"200": {description: changed}}
  /v1/patients/me:
    get:
      operationId: getMe
      responses: {"200": {description: me}}
  /v1/calendars/{token}.ics:
    get:
      operationId: calendar
      parameters:
        - {name: token, in: path, required: true, schema: {type: string, maxLength: 64}}
      responses: {"200": {description: calendar}}
  /v1/fail/{how}:
    post:
      operationId: fail
      parameters:
        - {name: how, in: path, required: true, schema: {type: string}}
      responses: {"204": {description: done}}
components:
  schemas:
    Registration:
      type: object
      required: [name, cpf, email]
      properties:
        name: {type: string, minLength: 1, maxLength: 20}
        nickname: {type: string, nullable: true}
        cpf: {type: string, format: cpf}
        email: {type: string, format: email}
        birth_date: {type: string, format: date}
        role: {type: string, enum: [patient, doctor]}
        age: {type: integer, minimum: 0, maximum: 150}
        phone: {type: string, pattern: '^\+[0-9]+$', x-detail: {pt: "deve estar em E.164", en: "must be in E.164"}}
        crm:
          type: object
          required: [number, state]
          properties:
            number: {type: string}
            state: {type: string, minLength: 2, maxLength: 2}
        specialties:
          type: array
          minItems: 1
          uniqueItems: true
          items: {type: string, maxLength: 10}
        extra:
          allOf:
            - type: object
              required: [a]
              properties: {a: {type: integer}}
            - type: object
              required: [b]
              properties: {b: {type: string, minLength: 3}}
`

var (
	errTaken     = errors.New("slot taken")
	slotTaken    = web.Problem{Name: "slot-taken", Status: 409, Title: web.Text{PT: "Horário ocupado", EN: "Slot taken"}, Detail: web.Text{PT: "Escolha outro.", EN: "Choose another."}}
	errNotACPF   = errors.New("cpf 52998224725 is wrong")
	clinicConfig = web.Config{
		Service:  "clinic",
		Spec:     []byte(clinic),
		Mappings: []web.Mapping{{Err: errTaken, Problem: slotTaken}},
		Formats: []web.Format{{
			Name: "cpf", Detail: web.Text{PT: "deve ser um CPF válido", EN: "must be a valid CPF"},
			Check: func(s string) error {
				if s != "52998224725" {
					return errNotACPF
				}
				return nil
			},
		}},
	}
)

// service is a running clinic.
type service struct {
	*web.App
	url, ops string
	stop     func() error // ends Run and waits for it
}

// start runs the app on free ports. handlers may be nil.
func start(t *testing.T, cfg web.Config, handlers func(*fiber.App)) *service {
	t.Helper()
	if cfg.Telemetry == nil {
		cfg.Telemetry = telemetry.Discard()
	}
	app, err := web.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if handlers == nil {
		handlers = clinicHandlers
	}
	handlers(app.Fiber)
	pub, ops := listen(t), listen(t)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- app.Run(ctx, pub, ops) }()
	stopped := false
	s := &service{App: app, url: "http://" + pub.Addr().String(), ops: "http://" + ops.Addr().String()}
	s.stop = func() error {
		cancel()
		stopped = true
		select {
		case err := <-done:
			return err
		case <-time.After(15 * time.Second):
			return errors.New("Run did not end")
		}
	}
	t.Cleanup(func() {
		if !stopped {
			if err := s.stop(); err != nil {
				t.Errorf("stop: %v", err)
			}
		}
	})
	return s
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return ln
}

func clinicHandlers(app *fiber.App) {
	app.Post("/v1/patients", func(c *fiber.Ctx) error { c.Location("/v1/patients/1"); return c.SendStatus(201) })
	app.Get("/v1/patients", func(c *fiber.Ctx) error { return c.JSON(fiber.Map{"items": []any{}}) })
	app.Get("/v1/patients/me", func(c *fiber.Ctx) error { return c.SendString("me") })
	app.Get("/v1/patients/:id", func(c *fiber.Ctx) error { return c.SendString(c.Params("id")) })
	app.Patch("/v1/patients/:id", func(c *fiber.Ctx) error { return c.SendStatus(200) })
	app.Get("/v1/calendars/:token.ics", func(c *fiber.Ctx) error { return c.SendString(c.Params("token")) })
	app.Post("/v1/fail/:how", func(c *fiber.Ctx) error {
		c.Set("ETag", `"7"`)
		switch c.Params("how") {
		case "taken":
			return errors.Join(errors.New("context"), errTaken)
		case "problem":
			return web.PreconditionFailed()
		case "faults":
			return web.Validation(web.Fault{Pointer: "/starts_at", Detail: web.Text{PT: "já passou", EN: "is past"}})
		case "throttled":
			return web.RateLimited(1500 * time.Millisecond)
		case "panic":
			panic("secret inside")
		case "deadline":
			<-c.UserContext().Done()
			return c.UserContext().Err()
		case "fiber":
			return fiber.NewError(400, "cannot parse 52998224725")
		default:
			return errors.New("secret inside")
		}
	})
}

// answer is what came back.
type answer struct {
	Status int
	Header http.Header
	Body   string
}

// problem is the body as a problem document.
func (a answer) problem(t *testing.T) map[string]any {
	t.Helper()
	var m map[string]any
	if err := json.Unmarshal([]byte(a.Body), &m); err != nil {
		t.Fatalf("not a problem: %d %q", a.Status, a.Body)
	}
	if got := a.Header.Get("Content-Type"); got != "application/problem+json" {
		t.Errorf("Content-Type %q", got)
	}
	if got, want := m["status"], float64(a.Status); got != want {
		t.Errorf("status %v in the body, %v on the wire", got, want)
	}
	if got, want := m["request_id"], a.Header.Get("X-Request-Id"); got != want || want == "" {
		t.Errorf("request_id %v in the body, %v in the header", got, want)
	}
	return m
}

// faults are the problem's errors as "pointer or parameter: detail".
func (a answer) faults(t *testing.T) []string {
	t.Helper()
	var list []string
	errs, _ := a.problem(t)["errors"].([]any)
	for _, e := range errs {
		m := e.(map[string]any)
		where, ok := m["pointer"].(string)
		if !ok {
			where, _ = m["parameter"].(string)
		}
		list = append(list, where+": "+m["detail"].(string))
	}
	return list
}

// send makes one request; headers are "Name: value".
func send(t *testing.T, method, url, body string, headers ...string) answer {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		req.Header.Set(name, value)
	}
	res, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{res.StatusCode, res.Header, string(bytes.TrimSpace(text))}
}

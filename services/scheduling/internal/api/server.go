// Package api is the HTTP face of the scheduling service: openapi.yaml, the code generated from it, and one file of
// handlers per resource. It holds no rules and no SQL.
package api

import (
	"context"
	_ "embed"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/gofiber/fiber/v2"
	"github.com/google/uuid"

	"github.com/healthmed/healthmed/pkg/auth"
	"github.com/healthmed/healthmed/pkg/web"
	"github.com/healthmed/healthmed/services/scheduling/internal/booking"
	"github.com/healthmed/healthmed/services/scheduling/internal/postgres"
)

//go:generate go run github.com/oapi-codegen/oapi-codegen/v2/cmd/oapi-codegen@v2.8.2 --config oapi-codegen.yaml openapi.yaml

//go:embed openapi.yaml
var spec []byte

// Spec is the OpenAPI document.
func Spec() []byte { return spec }

// Server implements the operations of openapi.yaml.
type Server struct {
	Store *postgres.Store
	Now   func() time.Time
	// PublicURL is the origin that clients see, for addresses that are used outside (calendar feeds).
	PublicURL string
}

var _ StrictServerInterface = (*Server)(nil)

// Register puts the operations on the app.
func (s *Server) Register(router fiber.Router) {
	router.Post("/v1/me/calendar", emptyIsObject)
	RegisterHandlers(router, NewStrictHandler(s, []StrictMiddlewareFunc{noStore}))
}

// emptyIsObject lets a body that may be left out be left out: the generated code would fail to read none.
func emptyIsObject(c *fiber.Ctx) error {
	if len(c.Request().Body()) == 0 {
		c.Request().Header.SetContentType(fiber.MIMEApplicationJSON)
		c.Request().SetBodyString("{}")
	}
	return c.Next()
}

// noStore keeps personal data out of every cache. Availability and free slots are public, but stale at once.
func noStore(next StrictHandlerFunc, operation string) StrictHandlerFunc {
	cache := "no-store"
	switch operation {
	case "GetAvailability", "ListSlots", "SearchSlots":
		cache = "no-cache"
	}
	return func(c *fiber.Ctx, request any) (any, error) {
		c.Set(fiber.HeaderCacheControl, cache)
		return next(c, request)
	}
}

// caller is who asks. Operations whose security the document declares always have one.
func caller(ctx context.Context) (booking.Actor, error) {
	p, ok := auth.FromContext(ctx)
	if !ok {
		return booking.Actor{}, web.Unauthenticated()
	}
	return booking.Actor{Role: booking.Role(p.Role), ID: p.ID}, nil
}

// ownDoctor lets a doctor change what is theirs, and an attendant everybody's.
func ownDoctor(ctx context.Context, doctor uuid.UUID) error {
	by, err := caller(ctx)
	if err == nil && by.Role == booking.Doctor && by.ID != doctor {
		return web.Forbidden()
	}
	return err
}

// etag of a version.
func etag(version int64) string { return `"` + strconv.FormatInt(version, 10) + `"` }

// ifMatch reads an If-Match header: 0 for none or *. A tag that isn't ours matches nothing.
func ifMatch(header *string) int64 {
	if header == nil || strings.TrimSpace(*header) == "*" {
		return 0
	}
	version, err := strconv.ParseInt(strings.Trim(strings.TrimSpace(*header), `"`), 10, 64)
	if err != nil || version <= 0 {
		return -1
	}
	return version
}

// Formats check what a JSON schema cannot say.
func Formats() []web.Format {
	check := func(name, pt, en string, f func(string) error) web.Format {
		return web.Format{Name: name, Check: f, Detail: web.Text{PT: pt, EN: en}}
	}
	return []web.Format{
		check("clock", "Hora inválida: HH:MM.", "Not a time of day: HH:MM.",
			func(s string) error { _, err := booking.ParseClock(s); return err }),
		check("time-zone", "Fuso horário desconhecido: use um nome IANA, como America/Sao_Paulo.",
			"Unknown time zone: use an IANA name such as America/Sao_Paulo.",
			func(s string) error { _, err := booking.LoadZone(s); return err }),
		check("prose", "Texto com caracteres inválidos.", "Text with invalid characters.",
			func(s string) error { return printable(s, "\n\r\t") }),
		check("line", "Texto com caracteres inválidos.", "Text with invalid characters.",
			func(s string) error { return printable(s, "") }),
	}
}

// printable refuses control characters other than those allowed (PostgreSQL would refuse NUL anyway).
func printable(s, allowed string) error {
	if !utf8.ValidString(s) || strings.ContainsFunc(s, func(r rune) bool {
		return unicode.IsControl(r) && !strings.ContainsRune(allowed, r)
	}) {
		return web.Validation()
	}
	return nil
}

func deref[T any](p *T, otherwise T) T {
	if p == nil {
		return otherwise
	}
	return *p
}

func optional[T comparable](v T) *T {
	var zero T
	if v == zero {
		return nil
	}
	return &v
}

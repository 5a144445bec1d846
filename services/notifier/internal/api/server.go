// Package api is the HTTP face of the notifier: openapi.yaml, the code generated from it, and one file of handlers per
// resource. It holds no rules and no SQL.
package api

import (
	_ "embed"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/google/uuid"

	"github.com/healthmed/healthmed/pkg/bus"
	"github.com/healthmed/healthmed/pkg/web"
	"github.com/healthmed/healthmed/services/notifier/internal/notice"
	"github.com/healthmed/healthmed/services/notifier/internal/postgres"
)

//go:generate go run github.com/oapi-codegen/oapi-codegen/v2/cmd/oapi-codegen@v2.8.2 --config oapi-codegen.yaml openapi.yaml

//go:embed openapi.yaml
var spec []byte

// Spec is the OpenAPI document.
func Spec() []byte { return spec }

// Server implements the operations of openapi.yaml.
type Server struct {
	Store *postgres.Store
	Conn  *bus.Conn
	Now   func() time.Time
	// Nudge wakes the worker.
	Nudge func()
}

var _ StrictServerInterface = (*Server)(nil)

// Register puts the operations on the app.
func (s *Server) Register(router fiber.Router) {
	RegisterHandlers(router, NewStrictHandler(s, []StrictMiddlewareFunc{noStore}))
}

// noStore keeps answers out of every cache.
func noStore(next StrictHandlerFunc, _ string) StrictHandlerFunc {
	return func(c *fiber.Ctx, request any) (any, error) {
		c.Set(fiber.HeaderCacheControl, "no-store")
		return next(c, request)
	}
}

// Mappings translate the domain's errors into problems.
func Mappings() []web.Mapping {
	return []web.Mapping{
		{Err: notice.ErrNotFound, Problem: web.NotFound()},
		{Err: notice.ErrNotRetryable, Problem: web.Problem{
			Name: "not-retryable", Status: fiber.StatusConflict,
			Title: web.Text{PT: "Não pode ser reenviada", EN: "Not retryable"},
			Detail: web.Text{
				PT: "A mensagem já foi enviada ou está a caminho, ou o link secreto dela não existe mais.",
				EN: "The message was sent or is under way, or its secret link is gone.",
			},
		}},
		{Err: bus.ErrNotRedrivable, Problem: web.Problem{
			Name: "not-redrivable", Status: fiber.StatusConflict,
			Title: web.Text{PT: "Não pode ser reprocessada", EN: "Not redrivable"},
			Detail: web.Text{
				PT: "A mensagem levava um segredo e não foi guardada.",
				EN: "The message carried a secret and was not kept.",
			},
		}},
		{Err: bus.ErrRedriven, Problem: redriven()},
	}
}

// redriven is 409: a dead letter was handed back a while ago.
func redriven() web.Problem {
	return web.Problem{
		Name: "already-redriven", Status: fiber.StatusConflict,
		Title: web.Text{PT: "Já devolvida", EN: "Handed back already"},
		Detail: web.Text{
			PT: "A mensagem foi devolvida ao consumidor há menos de uma hora e não foi devolvida de novo. Se falhar outra vez, aparece como outra mensagem.",
			EN: "The message was handed back to its consumer within the last hour, and has not been again. If it fails again it appears as another one.",
		},
	}
}

// before reads a cursor: the id of the last item of the page before. It holds nothing that the page didn't show.
func before(cursor *string) (uuid.UUID, error) {
	if cursor == nil {
		return uuid.Nil, nil
	}
	id, err := uuid.Parse(*cursor)
	if err != nil || len(*cursor) != 36 {
		return uuid.Nil, web.Validation(web.Fault{Parameter: "cursor", Detail: web.Text{
			PT: "Cursor inválido: use o next_cursor da página anterior.", EN: "Not a cursor: use the next_cursor of the previous page.",
		}})
	}
	return id, nil
}

// page cuts a list that was read one longer than asked for, and says where the next one begins.
func page[T any](items []T, limit int, id func(T) uuid.UUID) ([]T, *string) {
	if len(items) <= limit {
		return items, nil
	}
	items = items[:limit]
	next := id(items[limit-1]).String()
	return items, &next
}

func limitOf(limit *int) int {
	if limit == nil {
		return 20
	}
	return *limit
}

func optional[T comparable](v T) *T {
	var zero T
	if v == zero {
		return nil
	}
	return &v
}

func optionalTime(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}

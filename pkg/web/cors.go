package web

import (
	"slices"

	"github.com/gofiber/fiber/v2"
)

const (
	corsRequestHeaders  = "Authorization, Content-Type, Accept-Language, Idempotency-Key, If-Match, X-Request-Id, traceparent"
	corsResponseHeaders = "ETag, Location, Retry-After, X-Request-Id, Idempotent-Replayed"
	corsMaxAge          = "600" // seconds
)

// cors tells the browser whether its page may read the answer, and reports whether it may. No credentials are
// involved: tokens travel in a header that a page sets itself.
func (a *App) cors(c *fiber.Ctx) bool {
	if len(a.origins) == 0 {
		return false
	}
	c.Vary(fiber.HeaderOrigin)
	origin := c.Get(fiber.HeaderOrigin)
	if origin == "" || !slices.Contains(a.origins, origin) {
		return false
	}
	c.Set(fiber.HeaderAccessControlAllowOrigin, origin)
	c.Set(fiber.HeaderAccessControlExposeHeaders, corsResponseHeaders)
	return true
}

// preflight answers OPTIONS of an allowed origin.
func (a *App) preflight(c *fiber.Ctx, r *request, n *node) error {
	r.route = "options"
	c.Set(fiber.HeaderAllow, n.allow)
	c.Set(fiber.HeaderAccessControlAllowMethods, n.allow)
	c.Set(fiber.HeaderAccessControlAllowHeaders, corsRequestHeaders)
	c.Set(fiber.HeaderAccessControlMaxAge, corsMaxAge)
	c.Status(fiber.StatusNoContent)
	return nil
}

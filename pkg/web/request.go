package web

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"runtime/debug"
	"strings"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/google/uuid"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/healthmed/healthmed/pkg/auth"
	"github.com/healthmed/healthmed/pkg/telemetry"
)

// request is what this package knows of the request at hand. It lives in Fiber's locals and in the user context.
type request struct {
	id      string
	lang    language
	client  netip.Addr
	route   string // the template, or a bounded word for what has none
	user    uuid.UUID
	quiet   bool // health checks are not worth a log line
	started time.Time
}

type requestKey struct{}

// panicError is a panic of a handler.
type panicError struct {
	value any
	stack string
}

func (p *panicError) Error() string { return fmt.Sprintf("panic: %v", p.value) }

// begin makes the request's state and the headers that every answer carries.
func (a *App) begin(c *fiber.Ctx) *request {
	r := &request{
		id:      RequestID(string(c.Request().Header.Peek(fiber.HeaderXRequestID))),
		lang:    chooseLanguage(string(c.Request().Header.Peek(fiber.HeaderAcceptLanguage))),
		client:  a.clientAddr(c),
		route:   "unmatched",
		started: time.Now(),
	}
	c.Locals(requestKey{}, r)
	c.Set(fiber.HeaderXRequestID, r.id)
	c.Set(fiber.HeaderXContentTypeOptions, "nosniff")
	c.Set(fiber.HeaderXFrameOptions, "DENY")
	c.Set(fiber.HeaderReferrerPolicy, "no-referrer")
	c.Set("Cross-Origin-Resource-Policy", "same-origin")
	c.Set(fiber.HeaderContentSecurityPolicy, "default-src 'none'; frame-ancestors 'none'")
	return r
}

// RequestID takes over the client's id if it is 1 to 128 visible ASCII characters, and makes one otherwise.
func RequestID(sent string) string {
	if len(sent) == 0 || len(sent) > 128 || strings.ContainsFunc(sent, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return newID()
	}
	return sent
}

func newID() string {
	id, err := uuid.NewV7()
	if err != nil { // the system has no randomness
		return uuid.Nil.String()
	}
	return id.String()
}

// serve is the one middleware: it surrounds each request with id, deadline, span, recovery, log line and metrics.
func (a *App) serve(c *fiber.Ctx) error {
	r := a.begin(c)
	a.metrics.inFlight.Inc()
	defer a.metrics.inFlight.Dec()

	ctx, cancel := context.WithTimeout(context.Background(), a.timeout)
	defer cancel()
	ctx = telemetry.WithRequestID(context.WithValue(ctx, requestKey{}, r), r.id)
	ctx = telemetry.WithTraceParent(ctx, string(c.Request().Header.Peek("traceparent")))
	ctx, span := a.tracer.Start(ctx, c.Method(), trace.WithSpanKind(trace.SpanKindServer))
	defer span.End()
	c.SetUserContext(ctx)

	if err := a.guarded(c, r); err != nil {
		a.answerError(c, r, err)
	}
	a.finish(c, r, span)
	return nil
}

// guarded turns a panic into an error.
func (a *App) guarded(c *fiber.Ctx, r *request) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = &panicError{value: v, stack: string(debug.Stack())}
		}
	}()
	return a.dispatch(c, r)
}

// finish records the outcome.
func (a *App) finish(c *fiber.Ctx, r *request, span trace.Span) {
	status, took := c.Response().StatusCode(), time.Since(r.started)
	method := knownMethod(c.Method())
	a.metrics.observe(span, method, r.route, status, took)

	if span.IsRecording() {
		span.SetName(method + " " + r.route)
		span.SetAttributes(
			attribute.String("http.request.method", method),
			attribute.String("http.route", r.route),
			attribute.Int("http.response.status_code", status),
		)
		if status >= http.StatusInternalServerError {
			span.SetStatus(codes.Error, http.StatusText(status))
		}
	}
	if r.quiet && status < http.StatusInternalServerError {
		return
	}
	// The address is kept because Marco Civil art. 15 makes an application keep its access records (address, date and
	// time) for six months; the query is not, as it may hold names.
	attrs := make([]slog.Attr, 0, 6)
	attrs = append(attrs,
		slog.String("method", method), slog.String("route", r.route), slog.Int("status", status),
		slog.Float64("ms", float64(took.Microseconds())/1000), slog.String("client", r.client.String()))
	if r.user != uuid.Nil {
		attrs = append(attrs, slog.String("user_id", r.user.String()))
	}
	a.log.LogAttrs(c.UserContext(), slog.LevelInfo, "request", attrs...)
}

// serverError answers what fails before any handler runs: unreadable requests, headers or bodies too large.
func (a *App) serverError(c *fiber.Ctx, err error) error {
	lingerFor(c)
	a.refuse(c, err)
	return nil
}

// refuse answers with the problem of err, outside of serve.
func (a *App) refuse(c *fiber.Ctx, err error) {
	r, ok := c.Locals(requestKey{}).(*request)
	if !ok {
		r = a.begin(c)
		c.SetUserContext(telemetry.WithRequestID(context.Background(), r.id))
	}
	a.answerError(c, r, err)
	a.finish(c, r, trace.SpanFromContext(c.UserContext()))
}

// dispatch finds what the request is for, and lets it through to the generated handler if it may and is valid.
func (a *App) dispatch(c *fiber.Ctx, r *request) error {
	path := string(c.Request().URI().PathOriginal())
	if page, ok := a.pages[path]; ok {
		r.route, r.quiet = page.route, true
		return page.serve(c, r)
	}
	var buffer [4]string
	node, values := a.router.find(path, buffer[:0])
	if node == nil {
		return NotFound()
	}
	method := c.Method()
	if a.cors(c) && method == fiber.MethodOptions {
		return a.preflight(c, r, node)
	}
	if method == fiber.MethodOptions {
		r.route = "options"
		c.Set(fiber.HeaderAllow, node.allow)
		c.Status(fiber.StatusNoContent)
		return nil
	}
	if method == fiber.MethodHead {
		method = fiber.MethodGet
	}
	op, ok := node.ops[method]
	if !ok {
		return MethodNotAllowed(node.allow)
	}
	r.route = op.route
	c.Set(fiber.HeaderCacheControl, "no-store")
	if err := a.authenticate(c, r, op); err != nil {
		return err
	}
	if err := a.validator.check(c, op, values); err != nil {
		return err
	}
	return c.Next()
}

// authenticate recognises the caller by the token, if there is one, and applies the operation's security and x-roles.
func (a *App) authenticate(c *fiber.Ctx, r *request, op *operation) error {
	header := string(c.Request().Header.Peek(fiber.HeaderAuthorization))
	if header == "" || op.ignoreToken {
		if op.secured && !op.ignoreToken {
			return Unauthenticated()
		}
		return nil
	}
	if len(c.Request().Header.PeekAll(fiber.HeaderAuthorization)) > 1 {
		header = "" // a proxy may have looked at the other one
	}
	caller, err := a.verify(c.UserContext(), header)
	if err != nil {
		return err
	}
	r.user = caller.ID
	c.SetUserContext(auth.NewContext(c.UserContext(), caller))
	if len(op.roles) == 0 {
		return nil
	}
	for _, role := range op.roles {
		if caller.Role == role {
			return nil
		}
	}
	return Forbidden()
}

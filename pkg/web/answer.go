package web

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/gofiber/fiber/v2"

	"github.com/healthmed/healthmed/pkg/auth"
	"github.com/healthmed/healthmed/pkg/postgres"
)

// Mapping translates a domain error (errors.Is) into a problem; its page is served at /problems/<name>.
type Mapping struct {
	Err     error
	Problem Problem
}

// retryUnavailable is what Retry-After says when nobody knows better.
const retryUnavailable = 2 * time.Second

// WWW-Authenticate values (RFC 6750, section 3).
const (
	challengeMissing = `Bearer realm="healthmed"`
	challengeInvalid = `Bearer realm="healthmed", error="invalid_token"`
)

// problemOf is the one translation of errors into answers. What it doesn't know is internal; only that needs logging.
func (a *App) problemOf(err error) Problem {
	var problem Problem
	if errors.As(err, &problem) {
		return problem
	}
	var pointer *Problem
	if errors.As(err, &pointer) && pointer != nil {
		return *pointer
	}
	for _, m := range a.mappings {
		if errors.Is(err, m.Err) {
			return m.Problem
		}
	}
	var fiberError *fiber.Error
	switch {
	case errors.Is(err, auth.ErrUnauthenticated):
		return Unauthenticated()
	case errors.As(err, &fiberError):
		return problemOfStatus(fiberError.Code)
	case errors.Is(err, auth.ErrUnavailable), errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled),
		postgres.IsUnavailable(err):
		return Unavailable(retryUnavailable)
	}
	return internal()
}

// problemOfStatus gives Fiber's own errors our words: theirs may hold what was submitted.
func problemOfStatus(status int) Problem {
	switch status {
	case http.StatusUnauthorized:
		return Unauthenticated()
	case http.StatusForbidden:
		return Forbidden()
	case http.StatusNotFound:
		return NotFound()
	case http.StatusMethodNotAllowed:
		return MethodNotAllowed("")
	case http.StatusRequestTimeout:
		return requestTimeout()
	case http.StatusPreconditionFailed:
		return PreconditionFailed()
	case http.StatusRequestEntityTooLarge:
		return tooLarge()
	case http.StatusUnsupportedMediaType:
		return unsupportedMediaType()
	case http.StatusUnprocessableEntity:
		return Validation()
	case http.StatusTooManyRequests:
		return RateLimited(retryUnavailable)
	case http.StatusRequestHeaderFieldsTooLarge:
		return headersTooLarge()
	case http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return Unavailable(retryUnavailable)
	}
	if status >= 400 && status < 500 {
		return badRequest()
	}
	return internal()
}

// problemJSON is a problem on the wire (RFC 9457).
type problemJSON struct {
	Type      string      `json:"type"`
	Title     string      `json:"title"`
	Status    int         `json:"status"`
	Detail    string      `json:"detail,omitempty"`
	RequestID string      `json:"request_id"`
	Errors    []faultJSON `json:"errors,omitempty"`
}

type faultJSON struct {
	Pointer   *string `json:"pointer,omitempty"` // "" is the whole body
	Parameter string  `json:"parameter,omitempty"`
	Detail    string  `json:"detail"`
}

// answerError translates err, logs it if it is ours, and writes the problem.
func (a *App) answerError(c *fiber.Ctx, r *request, err error) {
	p := a.problemOf(err)
	switch {
	case p.Name == "internal":
		var stack string
		var crash *panicError
		if errors.As(err, &crash) {
			stack = crash.stack
		}
		a.log.ErrorContext(c.UserContext(), "request failed", slog.String("route", r.route), slog.Any("error", err), slog.String("stack", stack))
	case p.Status >= http.StatusInternalServerError:
		a.log.WarnContext(c.UserContext(), "request could not be served", slog.String("route", r.route), slog.Any("error", err))
	}
	writeProblem(c, r, p)
}

// JSON is the body that the request of ctx is answered with, for an answer that is kept to be given again.
func (p Problem) JSON(ctx context.Context) []byte {
	r, ok := ctx.Value(requestKey{}).(*request)
	if !ok {
		r = &request{}
	}
	return p.body(r)
}

func (p Problem) body(r *request) []byte {
	out := problemJSON{
		Type: "/problems/" + p.Name, Title: p.Title.in(r.lang), Status: p.Status, Detail: p.Detail.in(r.lang), RequestID: r.id,
	}
	for _, f := range p.Faults {
		fj := faultJSON{Parameter: f.Parameter, Detail: f.Detail.in(r.lang)}
		if f.Parameter == "" {
			pointer := f.Pointer
			fj.Pointer = &pointer
		}
		out.Errors = append(out.Errors, fj)
	}
	text, err := json.Marshal(out)
	if err != nil { // strings and numbers always marshal
		text = []byte(`{"type":"/problems/internal","title":"","status":500}`)
	}
	return text
}

func writeProblem(c *fiber.Ctx, r *request, p Problem) {
	// What a handler had begun to say is taken back.
	for _, name := range []string{fiber.HeaderETag, fiber.HeaderLocation, fiber.HeaderContentDisposition, fiber.HeaderLastModified} {
		c.Response().Header.Del(name)
	}
	for name, value := range p.header(r) {
		c.Set(name, value)
	}
	c.Vary(fiber.HeaderAcceptLanguage)
	c.Status(p.Status)
	c.Response().SetBodyRaw(p.body(r))
}

// header is what goes with a problem.
func (p Problem) header(r *request) map[string]string {
	header := map[string]string{
		fiber.HeaderCacheControl: "no-store", fiber.HeaderContentLanguage: r.lang.tag(), fiber.HeaderContentType: "application/problem+json",
	}
	if p.challenge != "" {
		header[fiber.HeaderWWWAuthenticate] = p.challenge
	}
	if p.allow != "" {
		header[fiber.HeaderAllow] = p.allow
	}
	if p.RetryAfter > 0 {
		header[fiber.HeaderRetryAfter] = strconv.Itoa(int(math.Ceil(p.RetryAfter.Seconds())))
	}
	return header
}

// ServeHTTP answers with the problem, as an App does: for servers in front of the services, such as a gateway.
func (p Problem) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	r := &request{id: RequestID(req.Header.Get(fiber.HeaderXRequestID)), lang: chooseLanguage(req.Header.Get(fiber.HeaderAcceptLanguage))}
	w.Header().Set(fiber.HeaderXRequestID, r.id)
	w.Header().Set(fiber.HeaderXContentTypeOptions, "nosniff")
	for name, value := range p.header(r) {
		w.Header().Set(name, value)
	}
	w.Header().Add(fiber.HeaderVary, fiber.HeaderAcceptLanguage)
	w.WriteHeader(p.Status)
	_, _ = w.Write(p.body(r)) // the client may be gone
}

// Package web is the HTTP edge that the services share: a Fiber app with problem+json, validation against the
// service's OpenAPI document, authentication by the document's own security declarations, request ids, limits,
// health, metrics and docs.
//
// The OpenAPI document is the allow list: a request reaches a handler only when the document has its path and method,
// the caller may use it, and everything in it is valid. Extensions of the document:
//
//	x-roles: [doctor, admin]      on an operation: who may call it
//	x-token: ignored              on an operation: a token is neither needed nor looked at (sign-in, refresh)
//	x-detail: {pt: ..., en: ...}  on a schema: the words for a failed pattern, oneOf or anyOf
package web

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/valyala/fasthttp"
	"go.opentelemetry.io/otel/trace"

	"github.com/healthmed/healthmed/pkg/auth"
	"github.com/healthmed/healthmed/pkg/telemetry"
)

// Limits of a connection. Fiber has none by default.
const (
	readTimeout  = 5 * time.Second
	writeTimeout = 10 * time.Second
	idleTimeout  = 60 * time.Second
	headerLimit  = 8 << 10 // bytes of request line and headers

	defaultBodyLimit = 64 << 10
	defaultTimeout   = 10 * time.Second
)

// Config of a service's app.
type Config struct {
	Service   string // users, scheduling, notifier
	Spec      []byte // openapi.yaml
	Telemetry *telemetry.Telemetry
	Verifier  *auth.Verifier
	Ready     func(ctx context.Context) error // nil is always ready
	Mappings  []Mapping
	Formats   []Format
	// Rules by method and path as the document writes them ("PUT /v1/doctors/{id}/availability").
	Rules     map[string]Rule
	BodyLimit int // bytes, default 64 KiB
	// TrustedProxies may set X-Forwarded-For (CIDRs or addresses).
	TrustedProxies []string
	// Timeout is the deadline of a handler's context, default 10 s.
	Timeout time.Duration
	// AllowedOrigins are web pages' origins (https://app.example.com) that may read answers (CORS); default none.
	AllowedOrigins []string
	// Pages are served beside the document's operations, by their exact paths.
	Pages map[string]http.Handler
}

// App is a configured Fiber app; register the generated handlers on Fiber.
type App struct {
	Fiber *fiber.App

	operations []*operation
	router     router
	validator  validator
	pages      map[string]page
	mappings   []Mapping
	verifier   *auth.Verifier
	readiness  readiness
	draining   atomic.Bool
	started    atomic.Bool // was ready once
	timeout    time.Duration
	proxies    []netip.Prefix
	origins    []string

	log      *slog.Logger
	tracer   trace.Tracer
	registry *prometheus.Registry
	metrics  *metrics
}

// New builds the app. An operation with `security: [{bearer: []}]` needs a token; `x-roles: [doctor, admin]` on an
// operation limits it to those roles (403 otherwise). Handlers find the caller with auth.FromContext.
func New(cfg Config) (*App, error) {
	if cfg.Service == "" || cfg.Telemetry == nil {
		return nil, errors.New("web: Service and Telemetry are required")
	}
	if cfg.BodyLimit <= 0 {
		cfg.BodyLimit = defaultBodyLimit
	}
	if cfg.Timeout <= 0 {
		cfg.Timeout = defaultTimeout
	}
	formats := formatsWith(cfg.Formats)
	operations, err := loadSpec(cfg.Spec, formats)
	if err != nil {
		return nil, err
	}
	if err := addRules(operations, cfg.Rules); err != nil {
		return nil, err
	}
	proxies, err := parseProxies(cfg.TrustedProxies)
	if err != nil {
		return nil, err
	}
	meters, err := newMetrics(cfg.Service, cfg.Telemetry.Metrics)
	if err != nil {
		return nil, fmt.Errorf("web: metrics: %w", err)
	}
	a := &App{
		operations: operations,
		validator:  newValidator(formats),
		mappings:   cfg.Mappings,
		verifier:   cfg.Verifier,
		readiness:  readiness{check: cfg.Ready},
		timeout:    cfg.Timeout,
		proxies:    proxies,
		origins:    cfg.AllowedOrigins,
		log:        cfg.Telemetry.Log,
		tracer:     cfg.Telemetry.Tracer.Tracer("github.com/healthmed/healthmed/pkg/web"),
		registry:   cfg.Telemetry.Metrics,
		metrics:    meters,
	}
	for _, op := range operations {
		if op.secured && a.verifier == nil {
			return nil, fmt.Errorf("web: %s %s needs a token, and there is no Verifier", op.method, op.route)
		}
		if err := a.router.add(op); err != nil {
			return nil, err
		}
	}
	if a.pages, err = a.allPages(cfg); err != nil {
		return nil, err
	}
	a.Fiber = newFiber(cfg, a.serverError)
	a.Fiber.Use(a.serve)
	a.refuseUnknownMethods()
	return a, nil
}

func newFiber(cfg Config, onError fiber.ErrorHandler) *fiber.App {
	app := fiber.New(fiber.Config{
		AppName:                 cfg.Service,
		DisableStartupMessage:   true,
		Immutable:               true, // strings from Ctx outlive the request in stores and logs
		CaseSensitive:           true,
		StrictRouting:           true,
		BodyLimit:               cfg.BodyLimit,
		ReadBufferSize:          headerLimit,
		ReadTimeout:             readTimeout,
		WriteTimeout:            writeTimeout,
		IdleTimeout:             idleTimeout,
		EnableTrustedProxyCheck: true, // nothing but ClientAddr reads X-Forwarded-For
		ErrorHandler:            onError,
		// Handlers take JSON only; a multipart body must not be parsed, or spooled to disk, before that is known.
		DisablePreParseMultipartForm: true,
	})
	app.Server().CloseOnShutdown = true
	return app
}

// refuseUnknownMethods answers methods that Fiber has no table for, which it would answer without any handler.
func (a *App) refuseUnknownMethods() {
	server, next := a.Fiber.Server(), a.Fiber.Server().Handler
	server.Handler = func(ctx *fasthttp.RequestCtx) {
		switch method := string(ctx.Method()); method {
		case fiber.MethodTrace, fiber.MethodConnect:
		default:
			if knownMethod(method) == method {
				next(ctx)
				return
			}
		}
		c := a.Fiber.AcquireCtx(ctx)
		defer a.Fiber.ReleaseCtx(c)
		a.refuse(c, MethodNotAllowed("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"))
	}
}

// Package api is the HTTP face of the users service: openapi.yaml, the code generated from it, and one file of
// handlers per resource. It holds no rules and no SQL.
package api

import (
	"context"
	_ "embed"
	"log/slog"
	"time"

	"github.com/gofiber/fiber/v2"

	"github.com/healthmed/healthmed/pkg/auth"
	"github.com/healthmed/healthmed/pkg/specialty"
	"github.com/healthmed/healthmed/pkg/telemetry"
	"github.com/healthmed/healthmed/pkg/web"
	"github.com/healthmed/healthmed/services/users/internal/account"
	"github.com/healthmed/healthmed/services/users/internal/identity"
	"github.com/healthmed/healthmed/services/users/internal/identity/local"
	"github.com/healthmed/healthmed/services/users/internal/postgres"
)

//go:generate go run github.com/oapi-codegen/oapi-codegen/v2/cmd/oapi-codegen@v2.8.2 --config oapi-codegen.yaml openapi.yaml

//go:embed openapi.yaml
var spec []byte

// Spec is the OpenAPI document.
func Spec() []byte { return spec }

// Server implements the operations of openapi.yaml.
type Server struct {
	Store    *postgres.Store
	Identity identity.Provider
	Keys     *local.Keys // nil where Amazon Cognito issues the tokens
	Limits   Limits
	Log      *slog.Logger
	Now      func() time.Time
	Erased   func() // called when an erasure is due; must not block
}

// who is the caller as the audit log names them.
func who(ctx context.Context) account.Entry {
	e := account.Entry{Address: web.ClientAddr(ctx), RequestID: telemetry.RequestID(ctx), Outcome: account.OK}
	if caller, ok := auth.FromContext(ctx); ok {
		e.ActorID, e.ActorRole = caller.ID, account.Role(caller.Role)
	}
	return e
}

var _ StrictServerInterface = (*Server)(nil)

// Register puts the operations on the app.
func (s *Server) Register(router fiber.Router) {
	RegisterHandlers(router, NewStrictHandler(s, []StrictMiddlewareFunc{s.standing, noStore}))
}

// noStore keeps personal data out of every cache; what is public may be cached briefly.
func noStore(next StrictHandlerFunc, operation string) StrictHandlerFunc {
	cache := "no-store"
	switch operation {
	case "GetJWKS":
		cache = "public, max-age=60"
	case "ListSpecialties":
		cache = "public, max-age=3600"
	}
	return func(c *fiber.Ctx, request any) (any, error) {
		c.Set(fiber.HeaderCacheControl, cache)
		return next(c, request)
	}
}

// standing looks up whoever's role opens other people's data: an access token lives on for minutes after its account has
// ended or has lost the role. Own data needs no such look, since reading it finds no account.
func (s *Server) standing(next StrictHandlerFunc, operation string) StrictHandlerFunc {
	return func(c *fiber.Ctx, request any) (any, error) {
		ctx := c.UserContext()
		caller, ok := auth.FromContext(ctx)
		if ok && caller.Role != auth.Patient && operation != "GetMe" {
			stands, err := s.Store.Stands(ctx, caller.ID, account.Role(caller.Role))
			if err != nil {
				return nil, err
			}
			if !stands {
				return nil, web.Unauthenticated()
			}
		}
		return next(c, request)
	}
}

// Mappings translate the domain's errors into problems.
func Mappings() []web.Mapping {
	return []web.Mapping{
		{Err: account.ErrNotFound, Problem: web.NotFound()},
		{Err: account.ErrAlreadyRegistered, Problem: web.Problem{
			Name: "already-registered", Status: fiber.StatusConflict,
			Title:  web.Text{PT: "Já cadastrado", EN: "Already registered"},
			Detail: web.Text{PT: "E-mail, CPF ou CRM já pertence a outra conta.", EN: "E-mail, CPF or CRM belongs to another account."},
		}},
		{Err: account.ErrInvalidCredentials, Problem: web.Problem{
			Name: "invalid-credentials", Status: fiber.StatusUnauthorized,
			Title:  web.Text{PT: "Credenciais inválidas", EN: "Invalid credentials"},
			Detail: web.Text{PT: "E-mail ou senha incorretos.", EN: "Wrong e-mail or password."},
		}},
		{Err: account.ErrInvalidToken, Problem: web.Problem{
			Name: "unauthenticated", Status: fiber.StatusUnauthorized,
			Title:  web.Unauthenticated().Title,
			Detail: web.Text{PT: "O token não vale ou não vale mais.", EN: "The token is not valid, or no longer."},
		}},
		{Err: account.ErrPassword, Problem: web.Validation(web.Fault{Pointer: "/password", Detail: web.Text{
			PT: "A senha não atende à política de senhas.", EN: "The password does not meet the password policy.",
		}})},
		{Err: account.ErrStale, Problem: web.PreconditionFailed()},
		{Err: account.ErrInvalidTransition, Problem: web.Problem{
			Name: "invalid-transition", Status: fiber.StatusConflict,
			Title:  web.Text{PT: "Mudança impossível", EN: "Impossible transition"},
			Detail: web.Text{PT: "A decisão não cabe na situação atual.", EN: "The decision does not fit the present status."},
		}},
		{Err: identity.ErrEmailNotVerified, Problem: web.Problem{
			Name: "email-not-verified", Status: fiber.StatusForbidden,
			Title:  web.Text{PT: "E-mail não confirmado", EN: "E-mail not confirmed"},
			Detail: web.Text{PT: "Confirme o e-mail com o código que foi enviado.", EN: "Confirm the e-mail with the code that was sent."},
		}},
		{Err: identity.ErrEmailNeeded, Problem: web.Validation(web.Fault{Pointer: "/email", Detail: web.Text{
			PT: "O e-mail é necessário junto com o código.", EN: "The e-mail is needed beside the code.",
		}})},
	}
}

// Formats check what a JSON schema cannot say.
func Formats(now func() time.Time) []web.Format {
	format := func(check func(string) error, name, pt, en string) web.Format {
		return web.Format{Name: name, Check: check, Detail: web.Text{PT: pt, EN: en}}
	}
	return []web.Format{
		format(func(s string) error { _, err := account.ParseCPF(s); return err }, "cpf",
			"CPF inválido: onze dígitos, com dígitos verificadores corretos.", "Not a CPF: eleven digits with right check digits."),
		format(func(s string) error { _, err := account.ParseEmail(s); return err }, "account-email",
			"E-mail inválido.", "Not an e-mail address."),
		format(account.CheckPassword, "new-password",
			"A senha precisa de 8 ou mais caracteres, com letra minúscula, letra maiúscula, dígito e símbolo.",
			"A password needs 8 or more characters with a lower-case letter, an upper-case letter, a digit and a symbol."),
		format(func(s string) error { _, err := account.ParseName(s); return err }, "person-name",
			"Nome inválido: de 2 a 120 letras.", "Not a name: 2 to 120 letters."),
		format(func(s string) error { _, err := account.ParsePhone(s); return err }, "phone",
			"Telefone inválido: com DDD, ou internacional com +.", "Not a telephone number: with area code, or international with +."),
		format(func(s string) error { _, err := optionalPhone(s); return err }, "optional-phone",
			"Telefone inválido: com DDD, ou internacional com +.", "Not a telephone number: with area code, or international with +."),
		format(func(s string) error { _, err := account.NewCRM(s, "SP"); return err }, "crm-number",
			"Número de CRM inválido: de 1 a 10 dígitos.", "Not a CRM number: 1 to 10 digits."),
		format(func(s string) error { _, err := account.ParseCRM(s); return err }, "crm",
			"CRM inválido: número, com ou sem UF.", "Not a CRM: number, with or without state."),
		format(specialty.Check, "specialty",
			"Especialidade desconhecida: veja /v1/specialties.", "Unknown specialty: see /v1/specialties."),
		format(func(s string) error { return checkBirthDate(s, now()) }, "birth-date",
			"Data de nascimento inválida: AAAA-MM-DD, até hoje.", "Not a date of birth: YYYY-MM-DD, today at the latest."),
	}
}

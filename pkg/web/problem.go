package web

import (
	"net/http"
	"time"
)

// Text is a sentence in the languages that readers choose by Accept-Language; pt-BR is the default.
type Text struct{ PT, EN string }

// Fault is one thing wrong with a request. Pointer (RFC 6901, body) or Parameter (query, path, header) says where.
type Fault struct {
	Pointer   string
	Parameter string
	Detail    Text
}

// Problem is an RFC 9457 problem; it is an error that handlers and mappings return.
type Problem struct {
	Name       string // type is /problems/<Name>
	Status     int
	Title      Text
	Detail     Text
	RetryAfter time.Duration
	Faults     []Fault

	// challenge is the WWW-Authenticate value of a 401 (RFC 6750, section 3).
	challenge string
	// allow is the Allow value of a 405.
	allow string
}

// Error implements error.
func (p Problem) Error() string { return p.Name }

// maxFaults bounds an answer: a body full of faults is told about the first ones only.
const maxFaults = 50

// Validation is 422 validation with the faults.
func Validation(faults ...Fault) Problem {
	if len(faults) > maxFaults {
		faults = faults[:maxFaults]
	}
	return Problem{
		Name:   "validation",
		Status: http.StatusUnprocessableEntity,
		Title:  Text{"Dados inválidos", "Invalid data"},
		Detail: Text{"Corrija o que está listado em errors e envie de novo.", "Mend what is listed in errors and send it again."},
		Faults: faults,
	}
}

// Unauthenticated is 401: there is no token, or it is not valid.
func Unauthenticated() Problem {
	return Problem{
		Name:      "unauthenticated",
		Status:    http.StatusUnauthorized,
		Title:     Text{"Não autenticado", "Not authenticated"},
		Detail:    Text{"Envie um token de acesso válido no cabeçalho Authorization.", "Send a valid access token in the Authorization header."},
		challenge: challengeMissing,
	}
}

// Forbidden is 403: the caller's role may not do this.
func Forbidden() Problem {
	return Problem{
		Name:   "forbidden",
		Status: http.StatusForbidden,
		Title:  Text{"Não permitido", "Forbidden"},
		Detail: Text{"Seu perfil não tem permissão para isto.", "Your role may not do this."},
	}
}

// NotFound is 404: there is no such thing, or it isn't the caller's.
func NotFound() Problem {
	return Problem{
		Name:   "not-found",
		Status: http.StatusNotFound,
		Title:  Text{"Não encontrado", "Not found"},
		Detail: Text{"Não há nada neste endereço que você possa ver.", "There is nothing here that you may see."},
	}
}

// PreconditionFailed is 412: If-Match names a version that isn't the current one.
func PreconditionFailed() Problem {
	return Problem{
		Name:   "precondition-failed",
		Status: http.StatusPreconditionFailed,
		Title:  Text{"Versão desatualizada", "Stale version"},
		Detail: Text{"O recurso mudou desde que você o leu. Leia-o de novo e repita.", "The resource has changed since you read it. Read it again and repeat."},
	}
}

// RateLimited is 429: the caller may try again after that time.
func RateLimited(after time.Duration) Problem {
	return Problem{
		Name:       "rate-limited",
		Status:     http.StatusTooManyRequests,
		Title:      Text{"Tentativas demais", "Too many requests"},
		Detail:     Text{"Espere o tempo indicado em Retry-After e tente de novo.", "Wait as long as Retry-After says and try again."},
		RetryAfter: after,
	}
}

// Unavailable is 503: something that we depend on is down; the caller may try again after that time.
func Unavailable(after time.Duration) Problem {
	return Problem{
		Name:       "unavailable",
		Status:     http.StatusServiceUnavailable,
		Title:      Text{"Temporariamente indisponível", "Temporarily unavailable"},
		Detail:     Text{"Não foi possível atender agora. Nada se perdeu; tente de novo em instantes.", "This cannot be served right now. Nothing is lost; try again shortly."},
		RetryAfter: after,
	}
}

// internal is 500: it says nothing of the inside.
func internal() Problem {
	return Problem{
		Name:   "internal",
		Status: http.StatusInternalServerError,
		Title:  Text{"Erro interno", "Internal error"},
		Detail: Text{"Algo falhou do nosso lado. Se persistir, informe o request_id.", "Something failed on our side. If it persists, report the request_id."},
	}
}

// malformedJSON is 400 with the reason why the body is no JSON that we accept.
func malformedJSON(detail Text) Problem {
	return Problem{
		Name:   "malformed-json",
		Status: http.StatusBadRequest,
		Title:  Text{"JSON malformado", "Malformed JSON"},
		Detail: detail,
	}
}

func badRequest() Problem {
	return Problem{
		Name:   "bad-request",
		Status: http.StatusBadRequest,
		Title:  Text{"Requisição malformada", "Bad request"},
		Detail: Text{"A requisição não pôde ser entendida.", "The request could not be understood."},
	}
}

// MethodNotAllowed is 405: the address takes the methods in allow, such as "GET, HEAD".
func MethodNotAllowed(allow string) Problem {
	return Problem{
		Name:   "method-not-allowed",
		Status: http.StatusMethodNotAllowed,
		Title:  Text{"Método não permitido", "Method not allowed"},
		Detail: Text{"Este endereço não aceita este método; veja Allow.", "This address doesn't take this method; see Allow."},
		allow:  allow,
	}
}

func requestTimeout() Problem {
	return Problem{
		Name:   "request-timeout",
		Status: http.StatusRequestTimeout,
		Title:  Text{"Tempo esgotado", "Request time-out"},
		Detail: Text{"A requisição não chegou inteira a tempo.", "The request did not arrive whole in time."},
	}
}

func tooLarge() Problem {
	return Problem{
		Name:   "too-large",
		Status: http.StatusRequestEntityTooLarge,
		Title:  Text{"Corpo grande demais", "Body too large"},
		Detail: Text{"O corpo da requisição passa do limite.", "The request's body is over the limit."},
	}
}

func unsupportedMediaType() Problem {
	return Problem{
		Name:   "unsupported-media-type",
		Status: http.StatusUnsupportedMediaType,
		Title:  Text{"Tipo de conteúdo não suportado", "Unsupported media type"},
		Detail: Text{"Envie o corpo como application/json, em UTF-8 e sem compressão.", "Send the body as application/json, in UTF-8 and not compressed."},
	}
}

func headersTooLarge() Problem {
	return Problem{
		Name:   "headers-too-large",
		Status: http.StatusRequestHeaderFieldsTooLarge,
		Title:  Text{"Cabeçalhos grandes demais", "Headers too large"},
		Detail: Text{"Os cabeçalhos da requisição passam do limite.", "The request's headers are over the limit."},
	}
}

// standardProblems are those of every service; each has a page.
func standardProblems() []Problem {
	return []Problem{
		Validation(), Unauthenticated(), Forbidden(), NotFound(), PreconditionFailed(), RateLimited(0), Unavailable(0),
		internal(), malformedJSON(Text{"O corpo não é JSON válido.", "The body is not valid JSON."}), badRequest(),
		MethodNotAllowed(""), requestTimeout(), tooLarge(), unsupportedMediaType(), headersTooLarge(),
	}
}

package web

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"
)

var (
	textRequired   = Text{"é obrigatório", "is required"}
	textUnknown    = Text{"não é conhecido", "is not known"}
	textCharacters = Text{"contém caracteres não permitidos", "contains characters that are not allowed"}
	textInvalid    = Text{"não é válido", "is not valid"}
)

// appendFaults turns what the schema validator found into faults, in the words of this package: the validator's own
// texts hold schemas and values. For a parameter the pointer is left out.
func appendFaults(faults []Fault, err error, parameter string) []Fault {
	var many openapi3.MultiError
	var one *openapi3.SchemaError
	switch {
	case len(faults) >= maxFaults:
		return faults
	case asMulti(err, &many):
		for _, e := range many {
			faults = appendFaults(faults, e, parameter)
		}
		return faults
	case errors.As(err, &one):
		if one.SchemaField == "allOf" && one.Origin != nil && asMulti(errors.Unwrap(one.Origin), &many) {
			return appendFaults(faults, many, parameter)
		}
		f := Fault{Parameter: parameter, Detail: describe(one)}
		if parameter == "" {
			f.Pointer = pointer(one)
		}
		return append(faults, f)
	default:
		return append(faults, Fault{Parameter: parameter, Detail: textInvalid})
	}
}

// asMulti finds a list of errors at the top of err or, for allOf, one step below.
func asMulti(err error, target *openapi3.MultiError) bool {
	if many, ok := err.(openapi3.MultiError); ok { //nolint:errorlint // openapi3.MultiError.As looks for its members' types, not its own
		*target = many
		return true
	}
	if _, single := err.(*openapi3.SchemaError); single || err == nil { //nolint:errorlint // only what wraps nothing of its own is unwrapped
		return false
	}
	if inner, ok := errors.Unwrap(err).(openapi3.MultiError); ok { //nolint:errorlint // see above
		*target = inner
		return true
	}
	return false
}

// pointer is the RFC 6901 pointer of the faulty value. Names that the caller made up are told only when they look like
// a field's name, so that no value comes back by way of a name.
func pointer(e *openapi3.SchemaError) string {
	var b strings.Builder
	for _, token := range e.JSONPointer() {
		b.WriteByte('/')
		b.WriteString(escapeToken(token))
	}
	if e.SchemaField == "properties" {
		if name := unknownProperty(e.Reason); isFieldName(name) {
			b.WriteByte('/')
			b.WriteString(escapeToken(name))
		}
	}
	return b.String()
}

func escapeToken(token string) string {
	return strings.ReplaceAll(strings.ReplaceAll(token, "~", "~0"), "/", "~1")
}

// unknownProperty reads the name out of `property "x" is unsupported`, the only place where the validator tells it.
func unknownProperty(reason string) string {
	quoted, ok := strings.CutPrefix(reason, "property ")
	if !ok {
		return ""
	}
	quoted, ok = strings.CutSuffix(quoted, " is unsupported")
	if !ok {
		return ""
	}
	name, err := strconv.Unquote(quoted)
	if err != nil {
		return ""
	}
	return name
}

// isFieldName tells a likely field or parameter name from anything else that a caller may send in its place.
func isFieldName(name string) bool {
	if name == "" || len(name) > 40 || name[0] >= '0' && name[0] <= '9' {
		return false
	}
	return !strings.ContainsFunc(name, func(r rune) bool {
		return r != '_' && r != '-' && (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z')
	})
}

// describe says what is wrong, from the schema alone.
func describe(e *openapi3.SchemaError) Text {
	s := e.Schema
	switch e.SchemaField {
	case "required":
		return textRequired
	case "properties":
		return textUnknown
	case "type":
		return typeText(s)
	case "nullable":
		return Text{"não pode ser nulo", "must not be null"}
	case "enum":
		return enumText(s.Enum)
	case "format":
		return formatText(e)
	case "pattern":
		return detailExtension(s, Text{"não tem a forma esperada", "does not have the expected form"})
	case "readOnly":
		return Text{"não pode ser enviado", "must not be sent"}
	case "uniqueItems":
		return Text{"não pode repetir itens", "must not repeat items"}
	case "oneOf", "anyOf", "not", "discriminator":
		return detailExtension(s, Text{"não corresponde a nenhuma das formas documentadas", "matches none of the documented forms"})
	default:
		return boundText(e.SchemaField, s)
	}
}

func typeText(s *openapi3.Schema) Text {
	names := map[string]Text{
		"string":  {"deve ser um texto", "must be a string"},
		"integer": {"deve ser um número inteiro", "must be an integer"},
		"number":  {"deve ser um número", "must be a number"},
		"boolean": {"deve ser true ou false", "must be true or false"},
		"array":   {"deve ser uma lista", "must be a list"},
		"object":  {"deve ser um objeto", "must be an object"},
	}
	if types := s.Type.Slice(); len(types) > 0 {
		return names[types[0]]
	}
	return textInvalid
}

func enumText(values []any) Text {
	allowed := make([]string, 0, len(values))
	for _, v := range values {
		allowed = append(allowed, fmt.Sprint(v))
	}
	list := strings.Join(allowed, ", ")
	return Text{"deve ser um destes: " + list, "must be one of: " + list}
}

// formatText is the format's own text; the built-in number formats are ranges.
func formatText(e *openapi3.SchemaError) Text {
	var own formatError
	if errors.As(e.Origin, &own) {
		return own.detail
	}
	return Text{"está fora da faixa permitida", "is out of range"}
}

// detailExtension is the schema's own wording, from its extension x-detail: {pt: ..., en: ...}.
func detailExtension(s *openapi3.Schema, otherwise Text) Text {
	m, ok := s.Extensions["x-detail"].(map[string]any)
	if !ok {
		return otherwise
	}
	pt, _ := m["pt"].(string)
	en, _ := m["en"].(string)
	return Text{pt, en}
}

// boundText says the bound that a value is outside of.
func boundText(field string, s *openapi3.Schema) Text {
	number := func(f *float64) string {
		if f == nil {
			return ""
		}
		return strconv.FormatFloat(*f, 'f', -1, 64)
	}
	count := func(n *uint64) string {
		if n == nil {
			return ""
		}
		return strconv.FormatUint(*n, 10)
	}
	var format Text
	var bound string
	switch field {
	case "minLength":
		if s.MinLength == 1 {
			return Text{"não pode ficar vazio", "must not be empty"}
		}
		format, bound = Text{"deve ter pelo menos %s caracteres", "must have at least %s characters"}, count(&s.MinLength)
	case "maxLength":
		format, bound = Text{"deve ter no máximo %s caracteres", "must have at most %s characters"}, count(s.MaxLength)
	case "minimum":
		format, bound = Text{"deve ser no mínimo %s", "must be at least %s"}, number(s.Min)
	case "maximum":
		format, bound = Text{"deve ser no máximo %s", "must be at most %s"}, number(s.Max)
	case "exclusiveMinimum":
		format, bound = Text{"deve ser maior que %s", "must be more than %s"}, number(s.Min)
	case "exclusiveMaximum":
		format, bound = Text{"deve ser menor que %s", "must be less than %s"}, number(s.Max)
	case "multipleOf":
		format, bound = Text{"deve ser múltiplo de %s", "must be a multiple of %s"}, number(s.MultipleOf)
	case "minItems":
		format, bound = Text{"deve ter pelo menos %s itens", "must have at least %s items"}, count(&s.MinItems)
	case "maxItems":
		format, bound = Text{"deve ter no máximo %s itens", "must have at most %s items"}, count(s.MaxItems)
	case "minProperties":
		format, bound = Text{"deve ter pelo menos %s campos", "must have at least %s fields"}, count(&s.MinProps)
	case "maxProperties":
		format, bound = Text{"deve ter no máximo %s campos", "must have at most %s fields"}, count(s.MaxProps)
	}
	if bound == "" {
		return textInvalid
	}
	return Text{fmt.Sprintf(format.PT, bound), fmt.Sprintf(format.EN, bound)}
}

package web

import (
	"math"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/getkin/kin-openapi/openapi3"
)

// parameter of a path, the query or a header.
type parameter struct {
	name, in string
	required bool
	explode  bool // a list is sent as repeated names, not separated by commas
	schema   *openapi3.Schema
}

// parameter prepares p. Scalars and lists of scalars are supported, in the default styles.
func (l *loader) parameter(p *openapi3.Parameter) *parameter {
	if p.In == openapi3.ParameterInHeader {
		switch strings.ToLower(p.Name) {
		case "accept", "content-type", "authorization":
			return nil // OpenAPI 3.0.3: such a definition shall be ignored
		}
	}
	if p.In == openapi3.ParameterInCookie || p.Schema == nil {
		l.fault("parameter %s: cookies and content parameters are not supported", p.Name)
		return nil
	}
	sm, err := p.SerializationMethod()
	style := openapi3.SerializationSimple
	if p.In == openapi3.ParameterInQuery {
		style = openapi3.SerializationForm
	}
	if err != nil || sm.Style != style {
		l.fault("parameter %s: only the default style is supported", p.Name)
		return nil
	}
	scalar := p.Schema.Value
	if scalar.Type.Is("array") && scalar.Items != nil {
		scalar = scalar.Items.Value
	}
	switch {
	case scalar.Type.Is("string"), scalar.Type.Is("integer"), scalar.Type.Is("number"), scalar.Type.Is("boolean"):
	default:
		l.fault("parameter %s: only scalars and lists of scalars are supported", p.Name)
	}
	l.schema(p.Schema, true)
	return &parameter{
		name: p.Name, in: p.In, required: p.Required, schema: p.Schema.Value,
		explode: p.In == openapi3.ParameterInQuery && sm.Explode,
	}
}

// check validates the values that were sent (none: absent) and appends the faults found.
func (p *parameter) check(sent []string, opts []openapi3.SchemaValidationOption, faults []Fault) []Fault {
	fault := func(detail Text) []Fault { return append(faults, Fault{Parameter: p.name, Detail: detail}) }
	if len(sent) == 0 {
		if p.required {
			return fault(textRequired)
		}
		return faults
	}
	for _, s := range sent {
		if !utf8.ValidString(s) || strings.ContainsRune(s, 0) {
			return fault(textCharacters)
		}
	}
	if !p.schema.Type.Is("array") {
		if len(sent) > 1 {
			return fault(Text{"foi enviado mais de uma vez", "was sent more than once"})
		}
		return p.visit(scalar(sent[0], p.schema), opts, faults)
	}
	if !p.explode {
		sent = strings.Split(strings.Join(sent, ","), ",")
	}
	list := make([]any, len(sent))
	for i, s := range sent {
		list[i] = scalar(s, p.schema.Items.Value)
	}
	return p.visit(list, opts, faults)
}

func (p *parameter) visit(value any, opts []openapi3.SchemaValidationOption, faults []Fault) []Fault {
	if err := p.schema.VisitJSON(value, opts...); err != nil {
		return appendFaults(faults, err, p.name)
	}
	return faults
}

// scalar converts a text to the schema's type; one that doesn't convert stays a text, which the schema then refuses.
func scalar(s string, schema *openapi3.Schema) any {
	switch {
	case schema.Type.Is("integer"):
		if n, err := strconv.ParseInt(s, 10, 64); err == nil {
			return float64(n)
		}
	case schema.Type.Is("number"):
		if f, err := strconv.ParseFloat(s, 64); err == nil && !math.IsNaN(f) && !math.IsInf(f, 0) {
			return f
		}
	case schema.Type.Is("boolean"):
		switch s {
		case "true":
			return true
		case "false":
			return false
		}
	}
	return s
}

package web

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"

	"github.com/healthmed/healthmed/pkg/auth"
)

// operation is one method of one path of the OpenAPI document, ready to be matched, authorised and validated.
type operation struct {
	method, route string // GET, /v1/doctors/{id}

	pathParams []*parameter // in the template's order
	query      []*parameter
	headers    []*parameter
	body       *body // nil: takes none
	rule       Rule  // nil: the schema says all

	secured     bool        // needs a token
	ignoreToken bool        // x-token: ignored
	roles       []auth.Role // may call it; empty: any role
}

type body struct {
	required bool
	schema   *openapi3.Schema
}

// loadSpec reads the document and prepares its operations. A document that this package could not enforce in full is an
// error: an unchecked format or an unknown security scheme must not pass in silence.
func loadSpec(spec []byte, formats map[string]formatCheck) ([]*operation, error) {
	doc, err := openapi3.NewLoader().LoadFromData(spec)
	if err != nil {
		return nil, fmt.Errorf("web: OpenAPI document: %w", err)
	}
	if err := doc.Validate(context.Background()); err != nil {
		return nil, fmt.Errorf("web: OpenAPI document: %w", err)
	}
	if doc.IsOpenAPI31OrLater() {
		return nil, errors.New("web: OpenAPI document: write 3.0.3; under 3.1 all faults of a body collapse into one text")
	}
	var ops []*operation
	var faults []error
	for _, path := range doc.Paths.InMatchingOrder() {
		item := doc.Paths.Find(path)
		for method, op := range item.Operations() {
			l := loader{doc: doc, formats: formats, seen: make(map[*openapi3.Schema]bool)}
			ops = append(ops, l.operation(method, path, item, op))
			for _, fault := range l.faults {
				faults = append(faults, fmt.Errorf("web: OpenAPI document: %s %s: %w", method, path, fault))
			}
		}
	}
	slices.SortFunc(ops, func(a, b *operation) int {
		return strings.Compare(a.route+" "+a.method, b.route+" "+b.method)
	})
	return ops, errors.Join(faults...)
}

// loader prepares one operation and collects what is wrong with it.
type loader struct {
	doc     *openapi3.T
	formats map[string]formatCheck
	seen    map[*openapi3.Schema]bool
	faults  []error
}

func (l *loader) fault(format string, args ...any) {
	l.faults = append(l.faults, fmt.Errorf(format, args...))
}

func (l *loader) operation(method, path string, item *openapi3.PathItem, op *openapi3.Operation) *operation {
	o := &operation{method: method, route: path}
	l.security(o, op)

	byPlace := make(map[string]*parameter)
	for _, refs := range []openapi3.Parameters{item.Parameters, op.Parameters} {
		for _, ref := range refs {
			if p := l.parameter(ref.Value); p != nil {
				byPlace[p.in+" "+p.name] = p // the operation's own overrides the path's
			}
		}
	}
	for segment := range strings.SplitSeq(path, "/") {
		_, after, ok := strings.Cut(segment, "{")
		if !ok {
			continue
		}
		name, _, _ := strings.Cut(after, "}")
		o.pathParams = append(o.pathParams, byPlace["path "+name])
	}
	for _, p := range byPlace {
		switch p.in {
		case openapi3.ParameterInQuery:
			o.query = append(o.query, p)
		case openapi3.ParameterInHeader:
			o.headers = append(o.headers, p)
		}
	}
	byName := func(a, b *parameter) int { return strings.Compare(a.name, b.name) }
	slices.SortFunc(o.query, byName)
	slices.SortFunc(o.headers, byName)

	if op.RequestBody != nil {
		l.body(o, op.RequestBody.Value)
	}
	return o
}

func (l *loader) body(o *operation, request *openapi3.RequestBody) {
	media := request.Content["application/json"]
	if media == nil || media.Schema == nil || len(request.Content) != 1 {
		l.fault("the body must be application/json, with a schema, and nothing else")
		return
	}
	l.schema(media.Schema, true)
	o.body = &body{required: request.Required, schema: media.Schema.Value}
}

// security reads the security requirements, x-roles and x-token of an operation.
func (l *loader) security(o *operation, op *openapi3.Operation) {
	requirements := op.Security
	if requirements == nil {
		requirements = &l.doc.Security
	}
	o.secured = len(*requirements) > 0
	for _, alternative := range *requirements {
		if len(alternative) == 0 {
			o.secured = false
		}
		for name := range alternative {
			if !l.isBearer(name) {
				l.fault("security scheme %s is not http bearer", name)
			}
		}
	}
	switch v := op.Extensions["x-token"]; v {
	case nil:
	case "ignored":
		o.ignoreToken = true
	default:
		l.fault("x-token may be: ignored")
	}
	roles, present := op.Extensions["x-roles"]
	if !present {
		return
	}
	list, ok := roles.([]any)
	if !ok || len(list) == 0 {
		l.fault("x-roles must be a list")
	}
	for _, v := range list {
		switch role := auth.Role(fmt.Sprint(v)); role {
		case auth.Patient, auth.Doctor, auth.Admin:
			o.roles = append(o.roles, role)
		default:
			l.fault("x-roles has %v", v)
		}
	}
	if !o.secured || o.ignoreToken {
		l.fault("x-roles without security")
	}
}

func (l *loader) isBearer(scheme string) bool {
	if l.doc.Components == nil {
		return false
	}
	ref := l.doc.Components.SecuritySchemes[scheme]
	return ref != nil && ref.Value.Type == "http" && strings.EqualFold(ref.Value.Scheme, "bearer")
}

// schema walks what a request is checked against. It reports formats that nothing checks, and closes objects: a
// property that the document doesn't name is refused unless the document says additionalProperties itself. Members of
// allOf, oneOf and anyOf stay open, as each sees the whole object.
func (l *loader) schema(ref *openapi3.SchemaRef, closed bool) {
	if ref == nil || ref.Value == nil || l.seen[ref.Value] {
		return
	}
	s := ref.Value
	l.seen[s] = true
	if s.Type.Is("string") && s.Format != "" && s.Format != "password" && s.Format != "binary" {
		if _, ok := l.formats[s.Format]; !ok {
			l.fault("nothing checks the format %q; add it to web.Config.Formats", s.Format)
		}
	}
	composed := len(s.AllOf)+len(s.OneOf)+len(s.AnyOf) > 0
	if closed && !composed && len(s.Properties) > 0 && s.AdditionalProperties.Has == nil && s.AdditionalProperties.Schema == nil {
		no := false
		s.AdditionalProperties.Has = &no
	}
	for _, members := range []openapi3.SchemaRefs{s.AllOf, s.OneOf, s.AnyOf} {
		for _, member := range members {
			l.schema(member, false)
		}
	}
	for _, property := range s.Properties {
		l.schema(property, true)
	}
	l.schema(s.Items, true)
	l.schema(s.Not, false)
	l.schema(s.AdditionalProperties.Schema, true)
}

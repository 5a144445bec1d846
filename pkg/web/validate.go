package web

import (
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/gofiber/fiber/v2"
)

// validator checks requests against their operation. It works on Fiber's request directly: the ready-made filter of
// kin-openapi would need a net/http request and a second decoding of everything.
type validator struct {
	opts []openapi3.SchemaValidationOption
}

func newValidator(formats map[string]formatCheck) validator {
	return validator{opts: []openapi3.SchemaValidationOption{
		openapi3.VisitAsRequest(),
		openapi3.MultiErrors(),
		openapi3.WithStringFormatValidators(validators(formats)),
	}}
}

// check returns nil or a Problem: 400 and 415 for a body that cannot be read, else 422 with all faults.
func (v validator) check(c *fiber.Ctx, op *operation, pathValues []string) error {
	var faults []Fault
	for i, p := range op.pathParams {
		value, err := url.PathUnescape(pathValues[i])
		if err != nil {
			return NotFound()
		}
		faults = p.check([]string{value}, v.opts, faults)
	}
	faults, err := v.query(c, op, faults)
	if err != nil {
		return err
	}
	for _, p := range op.headers {
		var sent []string
		for _, value := range c.Request().Header.PeekAll(p.name) {
			sent = append(sent, string(value))
		}
		faults = p.check(sent, v.opts, faults)
	}
	faults, err = v.body(c, op, faults)
	if err != nil {
		return err
	}
	if len(faults) == 0 {
		return nil
	}
	if op.rule != nil {
		faults = withRule(faults, op.rule, c.Request().Body())
	}
	return Validation(faults...)
}

func (v validator) query(c *fiber.Ctx, op *operation, faults []Fault) ([]Fault, error) {
	raw := c.Request().URI().QueryString()
	if len(raw) == 0 && len(op.query) == 0 {
		return faults, nil
	}
	values, err := url.ParseQuery(string(raw))
	if err != nil {
		return nil, badRequest()
	}
	known := 0
	for _, p := range op.query {
		sent, ok := values[p.name]
		if ok {
			known++
		}
		faults = p.check(sent, v.opts, faults)
	}
	if known == len(values) {
		return faults, nil
	}
	var unknown []string
	for name := range values {
		if !slices.ContainsFunc(op.query, func(p *parameter) bool { return p.name == name }) {
			if !isFieldName(name) {
				name = "query"
			}
			unknown = append(unknown, name)
		}
	}
	slices.Sort(unknown)
	for _, name := range slices.Compact(unknown) {
		faults = append(faults, Fault{Parameter: name, Detail: textUnknown})
	}
	return faults, nil
}

func (v validator) body(c *fiber.Ctx, op *operation, faults []Fault) ([]Fault, error) {
	// Fiber would inflate a compressed body when the handler reads it, past every limit.
	if encoding := c.Request().Header.ContentEncoding(); len(encoding) > 0 && !strings.EqualFold(string(encoding), "identity") {
		return nil, unsupportedMediaType()
	}
	raw := c.Request().Body()
	if op.body == nil {
		if text := strings.TrimSpace(string(raw)); text != "" && text != "{}" {
			faults = append(faults, Fault{Detail: Text{"esta operação não recebe corpo", "this operation takes no body"}})
		}
		return faults, nil
	}
	if len(raw) == 0 {
		if op.body.required {
			faults = append(faults, Fault{Detail: textRequired})
		}
		return faults, nil
	}
	if !isJSON(string(c.Request().Header.ContentType())) {
		return nil, unsupportedMediaType()
	}
	text := string(raw)
	value, err := parseJSON(text)
	if err != nil {
		return nil, err
	}
	if strings.Contains(text, `\u0000`) {
		faults = appendNULFaults(faults, value, "")
	}
	if err := op.body.schema.VisitJSON(value, v.opts...); err != nil {
		faults = appendFaults(faults, err, "")
	}
	return faults, nil
}

// isJSON accepts application/json, with charset=utf-8 or without (RFC 8259 knows no other).
func isJSON(contentType string) bool {
	media, params, _ := strings.Cut(contentType, ";")
	if !strings.EqualFold(strings.TrimSpace(media), "application/json") {
		return false
	}
	for param := range strings.SplitSeq(params, ";") {
		name, value, _ := strings.Cut(strings.TrimSpace(param), "=")
		if strings.EqualFold(name, "charset") && !strings.EqualFold(strings.Trim(value, `"`), "utf-8") {
			return false
		}
	}
	return true
}

// appendNULFaults finds strings with U+0000, which JSON can carry and PostgreSQL can't.
func appendNULFaults(faults []Fault, value any, at string) []Fault {
	switch value := value.(type) {
	case string:
		if strings.ContainsRune(value, 0) && len(faults) < maxFaults {
			faults = append(faults, Fault{Pointer: at, Detail: textCharacters})
		}
	case []any:
		for i, v := range value {
			faults = appendNULFaults(faults, v, at+"/"+strconv.Itoa(i))
		}
	case map[string]any:
		for name, v := range value {
			inner := at
			if isFieldName(name) {
				inner += "/" + name
			}
			faults = appendNULFaults(faults, v, inner)
		}
	}
	return faults
}

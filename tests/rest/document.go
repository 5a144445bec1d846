// Package rest holds the running services against their OpenAPI documents: requests are made from the document, valid
// ones and ones that break each constraint in turn, by every kind of caller; and each answer is checked against it.
package rest

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/getkin/kin-openapi/openapi3"

	"github.com/healthmed/healthmed/tests/system"
)

var services = [...]string{"users", "scheduling", "notifier"}

// document is where a service's OpenAPI document is.
func document(service string) string {
	return filepath.Join("..", "..", "services", service, "internal", "api", "openapi.yaml")
}

// operation is one documented method of a path.
type operation struct {
	service, method, path string
	*openapi3.Operation
	params openapi3.Parameters // the path's and its own
	roles  []string            // who may call it; nil is anyone who signed in, or anyone
	open   bool                // needs no token
}

// load reads a service's operations, sorted.
func load(ctx context.Context, service string) (list []operation, paths map[string][]string, err error) {
	doc, err := openapi3.NewLoader().LoadFromFile(document(service))
	if err != nil {
		return nil, nil, err
	}
	if err := doc.Validate(ctx); err != nil {
		return nil, nil, fmt.Errorf("%s: %w", service, err)
	}
	paths = map[string][]string{}
	for path, item := range doc.Paths.Map() {
		for method, op := range item.Operations() {
			o := operation{service: service, method: method, path: path, Operation: op, open: op.Security == nil || len(*op.Security) == 0}
			o.params = append(slices.Clone(item.Parameters), op.Parameters...)
			if listed, ok := op.Extensions["x-roles"].([]any); ok {
				for _, role := range listed {
					o.roles = append(o.roles, fmt.Sprint(role))
				}
			}
			list = append(list, o)
			paths[path] = append(paths[path], method)
		}
	}
	slices.SortFunc(list, func(a, b operation) int { return strings.Compare(a.path+a.method, b.path+b.method) })
	return list, paths, nil
}

// body is the schema of a JSON request body, nil if there is none.
func (o operation) body() *openapi3.Schema {
	if o.RequestBody == nil {
		return nil
	}
	media := o.RequestBody.Value.Content.Get("application/json")
	if media == nil {
		return nil
	}
	return media.Schema.Value
}

// judge says how an answer differs from what the document promises.
func (o operation) judge(a system.Answer) error {
	if a.Status >= 500 {
		return fmt.Errorf("status %d: %s", a.Status, a.Body)
	}
	response := o.Responses.Status(a.Status)
	if response == nil && a.Status >= 400 {
		response = o.Responses.Default()
	}
	if response == nil {
		return fmt.Errorf("status %d is not documented", a.Status)
	}
	var faults []error
	for name, header := range response.Value.Headers {
		if header.Value.Required && a.Header.Get(name) == "" {
			faults = append(faults, fmt.Errorf("header %s is missing", name))
		}
	}
	if a.Header.Get("X-Request-Id") == "" {
		faults = append(faults, errors.New("header X-Request-Id is missing"))
	}
	if a.Status == http.StatusCreated && a.Header.Get("Location") == "" && response.Value.Headers["Location"] != nil {
		faults = append(faults, errors.New("header Location is missing"))
	}
	return errors.Join(append(faults, judgeBody(response.Value.Content, a))...)
}

func judgeBody(content openapi3.Content, a system.Answer) error {
	kind, _, _ := strings.Cut(a.Header.Get("Content-Type"), ";")
	if len(content) == 0 {
		if len(a.Body) > 0 {
			return fmt.Errorf("status %d has a body, %.100s, and none is documented", a.Status, a.Body)
		}
		return nil
	}
	media := content.Get(kind)
	if media == nil {
		return fmt.Errorf("status %d has media type %q, which is not documented", a.Status, kind)
	}
	if a.Status >= 400 {
		if kind != "application/problem+json" {
			return fmt.Errorf("status %d has media type %q, not a problem's", a.Status, kind)
		}
		if err := judgeProblem(a); err != nil {
			return err
		}
	}
	if !strings.HasSuffix(kind, "json") {
		return nil
	}
	value, err := parse(a.Body)
	if err != nil {
		return fmt.Errorf("status %d: not JSON: %w", a.Status, err)
	}
	formats := map[string]openapi3.StringFormatValidator{
		"uuid":      openapi3.NewRegexpFormatValidator(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`),
		"date-time": utcTime{}, "date": openapi3.NewRegexpFormatValidator(`^\d{4}-\d\d-\d\d$`),
	}
	if err := media.Schema.Value.VisitJSON(value, openapi3.MultiErrors(), openapi3.VisitAsResponse(), openapi3.WithStringFormatValidators(formats)); err != nil {
		return fmt.Errorf("status %d: %w", a.Status, err)
	}
	return nil
}

// utcTime: times are answered in UTC with a Z.
type utcTime struct{}

func (utcTime) Validate(s string) error {
	if _, err := time.Parse(time.RFC3339Nano, s); err != nil || !strings.HasSuffix(s, "Z") {
		return fmt.Errorf("%q is not a time in UTC", s)
	}
	return nil
}

// judgeProblem checks what every problem says.
func judgeProblem(a system.Answer) error {
	var p struct {
		Type, Title string
		Status      int
		RequestID   string `json:"request_id"`
	}
	if err := unmarshal(a.Body, &p); err != nil {
		return err
	}
	switch {
	case !strings.HasPrefix(p.Type, "/problems/"), p.Title == "", p.RequestID == "":
		return fmt.Errorf("a problem without type, title or request_id: %s", a.Body)
	case p.Status != a.Status:
		return fmt.Errorf("the problem says %d, the status is %d", p.Status, a.Status)
	// A replay is the first answer byte for byte, with the id of the first request.
	case p.RequestID != a.Header.Get("X-Request-Id") && a.Header.Get("Idempotent-Replayed") != "true":
		return fmt.Errorf("the problem's request_id is not the header's, %s: %s", a.Header.Get("X-Request-Id"), a.Body)
	case a.Status == http.StatusTooManyRequests && a.Header.Get("Retry-After") == "":
		return errors.New("429 without Retry-After")
	}
	return nil
}

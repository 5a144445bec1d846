// Package document renders the AsyncAPI 3.0 document of the contract. It lives apart from the command so that a
// test can tell whether the committed file is fresh.
package document

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"fmt"
	"strings"
	"text/template"

	"github.com/healthmed/healthmed/pkg/events"
)

//go:embed asyncapi.yaml.tmpl
var source string

// Render gives the text of asyncapi.yaml. Schemas are referred to (./schemas/<name>.json), examples are copied in.
func Render() ([]byte, error) {
	page, err := template.New("asyncapi").Funcs(template.FuncMap{
		"address":   address,
		"quote":     quote,
		"parameter": parameter,
		"example":   example,
	}).Parse(source)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	err = page.Execute(&out, struct {
		ContentType string
		Events      []events.Definition
	}{events.ContentType, events.All()})
	return out.Bytes(), err
}

// address is the subject as AsyncAPI writes it: ids in braces.
func address(d events.Definition) string {
	return strings.NewReplacer("<", "{", ">", "}").Replace(d.SubjectPattern())
}

// quote makes a YAML string; JSON's strings are a subset of YAML's.
func quote(s string) (string, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	err := enc.Encode(s)
	return strings.TrimSpace(b.String()), err
}

// parameter is the description of the field that ends the subject.
func parameter(d events.Definition, name string) (string, error) {
	var schema struct {
		Properties map[string]struct{ Description string }
	}
	if err := json.Unmarshal(d.Schema(), &schema); err != nil {
		return "", fmt.Errorf("%s: %w", d.Name, err)
	}
	p, ok := schema.Properties[name]
	if !ok {
		return "", fmt.Errorf("%s: no field %s in the schema", d.Name, name)
	}
	return quote(p.Description)
}

// example is the example body, indented to stand under `payload:`. JSON is YAML.
func example(d events.Definition, indent int) (string, error) {
	var b bytes.Buffer
	err := json.Indent(&b, bytes.TrimSpace(d.Example()), strings.Repeat(" ", indent), "  ")
	return b.String(), err
}

package contract_test

import (
	"bytes"
	"encoding/json"
	"io/fs"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/healthmed/healthmed/pkg/events"
)

// origin stands for the public origin, against which the schemas' addresses are resolved.
const origin = "https://healthmed.example"

func readSchema(t testing.TB, name string) map[string]any {
	t.Helper()
	text, err := fs.ReadFile(events.Files(), "schemas/"+name+".json")
	if err != nil {
		t.Fatal(err)
	}
	return parse(t, text).(map[string]any)
}

func parse(t testing.TB, text []byte) any {
	t.Helper()
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	return v
}

func compile(t testing.TB, document any) *jsonschema.Schema {
	t.Helper()
	c := jsonschema.NewCompiler()
	c.AssertFormat() // in 2020-12 formats are annotations unless a reader asks for more
	address := origin + "/schemas/under-test.json"
	if err := c.AddResource(address, document); err != nil {
		t.Fatal(err)
	}
	schema, err := c.Compile(address)
	if err != nil {
		t.Fatal(err)
	}
	return schema
}

// closed is the schema as producers are held to it: nothing but the listed properties, at any depth. The published
// schemas are open, since their readers must ignore what they don't know; this derives the one from the other, so
// that there is a single file per event.
func closed(node any) any {
	switch n := node.(type) {
	case map[string]any:
		out := make(map[string]any, len(n)+1)
		for k, v := range n {
			out[k] = closed(v)
		}
		if _, lists := n["properties"]; lists && n["type"] == "object" {
			out["unevaluatedProperties"] = false
		}
		return out
	case []any:
		out := make([]any, len(n))
		for i, v := range n {
			out[i] = closed(v)
		}
		return out
	}
	return node
}

func example(t testing.TB, d events.Definition) map[string]any {
	t.Helper()
	return parse(t, d.Example()).(map[string]any)
}

func forEachEvent(t *testing.T, check func(t *testing.T, d events.Definition)) {
	t.Helper()
	for _, d := range events.All() {
		t.Run(d.Name, func(t *testing.T) { check(t, d) })
	}
}

func TestSchemas_CarryTheAddressThatEventsGive(t *testing.T) {
	forEachEvent(t, func(t *testing.T, d events.Definition) {
		s := readSchema(t, d.Name)
		for keyword, want := range map[string]string{
			"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": d.DataSchema(), "title": d.GoType,
		} {
			if s[keyword] != want {
				t.Errorf("%s is %v, want %s", keyword, s[keyword], want)
			}
		}
		if example(t, d)["dataschema"] != s["$id"] {
			t.Errorf("the example's dataschema is %v", example(t, d)["dataschema"])
		}
	})
}

// Every property is explained: the descriptions are the documentation that subscribers read.
func TestSchemas_ExplainEveryProperty(t *testing.T) {
	var explained func(t *testing.T, at string, s map[string]any)
	explained = func(t *testing.T, at string, s map[string]any) {
		properties, _ := s["properties"].(map[string]any)
		for name, p := range properties {
			p := p.(map[string]any)
			if text, _ := p["description"].(string); text == "" {
				t.Errorf("%s/%s has no description", at, name)
			}
			explained(t, at+"/"+name, p)
		}
	}
	forEachEvent(t, func(t *testing.T, d events.Definition) { explained(t, "", readSchema(t, d.Name)) })
	explained(t, "", readSchema(t, "envelope.v1"))
}

func TestExamples_SatisfyTheSchemasClosed(t *testing.T) {
	envelope := compile(t, closed(readSchema(t, "envelope.v1")))
	forEachEvent(t, func(t *testing.T, d events.Definition) {
		message := example(t, d)
		if err := envelope.Validate(message); err != nil {
			t.Errorf("envelope: %v", err)
		}
		if err := compile(t, closed(readSchema(t, d.Name))).Validate(message["data"]); err != nil {
			t.Errorf("data: %v", err)
		}
	})
}

// A field that nobody has heard of: producers may not send it, subscribers must not mind it.
func TestSchemas_AreOpenToReadersAndClosedToWriters(t *testing.T) {
	forEachEvent(t, func(t *testing.T, d events.Definition) {
		for _, path := range append(objects("", readSchema(t, d.Name)), "/..") {
			message := example(t, d)
			target, schema := at(t, message["data"], path), readSchema(t, d.Name)
			subject := message["data"]
			if path == "/.." { // beside data, in the envelope
				target, schema, subject = message, readSchema(t, "envelope.v1"), message
			}
			target["surprise"] = map[string]any{"floor": json.Number("2")}
			if err := compile(t, schema).Validate(subject); err != nil {
				t.Errorf("%s: the published schema refuses a new field: %v", path, err)
			}
			if compile(t, closed(schema)).Validate(subject) == nil {
				t.Errorf("%s: the closed schema lets a new field out", path)
			}
			body, err := json.Marshal(message)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := events.Decode(body); err != nil {
				t.Errorf("%s: Decode refuses a new field: %v", path, err)
			}
		}
	})
}

// objects lists the paths of the objects that a schema describes, itself included.
func objects(path string, schema map[string]any) []string {
	properties, ok := schema["properties"].(map[string]any)
	if !ok {
		return nil
	}
	out := []string{path}
	for name, p := range properties {
		out = append(out, objects(path+"/"+name, p.(map[string]any))...)
	}
	return out
}

func at(t *testing.T, value any, path string) map[string]any {
	t.Helper()
	if path == "/.." {
		return nil
	}
	for _, name := range strings.Split(path, "/")[1:] {
		value = value.(map[string]any)[name]
	}
	object, ok := value.(map[string]any)
	if !ok {
		t.Fatalf("the example has no object at %s", path)
	}
	return object
}

// The Go types and the schemas list the same fields, of the same types, with the same ones required.
func TestTypes_HaveTheFieldsOfTheSchemas(t *testing.T) {
	forEachEvent(t, func(t *testing.T, d events.Definition) {
		sameFields(t, "", reflect.TypeOf(d.New()).Elem(), readSchema(t, d.Name))
	})
}

func sameFields(t *testing.T, path string, typ reflect.Type, schema map[string]any) {
	t.Helper()
	properties, _ := schema["properties"].(map[string]any)
	var names, required []string
	for _, f := range reflect.VisibleFields(typ) {
		if f.Anonymous {
			continue
		}
		name, option, _ := strings.Cut(f.Tag.Get("json"), ",")
		names = append(names, name)
		if option != "omitempty" {
			required = append(required, name)
		}
		if p, ok := properties[name].(map[string]any); ok {
			sameType(t, path+"/"+name, f.Type, p)
		}
	}
	if got := keys(properties); !slices.Equal(got, sortedCopy(names)) {
		t.Errorf("%s: schema has %v, %s has %v", path, got, typ, sortedCopy(names))
	}
	var got []string
	list, _ := schema["required"].([]any)
	for _, name := range list {
		got = append(got, name.(string))
	}
	if !slices.Equal(sortedCopy(got), sortedCopy(required)) {
		t.Errorf("%s: schema requires %v, %s always writes %v", path, got, typ, required)
	}
}

func sameType(t *testing.T, path string, typ reflect.Type, schema map[string]any) {
	t.Helper()
	if typ.Kind() == reflect.Pointer {
		typ = typ.Elem()
	}
	want := [2]any{"string", nil}
	switch {
	case typ == reflect.TypeFor[time.Time]():
		want[1] = "date-time"
	case typ == reflect.TypeFor[uuid.UUID]():
		want[1] = "uuid"
	case typ.Kind() == reflect.Struct:
		want[0] = "object"
		sameFields(t, path, typ, schema)
	case typ.Kind() == reflect.Slice:
		want[0] = "array"
		sameType(t, path+"/items", typ.Elem(), schema["items"].(map[string]any))
	case typ.Kind() == reflect.Int64:
		want[0] = "integer"
	case typ.Kind() != reflect.String:
		t.Errorf("%s: %s has no place in the contract", path, typ)
	}
	if got := [2]any{schema["type"], schema["format"]}; got != want {
		t.Errorf("%s: schema says %v, %s is %v", path, got, typ, want)
	}
}

func keys(m map[string]any) []string {
	out := make([]string, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}

func sortedCopy(s []string) []string {
	return slices.Sorted(slices.Values(s))
}

package contract_test

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"pgregory.net/rapid"

	"github.com/healthmed/healthmed/pkg/events"
)

const nilUUID = "00000000-0000-0000-0000-000000000000"

// wrong is what each field of each example is replaced with in turn; gone removes it.
type gone struct{}

func wrong() []any {
	return []any{
		gone{}, nil, true, json.Number("7"), json.Number("-1"), json.Number("1.5"), json.Number("99999999999999999999"),
		"", " ", "x", "X Y", "Ação", "a@b", "@", "pt-BR", "portuguese", "SP", "sp", "12345678901", "booked", "doctor", "nurse", "system",
		"America/Sao_Paulo", "../../etc/passwd", "2026-13-01T00:00:00Z", "2026-12-10", "2026-12-10T12:00:00", "0193b5a0-7a00-7000-8000",
		nilUUID, strings.Repeat("a", 65), strings.Repeat("a", 201), strings.Repeat("é", 501), "line\nbreak",
		[]any{}, []any{"cardiology"}, []any{"Cardiology!"}, []any{nil}, map[string]any{},
	}
}

// Whatever field of an event is wrong, the schema that other systems validate with and Decode agree on it. They
// may differ only in what a schema can't say, or where Decode is lenient on purpose; both are listed here and in
// docs/events.md.
func TestDecode_AgreesWithTheSchemas(t *testing.T) {
	forEachEvent(t, func(t *testing.T, d events.Definition) {
		schema := compile(t, readSchema(t, d.Name))
		var refused int
		for _, path := range leaves("", readSchema(t, d.Name)) {
			for _, value := range wrong() {
				message := example(t, d)
				put(message["data"].(map[string]any), path, value)
				body, err := json.Marshal(message)
				if err != nil {
					t.Fatal(err)
				}
				invalid := schema.Validate(parse(t, body).(map[string]any)["data"])
				_, unread := events.Decode(body)
				if unread != nil {
					refused++
				}
				switch {
				case (invalid == nil) == (unread == nil):
				case invalid == nil && beyondSchemas(unread):
				case unread == nil && lenient(path, value):
				default:
					t.Errorf("%s = %#v\nschema: %v\nDecode: %v", path, value, invalid, unread)
				}
			}
		}
		if refused == 0 {
			t.Error("nothing was refused")
		}
	})
}

// beyondSchemas tells the rules that compare two fields, and that an id is not the nil UUID.
func beyondSchemas(err error) bool {
	text := err.Error()
	return strings.Contains(text, "version differs") || strings.Contains(text, "subject differs") ||
		strings.Contains(text, "id is missing") || strings.Contains(text, "not after starts_at")
}

// lenient tells what Decode takes though nobody should send it: null for an optional field, and nothing at all where
// nothing is what it means (no specialties; nobody, when the actor is system).
func lenient(path string, value any) bool {
	switch path {
	case "reason", "doctor":
		return value == nil
	case "doctor.specialties", "actor.id":
		return value == nil || value == gone{}
	}
	return false
}

// leaves lists the dotted paths of everything below an object schema.
func leaves(prefix string, schema map[string]any) []string {
	properties, _ := schema["properties"].(map[string]any)
	var out []string
	for _, name := range keys(properties) {
		out = append(append(out, prefix+name), leaves(prefix+name+".", properties[name].(map[string]any))...)
	}
	return out
}

func put(object map[string]any, path string, value any) {
	head, tail, nested := strings.Cut(path, ".")
	if nested {
		if inner, ok := object[head].(map[string]any); ok {
			put(inner, tail, value)
		}
		return
	}
	if value == (gone{}) {
		delete(object, head)
		return
	}
	object[head] = value
}

// Whatever a service puts into an event, Encode either refuses it or writes what the closed schemas accept, and
// what it writes can be read.
func TestEncode_WritesOnlyWhatTheClosedSchemasAccept(t *testing.T) {
	envelope := compile(t, closed(readSchema(t, "envelope.v1")))
	forEachEvent(t, func(t *testing.T, d events.Definition) {
		schema := compile(t, closed(readSchema(t, d.Name)))
		var written int
		rapid.Check(t, func(r *rapid.T) {
			original, err := events.Decode(d.Example())
			if err != nil {
				r.Fatal(err)
			}
			fill(r, "", reflect.ValueOf(original.Data).Elem())
			original.CorrelationID = rapid.String().Draw(r, "correlation id")
			original.TraceParent = rapid.String().Draw(r, "trace parent")
			body, err := original.Encode()
			if err != nil {
				return
			}
			written++
			message := parse(t, body).(map[string]any)
			if err := envelope.Validate(message); err != nil {
				r.Fatalf("envelope: %v\n%s", err, body)
			}
			if err := schema.Validate(message["data"]); err != nil {
				r.Fatalf("data: %v\n%s", err, body)
			}
			if _, err := events.Decode(body); err != nil {
				r.Fatalf("%v\n%s", err, body)
			}
		})
		if written == 0 {
			t.Error("nothing was written")
		}
	})
}

// fill replaces some fields of an event by others, sound or not.
func fill(r *rapid.T, path string, v reflect.Value) {
	if v.Kind() == reflect.Struct && v.Type() != reflect.TypeFor[time.Time]() {
		for i := range v.NumField() {
			fill(r, fmt.Sprintf("%s/%d", path, i), v.Field(i))
		}
		return
	}
	if rapid.IntRange(0, 7).Draw(r, path) != 0 { // leave most as they are, so that many events can be written
		return
	}
	switch p := v.Addr().Interface().(type) {
	case *time.Time:
		zone := time.FixedZone("", rapid.IntRange(-14*3600, 14*3600).Draw(r, "offset"))
		*p = time.Unix(rapid.Int64Range(-62135596800, 253402300799).Draw(r, "second"), rapid.Int64Range(0, 999_999_999).Draw(r, "nanosecond")).In(zone)
	case *uuid.UUID:
		*p = rapid.SampledFrom([]uuid.UUID{uuid.Nil, uuid.New(), uuid.Max}).Draw(r, "id")
	case *string:
		*p = rapid.OneOf(rapid.String(), rapid.SampledFrom([]string{"patient", "system", "en", "America/Sao_Paulo", "a@b", "booked"})).Draw(r, "text")
	case *int64:
		*p = rapid.Int64().Draw(r, "number")
	case *[]string:
		*p = rapid.SliceOf(rapid.SampledFrom([]string{"cardiology", "", "Cardiology", "x-ray"})).Draw(r, "list")
	case **events.DoctorProfile:
		*p = rapid.SampledFrom([]*events.DoctorProfile{nil, {}, {CRM: events.CRM{Number: "1", State: "RJ"}}}).Draw(r, "doctor")
	default:
		r.Fatalf("%s: %T is new here", path, p)
	}
}

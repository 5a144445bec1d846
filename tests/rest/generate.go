package rest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/google/uuid"
)

func parse(b []byte) (v any, err error) {
	err = unmarshal(b, &v)
	return v, err
}

func unmarshal(b []byte, into any) error { return json.NewDecoder(bytes.NewReader(b)).Decode(into) }

// maker makes values from schemas.
type maker struct {
	rng *rand.Rand
	n   int // distinguishes people
}

// samples of formats that a schema alone doesn't tell how to fill.
func (m *maker) format(name string) (string, bool) {
	switch name {
	case "uuid":
		return uuid.NewString(), true
	case "date-time":
		return time.Now().Add(time.Duration(m.rng.IntN(1000)) * time.Hour).Format(time.RFC3339), true
	case "date":
		return time.Now().AddDate(0, 0, 1+m.rng.IntN(20)).Format(time.DateOnly), true
	case "cpf":
		m.n++
		return cpf(m.n), true
	case "account-email", "email":
		m.n++
		return fmt.Sprintf("somebody%d@mail.example", m.n), true
	case "new-password":
		return password, true
	case "person-name":
		return "Maria Antônia d'Ávila", true
	case "phone", "optional-phone":
		return "(11) 98765-4321", true
	case "birth-date":
		return "1990-05-20", true
	case "crm-number":
		m.n++
		return strconv.Itoa(200000 + m.n), true
	case "specialty":
		return "cardiology", true
	case "clock":
		return "09:00", true
	case "time-zone":
		return "America/Sao_Paulo", true
	}
	return "", false
}

// valid makes a value that the schema allows. Optional properties are there or not.
func (m *maker) valid(s *openapi3.Schema) any {
	if len(s.AllOf) > 0 {
		return m.valid(s.AllOf[0].Value)
	}
	switch {
	case len(s.Enum) > 0:
		return s.Enum[m.rng.IntN(len(s.Enum))]
	case s.Type.Is("object"):
		o := map[string]any{}
		for _, name := range propertiesOf(s) {
			if slices.Contains(s.Required, name) || m.rng.IntN(2) == 0 || len(o) < int(s.MinProps) {
				o[name] = m.valid(s.Properties[name].Value)
			}
		}
		return o
	case s.Type.Is("array"):
		list := []any{}
		for range max(int(s.MinItems), 1) {
			list = append(list, m.valid(s.Items.Value))
		}
		return list
	case s.Type.Is("boolean"):
		return m.rng.IntN(2) == 0
	case s.Type.Is("integer"), s.Type.Is("number"):
		low, high := 0.0, 1000.0
		if s.Min != nil {
			low, high = *s.Min, *s.Min+1000
		}
		if s.Max != nil {
			high = *s.Max
		}
		return []float64{low, high, low + float64(m.rng.IntN(int(high-low)+1))}[m.rng.IntN(3)]
	}
	return m.text(s)
}

func (m *maker) text(s *openapi3.Schema) string {
	if v, ok := m.format(s.Format); ok {
		return v
	}
	switch {
	case strings.HasPrefix(s.Pattern, "^[a-z]"):
		return "cardiology"
	case s.Pattern != "":
		return strings.Repeat("A", 43) + ".ics" // a calendar that isn't
	}
	length := int(s.MinLength) + m.rng.IntN(20)
	if s.MaxLength != nil {
		length = min(length, int(*s.MaxLength))
		if m.rng.IntN(4) == 0 {
			length = int(*s.MaxLength)
		}
	}
	return strings.Repeat("é", length)
}

func propertiesOf(s *openapi3.Schema) []string {
	var names []string
	for name := range s.Properties {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// variant is a value that breaks one constraint.
type variant struct {
	label string
	value any
}

// broken makes, from a valid value, one value for each constraint that it breaks.
func broken(s *openapi3.Schema, base any, at string) (list []variant) {
	add := func(label string, v any) { list = append(list, variant{at + " " + label, v}) }
	if len(s.AllOf) > 0 {
		return broken(s.AllOf[0].Value, base, at)
	}
	if !s.Nullable {
		add("null", nil)
	}
	switch {
	case s.Type.Is("object"):
		return append(list, brokenObject(s, base, at)...)
	case s.Type.Is("array"):
		items, _ := base.([]any)
		add("not an array", map[string]any{})
		if s.MinItems > 0 {
			add("too few", items[:0])
		}
		if s.MaxItems != nil && len(items) > 0 {
			add("too many", slices.Repeat(items[:1], int(*s.MaxItems)+1))
		}
		if len(items) > 0 {
			for _, v := range broken(s.Items.Value, items[0], at+"/0") {
				list = append(list, variant{v.label, append([]any{v.value}, items[1:]...)})
			}
		}
	case s.Type.Is("boolean"):
		add("not a boolean", "true")
	case s.Type.Is("integer"), s.Type.Is("number"):
		add("not a number", "1")
		add("fraction", 5.5)
		add("huge", 1e300)
		if s.Min != nil {
			add("below minimum", *s.Min-1)
		}
		if s.Max != nil {
			add("above maximum", *s.Max+1)
		}
	default:
		list = append(list, brokenText(s, at)...)
	}
	return list
}

func brokenObject(s *openapi3.Schema, base any, at string) (list []variant) {
	object, _ := base.(map[string]any)
	with := func(change func(map[string]any)) map[string]any {
		c := map[string]any{}
		for k, v := range object {
			c[k] = v
		}
		change(c)
		return c
	}
	list = append(list, variant{at + " not an object", []any{}})
	for _, name := range s.Required {
		list = append(list, variant{at + "/" + name + " missing", with(func(c map[string]any) { delete(c, name) })})
	}
	if s.MinProps > 0 {
		list = append(list, variant{at + " empty", map[string]any{}})
	}
	if s.AdditionalProperties.Has != nil && !*s.AdditionalProperties.Has {
		list = append(list, variant{at + " unknown property", with(func(c map[string]any) { c["surprise"] = 1 })})
	}
	for _, name := range propertiesOf(s) {
		value, ok := object[name]
		if !ok {
			continue
		}
		for _, v := range broken(s.Properties[name].Value, value, at+"/"+name) {
			list = append(list, variant{v.label, with(func(c map[string]any) { c[name] = v.value })})
		}
	}
	return list
}

// loose formats allow nearly any text.
var loose = []string{"", "prose", "line"}

func brokenText(s *openapi3.Schema, at string) (list []variant) {
	add := func(label string, v any) { list = append(list, variant{at + " " + label, v}) }
	add("not a text", 7)
	add("a list", []any{"x"})
	if s.MinLength > 0 {
		add("too short", strings.Repeat("a", int(s.MinLength)-1))
	}
	if s.MaxLength != nil {
		add("too long", strings.Repeat("a", int(*s.MaxLength)+1))
	}
	if s.Pattern != "" {
		add("pattern", "É!")
	}
	if len(s.Enum) > 0 {
		add("not in the list", "surprise")
	}
	if !slices.Contains(loose, s.Format) {
		add("format", "\u0001 nonsense")
	}
	if s.Format == "prose" || s.Format == "line" {
		add("control character", "a\u0000b")
	}
	return list
}

// inQuery writes a value as a parameter; false for what has no such form.
func inQuery(v any) (string, bool) {
	switch v := v.(type) {
	case nil, []any, map[string]any:
		return "", false
	case float64:
		return fmt.Sprintf("%v", v), v < 1e200
	case string:
		return v, true
	}
	return fmt.Sprint(v), true
}

package web

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"
)

// reference reads text as the standard library does; ok is false where parseJSON must refuse.
func reference(text string) (value any, ok bool) {
	if !json.Valid([]byte(text)) || !utf8.ValidString(text) {
		return nil, false
	}
	if hasRepeatedNames(text) || depthOf(text) > maxDepth {
		return nil, false
	}
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	if err := d.Decode(&value); err != nil {
		return nil, false
	}
	return value, true
}

// hasRepeatedNames looks for one name twice in an object, by the standard library's tokens.
func hasRepeatedNames(text string) bool {
	type object struct {
		names map[string]bool // nil: an array
		key   bool            // the next token is a name
	}
	var open []object
	d := json.NewDecoder(strings.NewReader(text))
	for {
		token, err := d.Token()
		if err != nil {
			return false
		}
		name, isText := token.(string)
		if n := len(open); n > 0 && open[n-1].names != nil && open[n-1].key && isText {
			if open[n-1].names[name] {
				return true
			}
			open[n-1].names[name], open[n-1].key = true, false
			continue
		}
		switch token {
		case json.Delim('{'):
			open = append(open, object{names: map[string]bool{}, key: true})
			continue
		case json.Delim('['):
			open = append(open, object{})
			continue
		case json.Delim('}'), json.Delim(']'):
			open = open[:len(open)-1]
		}
		if n := len(open); n > 0 {
			open[n-1].key = true // a value has ended
		}
	}
}

// depthOf counts the levels above the deepest value.
func depthOf(text string) int {
	deepest, depth := 0, 0
	d := json.NewDecoder(strings.NewReader(text))
	for {
		token, err := d.Token()
		if err != nil {
			return deepest
		}
		switch token {
		case json.Delim('}'), json.Delim(']'):
			depth--
			continue
		}
		deepest = max(deepest, depth)
		if token == json.Delim('{') || token == json.Delim('[') {
			depth++
		}
	}
}

// sameNumbers turns numbers into the form of parseJSON.
func sameNumbers(v any) any {
	switch v := v.(type) {
	case json.Number:
		if f, err := v.Float64(); err == nil {
			return f
		}
	case []any:
		for i := range v {
			v[i] = sameNumbers(v[i])
		}
	case map[string]any:
		for k := range v {
			v[k] = sameNumbers(v[k])
		}
	}
	return v
}

func checkAgainstStandardLibrary(t interface{ Errorf(string, ...any) }, text string) {
	got, err := parseJSON(text)
	want, ok := reference(text)
	if ok != (err == nil) {
		t.Errorf("%q: error %v, the standard library takes it: %v", text, err, ok)
		return
	}
	if want = sameNumbers(want); ok && !reflect.DeepEqual(got, want) {
		t.Errorf("%q: got %#v, want %#v", text, got, want)
	}
}

func FuzzParseJSON(f *testing.F) {
	for _, text := range []string{
		`{"a":[1,-2.5e+3,true,false,null,"\u00e9\n\ud83d\ude00"],"b":{}}`, `{"a":1,"a":2}`, `{"a":1,"\u0061":2}`, `[[[[]]]]`,
		`01`, `-`, `1.`, `1e`, `.5`, `+1`, `1e999`, `-0`, `"\x"`, "\"\x01\"", "\"\xff\"", `"\ud800"`, `tru`, `nul`, `{"a"}`,
		`{,}`, `[1,]`, `{"a":1,}`, ` 1 `, "\ufeff1", ``, `"`, `"\`, `[`, `{"a":{"a":1}}`, strings.Repeat("[", 40) + strings.Repeat("]", 40),
		strings.Repeat("[", 33) + strings.Repeat("]", 33),
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) { checkAgainstStandardLibrary(t, text) })
}

func TestParseJSON_ReadsWhatTheStandardLibraryWrites(t *testing.T) {
	var value func(depth int) *rapid.Generator[any]
	value = func(depth int) *rapid.Generator[any] {
		kinds := []*rapid.Generator[any]{
			rapid.String().AsAny(), rapid.Float64().AsAny(), rapid.Int64().AsAny(), rapid.Bool().AsAny(), rapid.Just[any](nil),
		}
		if depth < 4 {
			kinds = append(kinds,
				rapid.Custom(func(t *rapid.T) any { return rapid.SliceOfN(value(depth+1), 0, 4).Draw(t, "list") }),
				rapid.Custom(func(t *rapid.T) any { return rapid.MapOfN(rapid.String(), value(depth+1), 0, 4).Draw(t, "object") }),
			)
		}
		return rapid.OneOf(kinds...)
	}
	rapid.Check(t, func(t *rapid.T) {
		text, err := json.Marshal(value(0).Draw(t, "value"))
		if err != nil {
			t.Fatal(err)
		}
		var indented bytes.Buffer
		if err := json.Indent(&indented, text, "\r", "\t"); err != nil {
			t.Fatal(err)
		}
		checkAgainstStandardLibrary(t, string(text))
		checkAgainstStandardLibrary(t, indented.String())
		cut := rapid.IntRange(0, len(text)).Draw(t, "cut")
		checkAgainstStandardLibrary(t, string(text[:cut]))
	})
}

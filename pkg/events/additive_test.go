package events_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// A schema that was released may only gain optional fields: every message written by the old one is still valid,
// and every reader of the old one still understands what is written by the new one. Anything else is a new
// version of the event, in a file of its own.
func TestSchemas_ChangeOnlyByAdditionSinceTheLastRelease(t *testing.T) {
	released, err := filepath.Glob("released/*.json")
	if err != nil || len(released) == 0 {
		t.Fatalf("%d released schemas, %v", len(released), err)
	}
	for _, path := range released {
		name := filepath.Base(path)
		t.Run(name, func(t *testing.T) {
			before := readJSON(t, path)
			if _, err := os.Stat(filepath.Join("schemas", name)); err != nil {
				t.Fatalf("a released schema is gone: %v", err)
			}
			for _, fault := range notAdditive("", before, readJSON(t, filepath.Join("schemas", name))) {
				t.Errorf("not additive: %s", fault)
			}
		})
	}
}

func readJSON(t *testing.T, path string) any {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var v any
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return v
}

// annotations say something to people and decide nothing.
func annotation(keyword string) bool {
	return slices.Contains([]string{"title", "description", "examples", "$comment"}, keyword) || strings.HasPrefix(keyword, "x-")
}

// notAdditive tells what in a schema, or in a part of it, changed otherwise than by a new optional property.
// Keywords that it doesn't know must stay as they are: it may refuse too much, never too little.
func notAdditive(at string, before, after any) []string {
	b, isSchema := before.(map[string]any)
	a, still := after.(map[string]any)
	if !isSchema || !still {
		if !reflect.DeepEqual(before, after) {
			return []string{fmt.Sprintf("%s changed from %v to %v", at, before, after)}
		}
		return nil
	}
	var faults []string
	for keyword := range union(b, a) {
		path := at + "/" + keyword
		was, had := b[keyword]
		is, has := a[keyword]
		switch {
		case annotation(keyword):
		case had && has && keyword == "properties":
			faults = append(faults, propertiesNotAdditive(path, was.(map[string]any), is.(map[string]any))...)
		case had && has && keyword == "items":
			faults = append(faults, notAdditive(path, was, is)...)
		case had && has && (keyword == "required" || keyword == "enum"):
			if !reflect.DeepEqual(sorted(was), sorted(is)) {
				faults = append(faults, fmt.Sprintf("%s changed from %v to %v", path, was, is))
			}
		case !had || !has || !reflect.DeepEqual(was, is):
			faults = append(faults, fmt.Sprintf("%s changed from %v to %v", path, was, is))
		}
	}
	slices.Sort(faults)
	return faults
}

func propertiesNotAdditive(at string, before, after map[string]any) []string {
	var faults []string
	for name, was := range before {
		is, has := after[name]
		if !has {
			faults = append(faults, at+"/"+name+" is gone")
			continue
		}
		faults = append(faults, notAdditive(at+"/"+name, was, is)...)
	}
	return faults
}

func union(a, b map[string]any) map[string]bool {
	all := map[string]bool{}
	for k := range a {
		all[k] = true
	}
	for k := range b {
		all[k] = true
	}
	return all
}

func sorted(list any) []string {
	var out []string
	for _, v := range list.([]any) {
		out = append(out, fmt.Sprint(v))
	}
	slices.Sort(out)
	return out
}

// The check itself: it lets pass what subscribers can live with and catches what breaks them.
func TestNotAdditive_CatchesWhatBreaksSubscribers(t *testing.T) {
	const before = `{"type":"object","title":"T","required":["id","role"],"properties":{
		"id":{"type":"string","format":"uuid"},
		"role":{"type":"string","enum":["patient","doctor"]},
		"note":{"type":"string","maxLength":5},
		"tags":{"type":"array","items":{"type":"string"}},
		"crm":{"type":"object","required":["number"],"properties":{"number":{"type":"string"}}}}}`
	for name, c := range map[string]struct {
		old, new string
		fault    string // empty: additive
	}{
		"new optional field":        {`"note":{`, `"phone":{"type":"string"},"note":{`, ""},
		"new optional nested field": {`{"number":{"type":"string"}}`, `{"number":{"type":"string"},"state":{"type":"string"}}`, ""},
		"other words":               {`"title":"T"`, `"title":"U","description":"D","x-note":1`, ""},
		"other order":               {`["id","role"]`, `["role","id"]`, ""},
		"field gone":                {`"note":{"type":"string","maxLength":5},`, ``, "/properties/note is gone"},
		"field renamed":             {`"note":{`, `"notes":{`, "/properties/note is gone"},
		"other type":                {`"id":{"type":"string"`, `"id":{"type":"integer"`, "/properties/id/type"},
		"type widened":              {`"note":{"type":"string"`, `"note":{"type":["string","null"]`, "/properties/note/type"},
		"required grows":            {`["id","role"]`, `["id","role","note"]`, "/required"},
		"required shrinks":          {`["id","role"]`, `["id"]`, "/required"},
		"required nested shrinks":   {`"required":["number"],`, ``, "/properties/crm/required"},
		"enum grows":                {`["patient","doctor"]`, `["patient","doctor","admin"]`, "/properties/role/enum"},
		"enum shrinks":              {`["patient","doctor"]`, `["patient"]`, "/properties/role/enum"},
		"looser":                    {`"maxLength":5`, `"maxLength":6`, "/properties/note/maxLength"},
		"limit gone":                {`,"maxLength":5`, ``, "/properties/note/maxLength"},
		"stricter":                  {`"format":"uuid"`, `"format":"uuid","pattern":"^0"`, "/properties/id/pattern"},
		"other items":               {`"items":{"type":"string"}`, `"items":{"type":"integer"}`, "/properties/tags/items/type"},
		"closed":                    {`"title":"T"`, `"additionalProperties":false`, "/additionalProperties"},
		"unknown keyword":           {`"title":"T"`, `"dependentRequired":{"id":["note"]}`, "/dependentRequired"},
	} {
		t.Run(name, func(t *testing.T) {
			if strings.Count(before, c.old) != 1 {
				t.Fatalf("%q occurs %d times", c.old, strings.Count(before, c.old))
			}
			var was, is any
			if err := json.Unmarshal([]byte(before), &was); err != nil {
				t.Fatal(err)
			}
			if err := json.Unmarshal([]byte(strings.Replace(before, c.old, c.new, 1)), &is); err != nil {
				t.Fatal(err)
			}
			faults := strings.Join(notAdditive("", was, is), "\n")
			if (c.fault == "") != (faults == "") || !strings.Contains(faults, c.fault) {
				t.Errorf("faults %q, want %q", faults, c.fault)
			}
		})
	}
}

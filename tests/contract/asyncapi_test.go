package contract_test

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v4"

	"github.com/healthmed/healthmed/pkg/events"
)

// document is asyncapi.yaml as the AsyncAPI 3.0 specification structures it.
type document struct {
	AsyncAPI string `yaml:"asyncapi"`
	Info     struct{ Title, Version string }
	Servers  map[string]struct{ Host, Protocol string }
	Channels map[string]struct {
		Address    string
		Parameters map[string]struct{ Description string }
		Messages   map[string]reference
		Stream     string `yaml:"x-jetstream-stream"`
	}
	Operations map[string]struct {
		Action   string
		Channel  reference
		Messages []reference
	}
	Components struct {
		Messages map[string]struct {
			Name        string
			ContentType string `yaml:"contentType"`
			Headers     reference
			Payload     any
			Examples    []struct {
				Name    string
				Payload any
			}
		}
	}
}

type reference struct {
	Ref string `yaml:"$ref"`
}

func readAsyncAPI(t *testing.T) (document, map[string]any) {
	t.Helper()
	var typed document
	var raw map[string]any
	if err := yaml.Unmarshal(events.AsyncAPI(), &typed); err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(events.AsyncAPI(), &raw); err != nil {
		t.Fatal(err)
	}
	return typed, raw
}

func TestAsyncAPI_DescribesEveryEventOnceAndNothingElse(t *testing.T) {
	doc, _ := readAsyncAPI(t)
	if doc.AsyncAPI != "3.0.0" || doc.Info.Title == "" || doc.Info.Version == "" || len(doc.Servers) == 0 {
		t.Errorf("head of the document: %q %+v %v", doc.AsyncAPI, doc.Info, doc.Servers)
	}
	for name, n := range map[string]int{"channels": len(doc.Channels), "operations": len(doc.Operations), "messages": len(doc.Components.Messages)} {
		if n != len(events.All()) {
			t.Errorf("%d %s for %d events", n, name, len(events.All()))
		}
	}
	forEachEvent(t, func(t *testing.T, d events.Definition) {
		channel, ok := doc.Channels[d.GoType]
		if want := strings.NewReplacer("<", "{", ">", "}").Replace(d.SubjectPattern()); !ok || channel.Address != want || channel.Stream != d.Stream {
			t.Errorf("channel %+v, want address %s in %s", channel, want, d.Stream)
		}
		var placeholders []string
		for _, m := range regexp.MustCompile(`\{([^}]+)\}`).FindAllStringSubmatch(channel.Address, -1) {
			placeholders = append(placeholders, m[1])
			if channel.Parameters[m[1]].Description == "" {
				t.Errorf("parameter %s is not described", m[1])
			}
		}
		if len(channel.Parameters) != len(placeholders) || !slices.Equal(placeholders, d.SubjectIDs()) {
			t.Errorf("parameters %v, address %s", channel.Parameters, channel.Address)
		}
		message := "#/channels/" + d.GoType + "/messages/" + d.GoType
		if channel.Messages[d.GoType].Ref != "#/components/messages/"+d.GoType || len(channel.Messages) != 1 {
			t.Errorf("channel's messages %v", channel.Messages)
		}
		op, ok := doc.Operations["send"+d.GoType]
		if !ok || op.Action != "send" || op.Channel.Ref != "#/channels/"+d.GoType || !slices.Equal(op.Messages, []reference{{message}}) {
			t.Errorf("operation %+v", op)
		}
		m := doc.Components.Messages[d.GoType]
		if m.Name != d.Type() || m.ContentType != events.ContentType || len(m.Examples) != 1 {
			t.Errorf("message %s, %s, %d examples", m.Name, m.ContentType, len(m.Examples))
		}
	})
}

// resolve follows a reference inside the document or to a file beside it.
func resolve(root map[string]any, ref string) (any, error) {
	file, pointer, _ := strings.Cut(ref, "#")
	var value any = root
	if file != "" {
		text, err := fs.ReadFile(events.Files(), path.Clean(file))
		if err != nil {
			return nil, err
		}
		if err := json.Unmarshal(text, &value); err != nil {
			return nil, err
		}
	}
	for _, step := range strings.Split(pointer, "/")[1:] {
		object, _ := value.(map[string]any) // a nil map has no step
		next, ok := object[step]
		if !ok {
			return nil, fmt.Errorf("%s: no %s", ref, step)
		}
		value = next
		value = next
	}
	return value, nil
}

// inline replaces every reference by what it refers to.
func inline(t *testing.T, root map[string]any, node any, count *int) any {
	t.Helper()
	switch n := node.(type) {
	case map[string]any:
		if ref, ok := n["$ref"].(string); ok {
			*count++
			target, err := resolve(root, ref)
			if err != nil {
				t.Errorf("%s leads nowhere: %v", ref, err)
				return nil
			}
			return inline(t, root, target, count)
		}
		out := make(map[string]any, len(n))
		for k, v := range n {
			if k != "$id" { // inlined schemas are no resources of their own
				out[k] = inline(t, root, v, count)
			}
		}
		return out
	case []any:
		out := make([]any, len(n))
		for i, v := range n {
			out[i] = inline(t, root, v, count)
		}
		return out
	}
	return node
}

// asJSON turns what YAML gave into what the schema validator takes.
func asJSON(t *testing.T, v any) any {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return parse(t, text)
}

func TestAsyncAPI_ReferencesLeadSomewhere(t *testing.T) {
	_, raw := readAsyncAPI(t)
	var count int
	inline(t, raw, raw, &count)
	if count < 5*len(events.All()) {
		t.Errorf("%d references followed", count)
	}
}

// A tool that has nothing but the document can validate messages: each message's payload takes its own event, and
// no other's.
func TestAsyncAPI_PayloadsTakeTheirOwnExamplesAlone(t *testing.T) {
	doc, raw := readAsyncAPI(t)
	var count int
	forEachEvent(t, func(t *testing.T, d events.Definition) {
		m := doc.Components.Messages[d.GoType]
		schema := compile(t, asJSON(t, inline(t, raw, m.Payload, &count)))
		if err := schema.Validate(asJSON(t, m.Examples[0].Payload)); err != nil {
			t.Errorf("the document's example: %v", err)
		}
		for _, other := range events.All() {
			if err := schema.Validate(example(t, other)); (err == nil) != (other.Name == d.Name) {
				t.Errorf("%s: %v", other.Name, err)
			}
		}
	})
}

package eventsdoc

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// field is a row of the table that describes a message.
type field struct {
	Name        string // dotted path, e.g. "actor.role"
	Type        string // in words
	Required    bool   // within what contains it
	Description string
}

// node is what this page shows of a JSON Schema.
type node struct {
	Type        string          `json:"type"`
	Format      string          `json:"format"`
	Description string          `json:"description"`
	Const       any             `json:"const"`
	Enum        []string        `json:"enum"`
	Pattern     string          `json:"pattern"`
	Required    []string        `json:"required"`
	Properties  json.RawMessage `json:"properties"`
	Items       *node           `json:"items"`
}

// fields lists the properties of an object schema in the order of the file, those of nested objects after their parent.
func fields(schema []byte) ([]field, error) {
	var n node
	if err := json.Unmarshal(schema, &n); err != nil {
		return nil, err
	}
	return n.fields("")
}

func (n node) fields(prefix string) ([]field, error) {
	if n.Properties == nil {
		return nil, nil
	}
	dec := json.NewDecoder(bytes.NewReader(n.Properties))
	if open, err := dec.Token(); err != nil || open != json.Delim('{') {
		return nil, errors.New("properties is not an object")
	}
	var out []field
	for dec.More() {
		token, err := dec.Token()
		if err != nil {
			return nil, err
		}
		var child node
		if err := dec.Decode(&child); err != nil {
			return nil, fmt.Errorf("%v: %w", token, err)
		}
		name, _ := token.(string)
		out = append(out, field{
			Name: prefix + name, Type: child.words(), Required: slices.Contains(n.Required, name), Description: child.Description,
		})
		nested, err := child.fields(prefix + name + ".")
		if err != nil {
			return nil, err
		}
		out = append(out, nested...)
	}
	return out, nil
}

func (n node) words() string {
	switch {
	case n.Const != nil:
		return fmt.Sprintf("always %v", n.Const)
	case len(n.Enum) > 0:
		return strings.Join(n.Enum, " | ")
	case n.Format == "uuid":
		return "UUID"
	case n.Format == "date-time":
		return "time, UTC"
	case n.Type == "array" && n.Items != nil:
		return "list of " + n.Items.words() + "s"
	case n.Type == "string":
		return "text"
	case n.Type == "integer":
		return "whole number"
	}
	return n.Type
}

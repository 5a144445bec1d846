package check

import (
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
)

// declared is what a module's expressions may name.
type declared struct {
	variables map[string]bool // by name: whether it has a default
	outputs   map[string]bool
	others    map[string]bool   // local.x, data.type.x, ephemeral.type.x, type.x
	calls     map[string]string // module.x: the folder it names
	used      map[string]bool   // var.x and local.x that something names
}

func (m *module) declared() declared {
	d := declared{map[string]bool{}, map[string]bool{}, map[string]bool{}, map[string]string{}, map[string]bool{}}
	for _, body := range m.bodies {
		for _, b := range body.Blocks {
			switch b.Type {
			case "variable":
				d.variables[b.Labels[0]] = b.Body.Attributes["default"] != nil
			case "output":
				d.outputs[b.Labels[0]] = true
			case "locals":
				for name := range b.Body.Attributes {
					d.others["local."+name] = true
				}
			case "data", "ephemeral":
				d.others[b.Type+"."+strings.Join(b.Labels, ".")] = true
			case "resource":
				d.others[strings.Join(b.Labels, ".")] = true
			case "module":
				source, _ := b.Body.Attributes["source"].Expr.Value(nil)
				d.calls[b.Labels[0]] = filepath.Join(m.dir, source.AsString())
			}
		}
	}
	return d
}

// name is the part of a traversal from one step to another, without what is indexed: aws_subnet.private.
func name(traversal hcl.Traversal, from, to int) string {
	var parts []string
	for _, step := range traversal {
		switch step := step.(type) {
		case hcl.TraverseRoot:
			parts = append(parts, step.Name)
		case hcl.TraverseAttr:
			parts = append(parts, step.Name)
		}
	}
	if from >= len(parts) {
		return ""
	}
	return strings.Join(parts[from:min(to, len(parts))], ".")
}

// What Terraform would refuse, where there is no terraform: names that lead nowhere.
func TestTerraform_EveryReferenceResolves(t *testing.T) {
	all := modules(t)
	known := map[string]declared{}
	for dir, m := range all {
		known[dir] = m.declared()
	}
	for dir, m := range all {
		for _, body := range m.bodies {
			checkBody(t, known, dir, body, nil)
		}
		d := known[dir]
		for _, declared := range append(slices.Collect(maps.Keys(d.others)), slices.Collect(maps.Keys(d.variables))...) {
			if !strings.Contains(declared, ".") {
				declared = "var." + declared
			}
			if (strings.HasPrefix(declared, "var.") || strings.HasPrefix(declared, "local.")) && !d.used[declared] {
				t.Errorf("%s: nothing uses %s", dir, declared)
			}
		}
	}
}

// checkBody looks at the references of a block; iterators are the names that its dynamic blocks go by.
func checkBody(t *testing.T, known map[string]declared, dir string, body *hclsyntax.Body, iterators []string) {
	for _, attribute := range body.Attributes {
		for _, traversal := range hclsyntax.Variables(attribute.Expr) {
			if !slices.Contains(iterators, traversal.RootName()) {
				checkReference(t, known, dir, traversal)
			}
		}
	}
	for _, b := range body.Blocks {
		inner := iterators
		if b.Type == "dynamic" {
			inner = append(slices.Clone(iterators), b.Labels[0])
		}
		// What ignore_changes names are the resource's own attributes.
		if b.Type != "lifecycle" {
			checkBody(t, known, dir, b.Body, inner)
		}
	}
}

func checkReference(t *testing.T, known map[string]declared, dir string, traversal hcl.Traversal) {
	d, at := known[dir], traversal.SourceRange()
	switch root := traversal.RootName(); root {
	case "each", "count", "path", "self", "string", "number", "bool", "any": // the latter are types
	case "var":
		full := name(traversal, 1, 2)
		if _, ok := d.variables[full]; !ok {
			t.Errorf("%s: no variable %s", at, full)
		}
		d.used["var."+full] = true
	case "module":
		call := name(traversal, 1, 2)
		target, ok := d.calls[call]
		output := name(traversal, 2, 3)
		if !ok || output != "" && !known[target].outputs[output] {
			t.Errorf("%s: no output %s of a module %s", at, output, call)
		}
	case "data", "ephemeral":
		if full := name(traversal, 0, 3); !d.others[full] {
			t.Errorf("%s: no %s", at, full)
		}
	default:
		full := name(traversal, 0, 2)
		if !d.others[full] {
			t.Errorf("%s: no %s", at, full)
		}
		d.used[full] = true
	}
}

// A module is given what it asks for, and nothing else.
func TestTerraform_ModulesAreGivenTheirVariables(t *testing.T) {
	all := modules(t)
	calls := 0
	for dir, m := range all {
		for _, b := range m.blocks("module") {
			calls++
			target := all[m.declared().calls[b.Labels[0]]]
			if target == nil {
				t.Errorf("%s: module %s: no such folder", dir, b.Labels[0])
				continue
			}
			asked := target.declared().variables
			for name := range b.Body.Attributes {
				if _, ok := asked[name]; !ok && name != "source" && name != "for_each" {
					t.Errorf("%s: module %s has no variable %s", dir, b.Labels[0], name)
				}
			}
			for name, optional := range asked {
				if !optional && b.Body.Attributes[name] == nil {
					t.Errorf("%s: module %s isn't given %s", dir, b.Labels[0], name)
				}
			}
		}
	}
	if calls < 10 {
		t.Errorf("only %d calls: have they moved?", calls)
	}
}

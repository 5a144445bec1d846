package check

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclparse"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/hashicorp/hcl/v2/hclwrite"
	"github.com/zclconf/go-cty/cty"
)

const terraform = root + "/deploy/terraform"

// module is a folder of Terraform.
type module struct {
	dir    string
	bodies []*hclsyntax.Body
}

// modules reads all folders, by path below deploy/terraform.
func modules(t *testing.T) map[string]*module {
	t.Helper()
	found, parser := map[string]*module{}, hclparse.NewParser()
	for _, path := range terraformFiles(t, ".tf") {
		file, faults := parser.ParseHCLFile(path)
		if faults.HasErrors() {
			t.Fatal(faults)
		}
		dir, err := filepath.Rel(terraform, filepath.Dir(path))
		if err != nil {
			t.Fatal(err)
		}
		if found[dir] == nil {
			found[dir] = &module{dir: dir}
		}
		found[dir].bodies = append(found[dir].bodies, file.Body.(*hclsyntax.Body))
	}
	if len(found) < 10 {
		t.Fatalf("only %d modules: have they moved?", len(found))
	}
	return found
}

func terraformFiles(t *testing.T, suffixes ...string) []string {
	t.Helper()
	var files []string
	err := filepath.WalkDir(terraform, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.Name() == ".terraform" { // what was downloaded
			return filepath.SkipDir
		}
		if slices.ContainsFunc(suffixes, func(s string) bool { return strings.HasSuffix(path, s) }) {
			files = append(files, path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// blocks lists those of a type: "variable", "resource" and so on.
func (m *module) blocks(kind string) []*hclsyntax.Block {
	var list []*hclsyntax.Block
	for _, body := range m.bodies {
		for _, b := range body.Blocks {
			if b.Type == kind {
				list = append(list, b)
			}
		}
	}
	return list
}

// resources lists those of a type, by name.
func (m *module) resources(kind string) map[string]*hclsyntax.Body {
	found := map[string]*hclsyntax.Body{}
	for _, b := range m.blocks("resource") {
		if b.Labels[0] == kind {
			found[b.Labels[1]] = b.Body
		}
	}
	return found
}

// local is the expression of a local value.
func (m *module) local(t *testing.T, name string) hclsyntax.Expression {
	t.Helper()
	for _, b := range m.blocks("locals") {
		if a, ok := b.Body.Attributes[name]; ok {
			return a.Expr
		}
	}
	t.Fatalf("%s: no local.%s", m.dir, name)
	return nil
}

// literal evaluates what needs nothing around it.
func literal(t *testing.T, e hclsyntax.Expression) cty.Value {
	t.Helper()
	v, faults := e.Value(nil)
	if faults.HasErrors() {
		t.Fatal(faults)
	}
	return v
}

// texts are the elements of a list of strings.
func texts(v cty.Value) []string {
	var list []string
	for it := v.ElementIterator(); it.Next(); {
		_, e := it.Element()
		list = append(list, e.AsString())
	}
	return list
}

// inside calls f with every expression of a type that lies within a node.
func inside[E hclsyntax.Node](node hclsyntax.Node, f func(E)) {
	_ = hclsyntax.VisitAll(node, func(n hclsyntax.Node) hcl.Diagnostics { // f reports by itself
		if e, ok := n.(E); ok {
			f(e)
		}
		return nil
	})
}

// key is the name of an object's item, if it is one that is written out.
func key(item hclsyntax.ObjectConsItem) string {
	if k, ok := item.KeyExpr.(*hclsyntax.ObjectConsKeyExpr); ok {
		if name := hcl.ExprAsKeyword(k.Wrapped); name != "" {
			return name
		}
	}
	v, faults := item.KeyExpr.Value(nil)
	if faults.HasErrors() || v.Type() != cty.String {
		return ""
	}
	return v.AsString()
}

// What `terraform fmt` would change, where there is no terraform.
func TestTerraform_IsFormatted(t *testing.T) {
	files := terraformFiles(t, ".tf", ".tftest.hcl", ".tfmock.hcl")
	if len(files) < 40 {
		t.Fatalf("only %d files: have they moved?", len(files))
	}
	for _, path := range files {
		body, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if _, faults := hclsyntax.ParseConfig(body, path, hcl.InitialPos); faults.HasErrors() {
			t.Error(faults)
		}
		if diff := cmp.Diff(string(hclwrite.Format(body)), string(body)); diff != "" {
			t.Errorf("%s: want (-), got (+):\n%s", path, diff)
		}
	}
}

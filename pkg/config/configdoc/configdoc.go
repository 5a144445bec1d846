// Package configdoc reads what the programs can be configured with from the source of their Config structs, and
// writes docs/configuration.md from it. A field with an env tag and no words about it is an error: an operator sees
// nothing but this page.
package configdoc

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

//go:generate go run ./write ../../..

const modules = "github.com/healthmed/healthmed/"

// Setting is one environment variable of a program.
type Setting struct {
	Name     string // environment variable
	Type     string // text, number, true or false, duration, list
	Default  string
	Required bool
	Secret   bool
	Meaning  string // empty: the same as the setting's before
}

// Group is the settings of one struct: a program's own, or those of a package that several programs use.
type Group struct {
	Title    string
	Programs []string
	Settings []Setting
}

// part is a Config struct that several programs embed, with its title on the page.
var parts = map[string]string{
	"pkg/postgres":  "Database",
	"pkg/bus":       "Event bus",
	"pkg/auth":      "Tokens",
	"pkg/telemetry": "Logs and traces",
	"pkg/clock":     "Clock",
}

// programs lists what is built, with the folder of its Config.
var programs = []struct{ name, dir string }{
	{"users", "services/users"},
	{"scheduling", "services/scheduling"},
	{"notifier", "services/notifier"},
	{"sesinbox", "deploy/sesinbox"},
	{"healthmed", "deploy/standalone"},
	{"healthmed-admin", "pkg/access"},
}

// Read parses the Config structs of all programs; root is the repository's folder.
func Read(root string) ([]Group, error) {
	var own []Group
	shared := map[string]*Group{}
	var faults []error
	for _, program := range programs {
		settings, embedded, err := readConfig(root, program.dir)
		if err != nil {
			faults = append(faults, err)
			continue
		}
		own = append(own, Group{Title: program.name, Programs: []string{program.name}, Settings: settings})
		for _, dir := range embedded {
			title, known := parts[dir]
			if !known {
				faults = append(faults, fmt.Errorf("%s embeds the Config of %s, which has no title here", program.dir, dir))
				continue
			}
			if shared[dir] == nil {
				settings, _, err := readConfig(root, dir)
				faults = append(faults, err)
				shared[dir] = &Group{Title: title, Settings: settings}
			}
			shared[dir].Programs = append(shared[dir].Programs, program.name)
		}
	}
	groups := own
	for _, g := range shared {
		groups = append(groups, *g)
	}
	slices.SortStableFunc(groups, func(a, b Group) int {
		if n := len(b.Programs) - len(a.Programs); n != 0 || len(a.Programs) == 1 {
			return n
		}
		return strings.Compare(a.Title, b.Title)
	})
	return groups, errors.Join(faults...)
}

// Of gives all settings of one program by name.
func Of(groups []Group, program string) map[string]Setting {
	found := map[string]Setting{}
	for _, g := range groups {
		if slices.Contains(g.Programs, program) {
			for _, s := range g.Settings {
				found[s.Name] = s
			}
		}
	}
	return found
}

// readConfig finds `type Config struct` in a folder: its settings, and the folders of the Config structs inside it.
func readConfig(root, dir string) ([]Setting, []string, error) {
	files, err := filepath.Glob(filepath.Join(root, dir, "*.go"))
	if err != nil {
		return nil, nil, err
	}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ParseComments)
		if err != nil {
			return nil, nil, err
		}
		if config := configIn(file); config != nil {
			settings, embedded, err := readFields(config, importsOf(file))
			if err != nil {
				err = fmt.Errorf("%s: %w", dir, err)
			}
			return settings, embedded, err
		}
	}
	return nil, nil, fmt.Errorf("%s: no Config struct with env tags", dir)
}

// configIn is the file's Config struct, if it is one that the environment fills.
func configIn(file *ast.File) *ast.StructType {
	var found *ast.StructType
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.TypeSpec)
		if !ok || spec.Name.Name != "Config" {
			return true
		}
		config, ok := spec.Type.(*ast.StructType)
		if ok && slices.ContainsFunc(config.Fields.List, func(f *ast.Field) bool { _, tagged := envTag(f); return tagged }) {
			found = config
		}
		return true
	})
	return found
}

// importsOf maps the names by which a file knows our packages to their folders.
func importsOf(file *ast.File) map[string]string {
	dirs := map[string]string{}
	for _, spec := range file.Imports {
		importPath, _ := strconv.Unquote(spec.Path.Value) // the parser has checked it
		dir, ours := strings.CutPrefix(importPath, modules)
		if !ours {
			continue
		}
		name := path.Base(dir)
		if spec.Name != nil {
			name = spec.Name.Name
		}
		dirs[name] = dir
	}
	return dirs
}

func readFields(config *ast.StructType, imports map[string]string) (settings []Setting, embedded []string, err error) {
	var faults []error
	names := map[string]string{} // Go name to variable, to speak of variables where a comment speaks of fields
	var lastDoc string
	for _, field := range config.Fields.List {
		if dir, ok := configOf(field.Type, imports); ok {
			embedded = append(embedded, dir)
			continue
		}
		tag, ok := envTag(field)
		if !ok || tag.name == "-" {
			continue
		}
		goName := field.Names[0].Name
		names[goName] = tag.name
		doc := strings.Join(strings.Fields(field.Doc.Text()), " ")
		if doc != "" {
			lastDoc = doc
		}
		meaning := strings.Join(slices.DeleteFunc([]string{doc, strings.TrimSpace(field.Comment.Text())}, func(s string) bool { return s == "" }), " ")
		if meaning == "" && mentions(lastDoc, goName) { // one comment over several fields
			meaning = lastDoc
		}
		if meaning == "" {
			faults = append(faults, fmt.Errorf("%s (%s) has no comment that tells an operator what it is", goName, tag.name))
		}
		kind, secret := typeOf(field.Type)
		if kind == "" {
			faults = append(faults, fmt.Errorf("%s (%s) has a type that the page has no word for", goName, tag.name))
		}
		settings = append(settings, Setting{
			Name: tag.name, Type: kind, Default: tag.byDefault, Required: tag.required, Secret: secret, Meaning: meaning,
		})
	}
	said := ""
	for i := range settings {
		if settings[i].Meaning == said {
			settings[i].Meaning = "" // one comment over several fields is told once
			continue
		}
		said = settings[i].Meaning
		settings[i].Meaning = sayVariables(said, names)
	}
	return settings, embedded, errors.Join(faults...)
}

type tag struct {
	name, byDefault string
	required        bool
}

func envTag(field *ast.Field) (tag, bool) {
	if field.Tag == nil {
		return tag{}, false
	}
	text, _ := strconv.Unquote(field.Tag.Value) // the parser has checked it
	env, ok := reflect.StructTag(text).Lookup("env")
	name, options, _ := strings.Cut(env, ",")
	return tag{name: name, byDefault: reflect.StructTag(text).Get("envDefault"), required: strings.Contains(options, "required")}, ok
}

// configOf is the folder of the package whose Config a field holds.
func configOf(t ast.Expr, imports map[string]string) (string, bool) {
	selector, ok := t.(*ast.SelectorExpr)
	if !ok || selector.Sel.Name != "Config" {
		return "", false
	}
	name, ok := selector.X.(*ast.Ident)
	if !ok {
		return "", false
	}
	dir, ok := imports[name.Name]
	return dir, ok
}

func typeOf(t ast.Expr) (kind string, secret bool) {
	switch t := t.(type) {
	case *ast.ArrayType:
		return "list, by commas", false
	case *ast.Ident:
		switch t.Name {
		case "string":
			return "text", false
		case "bool":
			return "true or false", false
		case "int", "int32", "int64", "float64":
			return "number", false
		}
	case *ast.SelectorExpr:
		switch t.Sel.Name {
		case "Secret":
			return "text", true
		case "Duration":
			return "duration", false
		case "Level":
			return "DEBUG, INFO, WARN or ERROR", false
		}
	}
	return "", false
}

func mentions(text, word string) bool {
	return regexp.MustCompile(`\b` + word + `\b`).MatchString(text)
}

var words = regexp.MustCompile(`\b[A-Z][A-Za-z]+\b`)

// sayVariables puts variables for the names of fields.
func sayVariables(meaning string, names map[string]string) string {
	return words.ReplaceAllStringFunc(meaning, func(word string) string {
		if name, ok := names[word]; ok {
			return "`" + name + "`"
		}
		return word
	})
}

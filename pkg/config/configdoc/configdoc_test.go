package configdoc_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/healthmed/healthmed/pkg/config/configdoc"
)

const root = "../../.."

func TestPage_IsFresh(t *testing.T) {
	groups, err := configdoc.Read(root)
	if err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile(root + "/docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(page), configdoc.Page(groups)); diff != "" {
		t.Errorf("docs/configuration.md is stale: run `make generate` (page -, structs +):\n%s", diff)
	}
}

func TestRead_TellsWhatAProgramTakes(t *testing.T) {
	groups, err := configdoc.Read(root)
	if err != nil {
		t.Fatal(err)
	}
	got := configdoc.Of(groups, "users")
	for name, want := range map[string]configdoc.Setting{
		"DATABASE_URL": {Type: "text", Required: true, Secret: true},
		"OPS_ADDR":     {Type: "text", Default: ":9090"},
		"KEYS_CPF":     {Type: "text", Required: true, Secret: true},
	} {
		s, ok := got[name]
		if !ok {
			t.Errorf("users takes no %s", name)
		}
		s.Name, s.Meaning = "", ""
		if diff := cmp.Diff(want, s); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	if _, ok := got["MAIL_FROM"]; ok {
		t.Error("users takes the notifier's MAIL_FROM")
	}
}

// A setting that nobody explains, or of a type without a word for it, is a fault of the build, not a blank cell.
func TestRead_RefusesASettingWithoutWords(t *testing.T) {
	for name, field := range map[string]string{
		"no comment":   "Addr string `env:\"HTTP_ADDR\"`",
		"unknown type": "Addr chan int `env:\"HTTP_ADDR\"` // where it listens",
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			for _, program := range []string{"services/users", "services/scheduling", "services/notifier", "deploy/sesinbox", "deploy/standalone"} {
				if err := os.MkdirAll(filepath.Join(dir, program), 0o755); err != nil {
					t.Fatal(err)
				}
				source := "package p\n\ntype Config struct {\n" + field + "\n}\n"
				if err := os.WriteFile(filepath.Join(dir, program, "config.go"), []byte(source), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := configdoc.Read(dir); err == nil || !strings.Contains(err.Error(), "HTTP_ADDR") {
				t.Errorf("got %v, want an error that names HTTP_ADDR", err)
			}
		})
	}
}

package rest

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestContract_BreaksNothingReleased holds each openapi.yaml against its released copy: whoever wrote a client against
// that copy must not notice. A release replaces the copies.
func TestContract_BreaksNothingReleased(t *testing.T) {
	for _, service := range services {
		t.Run(service, func(t *testing.T) {
			if out, err := breaking(t, filepath.Join("released", service+".yaml"), document(service)); err != nil {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}

// The guard itself must bark.
func TestContract_GuardNoticesABreakingChange(t *testing.T) {
	released := filepath.Join("released", "users.yaml")
	source, err := os.ReadFile(released)
	if err != nil {
		t.Fatal(err)
	}
	changed := strings.Replace(string(source), "required: [name, cpf, email, password]", "required: [name, cpf, email, password, phone]", 1)
	if changed == string(source) {
		t.Fatal("the document has changed: make another breaking change here")
	}
	broken := filepath.Join(t.TempDir(), "users.yaml")
	if err := os.WriteFile(broken, []byte(changed), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := breaking(t, released, broken); err == nil {
		t.Errorf("a newly required property was let through\n%s", out)
	}
}

func breaking(t *testing.T, released, current string) (string, error) {
	out, err := exec.CommandContext(t.Context(), "go", "tool", "oasdiff", "breaking", released, current, "--fail-on", "ERR").CombinedOutput()
	return string(out), err
}

package contract_test

import (
	"os"
	"strings"
	"testing"
)

// What the page shows is what the tests run.
func TestDocs_ShowTheProgramsThatAreTested(t *testing.T) {
	page, err := os.ReadFile("../../docs/events.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, program := range []string{"main.go", "subscriber.mjs", "subscriber.py"} {
		source, err := os.ReadFile("subscriber/" + program)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(page), "\n"+string(source)+"```\n") {
			t.Errorf("docs/events.md does not show subscriber/%s as it is", program)
		}
	}
	if install := "npm install " + strings.Join(packages(), " "); !strings.Contains(string(page), install) {
		t.Errorf("docs/events.md does not say %s", install)
	}
}

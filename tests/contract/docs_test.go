package contract_test

import (
	"html"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/healthmed/healthmed/pkg/events/eventsdoc"
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

// Who has only the page at /events must be able to follow it: a consumer is made before it is read, by the same command
// as in docs/events.md.
func TestPage_TellsHowToMakeTheConsumerBeforeReadingFromIt(t *testing.T) {
	docs, err := os.ReadFile("../../docs/events.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, found := strings.Cut(string(docs), "```sh\nnats consumer add ")
	add, _, ended := strings.Cut(rest, "\n```")
	if !found || !ended {
		t.Fatal("docs/events.md does not say how to make a consumer")
	}
	rec := httptest.NewRecorder()
	eventsdoc.Handler().ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "/events", nil))
	before, _, found := strings.Cut(html.UnescapeString(rec.Body.String()), "nats consumer next SCHEDULING my-system ")
	if !found || !strings.Contains(before, "<code>nats consumer add "+add+"</code>") {
		t.Errorf("the page does not say first:\nnats consumer add %s", add)
	}
}

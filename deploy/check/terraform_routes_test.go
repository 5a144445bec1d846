package check

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"
)

// The load balancer routes as the gateway of docker-compose.yml does, which deploy/standalone is held against.
func TestTerraform_RoutesAreTheCaddyfiles(t *testing.T) {
	body, err := os.ReadFile(root + "/deploy/gateway/Caddyfile")
	if err != nil {
		t.Fatal(err)
	}
	caddyfile, gateway := string(body), modules(t)["modules/gateway"]
	if want := "@scheduling path_regexp " + literal(t, gateway.local(t, "of_doctor")).AsString() + "\n"; !strings.Contains(caddyfile, want) {
		t.Errorf("Caddyfile lacks %q", want)
	}
	prefixes := literal(t, gateway.local(t, "prefixes")).AsValueMap()
	for service, matcher := range map[string]string{"scheduling": "@schedulingPrefix", "notifier": "@notifier"} {
		var got []string
		for _, prefix := range texts(prefixes[service]) {
			got = append(got, prefix, prefix+"/*")
		}
		if diff := cmp.Diff(matched(t, caddyfile, matcher), slices.Sorted(slices.Values(got))); diff != "" {
			t.Errorf("%s: Caddyfile (-) and load balancer (+) differ:\n%s", service, diff)
		}
	}
	if len(prefixes) != 2 {
		t.Errorf("%d services have prefixes, want 2", len(prefixes))
	}
	want := matched(t, caddyfile, "@pages")
	if strings.Contains(caddyfile, "\thandle / {\n") && strings.Contains(caddyfile, "\tredir * /docs 302\n") {
		want = slices.Sorted(slices.Values(append(want, "/")))
	}
	got := slices.Sorted(slices.Values(texts(literal(t, gateway.local(t, "pages")))))
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("pages: Caddyfile (-) and load balancer (+) differ:\n%s", diff)
	}
}

// matched are the paths of a matcher of the Caddyfile, in order.
func matched(t *testing.T, caddyfile, matcher string) []string {
	t.Helper()
	line := regexp.MustCompile(regexp.QuoteMeta(matcher) + ` path (.+)`).FindStringSubmatch(caddyfile)
	if line == nil {
		t.Fatalf("Caddyfile lacks %s", matcher)
	}
	return slices.Sorted(slices.Values(strings.Fields(line[1])))
}

// operations are those of all services, such as "GET /v1/doctors/{id}": whether they ask for a token.
func operations(t *testing.T) map[string]bool {
	t.Helper()
	found := map[string]bool{}
	for _, service := range []string{"users", "scheduling", "notifier"} {
		body, err := os.ReadFile(root + "/services/" + service + "/internal/api/openapi.yaml")
		if err != nil {
			t.Fatal(err)
		}
		var document struct {
			Security []any
			Paths    map[string]map[string]yaml.Node
		}
		if err := yaml.Unmarshal(body, &document); err != nil {
			t.Fatal(err)
		}
		if len(document.Security) > 0 {
			t.Fatalf("%s: this test reads what each operation asks for, not the document", service)
		}
		for path, item := range document.Paths {
			for method, node := range item {
				if method == "parameters" {
					continue
				}
				var operation struct{ Security []any }
				if err := node.Decode(&operation); err != nil {
					t.Fatal(err)
				}
				found[strings.ToUpper(method)+" "+path] = len(operation.Security) > 0
			}
		}
	}
	if len(found) < 40 {
		t.Fatalf("only %d operations: has the documents' form changed?", len(found))
	}
	return found
}

// API Gateway lets through without a token exactly what the services do.
func TestTerraform_PublicOperationsAreThoseWithoutToken(t *testing.T) {
	var want []string
	for operation, asks := range operations(t) {
		if !asks {
			want = append(want, operation)
		}
	}
	slices.Sort(want)
	gateway := modules(t)["modules/gateway"]
	got := slices.Sorted(slices.Values(texts(literal(t, gateway.local(t, "public_operations")))))
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("openapi.yaml (-) and gateway (+) differ:\n%s", diff)
	}
}

// The pages need no token either, and none of their routes lets an operation through.
func TestTerraform_PublicPagesAreNoOperations(t *testing.T) {
	gateway := modules(t)["modules/gateway"]
	open := texts(literal(t, gateway.local(t, "public_pages")))
	for _, route := range open {
		method, path, _ := strings.Cut(route, " ")
		if method != "GET" || strings.HasPrefix(path, "/v1") || strings.HasPrefix(path, "/{") {
			t.Errorf("%s is no page", route)
		}
	}
	for _, page := range texts(literal(t, gateway.local(t, "pages"))) {
		// A slash at the end is what {page+} of /docs/{page+} matches.
		route := "GET " + strings.Replace(page, "/*", "/{page+}", 1)
		if page == "/docs/" {
			route = "GET /docs/{page+}"
		}
		if !slices.Contains(open, route) {
			t.Errorf("the page %s asks for a token", page)
		}
	}
	for _, route := range []string{"GET /livez", "GET /readyz", "GET /openapi.yaml", "GET /problems/{name}", "GET /events/{page+}", "GET /schemas/{name}"} {
		if !slices.Contains(open, route) {
			t.Errorf("%s asks for a token", route)
		}
	}
}

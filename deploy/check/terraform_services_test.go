package check

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/hashicorp/hcl/v2/hclsyntax"
)

// setting is a row of docs/configuration.md.
type setting struct{ required, secret bool }

// settings are those of each program, by name.
func settings(t *testing.T) map[string]map[string]setting {
	t.Helper()
	body, err := os.ReadFile(root + "/docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]map[string]setting{}
	var programs []string
	row := regexp.MustCompile("^\\| `([A-Z0-9_]+)` \\| [^|]* \\| ([^|]*) \\| ([^|]*) \\|")
	for line := range strings.Lines(string(body)) {
		if heading, ok := strings.CutPrefix(strings.TrimSpace(line), "## "); ok {
			_, list, shared := strings.Cut(heading, ": ")
			programs = []string{heading}
			if shared {
				programs = strings.Split(list, ", ")
			}
		}
		if m := row.FindStringSubmatch(line); m != nil {
			for _, program := range programs {
				if found[program] == nil {
					found[program] = map[string]setting{}
				}
				found[program][m[1]] = setting{required: strings.Contains(m[2], "required"), secret: strings.Contains(m[3], "secret")}
			}
		}
	}
	if len(found["scheduling"]) < 10 {
		t.Fatalf("docs/configuration.md: %d settings of scheduling: has its form changed?", len(found["scheduling"]))
	}
	return found
}

// variables are the keys of all objects within an expression that are written like environment variables.
func variables(e hclsyntax.Expression) []string {
	var names []string
	inside(e, func(object *hclsyntax.ObjectConsExpr) {
		for _, item := range object.Items {
			if name := key(item); regexp.MustCompile(`^[A-Z][A-Z0-9_]+$`).MatchString(name) {
				names = append(names, name)
			}
		}
	})
	return names
}

// items are an object's, by key.
func items(t *testing.T, e hclsyntax.Expression) map[string]hclsyntax.Expression {
	t.Helper()
	object, ok := e.(*hclsyntax.ObjectConsExpr)
	if !ok {
		t.Fatalf("%s: not an object", e.Range())
	}
	found := map[string]hclsyntax.Expression{}
	for _, item := range object.Items {
		found[key(item)] = item.ValueExpr
	}
	return found
}

// A service is told what it reads, all that it must be told, and secrets by reference alone.
func TestTerraform_SettingsAreTheServices(t *testing.T) {
	platform := modules(t)["modules/platform"]
	common, secrets := variables(platform.local(t, "environment")), variables(platform.local(t, "secrets"))
	known := settings(t)
	services := items(t, platform.local(t, "services"))
	for _, service := range []string{"users", "scheduling", "notifier"} {
		own := items(t, services[service])
		plain := slices.Concat(common, variables(own["environment"]))
		hidden := slices.Concat(secrets, variables(own["secrets"]))
		for _, name := range slices.Concat(plain, hidden) {
			if _, ok := known[service][name]; !ok {
				t.Errorf("%s doesn't read %s", service, name)
			}
		}
		for name, s := range known[service] {
			if s.required && !slices.Contains(plain, name) && !slices.Contains(hidden, name) {
				t.Errorf("%s isn't told %s", service, name)
			}
			if s.secret && slices.Contains(plain, name) {
				t.Errorf("%s: %s is a secret", service, name)
			}
		}
	}
}

// The script of a NATS server runs healthmed-admin.
func TestTerraform_AdminSettingsAreItsOwn(t *testing.T) {
	body, err := os.ReadFile(terraform + "/modules/nats/templates/start.sh.tftpl")
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile(`--env ([A-Z_]+)=`).FindAllStringSubmatch(string(body), -1)
	if len(found) < 3 {
		t.Fatalf("%d settings: has the script's form changed?", len(found))
	}
	for _, m := range found {
		if _, ok := settings(t)["healthmed-admin"][m[1]]; !ok {
			t.Errorf("healthmed-admin doesn't read %s", m[1])
		}
	}
}

// The load balancer asks where the images listen, and the network lets it.
func TestTerraform_PortsAreTheImages(t *testing.T) {
	dockerfile, err := os.ReadFile(root + "/deploy/Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(dockerfile), "\nEXPOSE 8080 9090\n") {
		t.Error("deploy/Dockerfile doesn't say 8080 and 9090")
	}
	all := modules(t)
	environment := items(t, all["modules/platform"].local(t, "environment").(*hclsyntax.FunctionCallExpr).Args[0])
	for name, want := range map[string]string{"HTTP_ADDR": ":8080", "OPS_ADDR": ":9090"} {
		if got := literal(t, environment[name]).AsString(); got != want {
			t.Errorf("%s is %s, want %s", name, got, want)
		}
	}
	targets := literal(t, all["modules/gateway"].local(t, "targets")).AsValueMap()
	for service, want := range map[string][2]string{
		"users": {"9090", "/startupz"}, "scheduling": {"9090", "/startupz"}, "notifier": {"9090", "/startupz"}, "pages": {"traffic-port", "/livez"},
	} {
		target := targets[service].AsValueMap()
		if got := [2]string{target["port"].AsString(), target["path"].AsString()}; got != want {
			t.Errorf("%s: readiness at %v, want %v", service, got, want)
		}
	}
	open := map[string]bool{}
	for _, flow := range literal(t, all["modules/network"].local(t, "flows")).AsValueMap() {
		f := flow.AsValueMap()
		open[f["from"].AsString()+" "+f["to"].AsString()+" "+f["port"].AsBigFloat().String()] = true
	}
	for _, want := range []string{"balancer services 8080", "balancer services 9090", "balancer pages 8080", "services database 5432", "services nats 4222", "nats nats 6222"} {
		if !open[want] {
			t.Errorf("the network doesn't let %s", want)
		}
	}
}

package main

import (
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The gateway of docker-compose.yml routes as this program does.
func TestCaddyfileRoutesAsTheGatewayDoes(t *testing.T) {
	body, err := os.ReadFile("../gateway/Caddyfile")
	if err != nil {
		t.Fatal(err)
	}
	caddyfile := string(body)
	if want := "@scheduling path_regexp " + ofDoctor.String() + "\n"; !strings.Contains(caddyfile, want) {
		t.Errorf("Caddyfile lacks %q", want)
	}
	for name, matcher := range map[string]string{"scheduling": "@schedulingPrefix", "notifier": "@notifier"} {
		line := regexp.MustCompile(regexp.QuoteMeta(matcher) + ` path (.+)`).FindStringSubmatch(caddyfile)
		if line == nil {
			t.Fatalf("Caddyfile lacks %s", matcher)
		}
		got := strings.Fields(line[1])
		var want []string
		for _, p := range prefixes[name] {
			want = append(want, p, p+"/*")
		}
		slices.Sort(got)
		slices.Sort(want)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: gateway.go (-) and Caddyfile (+) differ:\n%s", name, diff)
		}
	}
}

// Every path that a service documents is routed to it.
func TestRoutesReachEveryDocumentedPath(t *testing.T) {
	for _, name := range []string{"users", "scheduling", "notifier"} {
		spec, err := os.ReadFile("../../services/" + name + "/internal/api/openapi.yaml")
		if err != nil {
			t.Fatal(err)
		}
		paths := regexp.MustCompile(`(?m)^  (/\S+):$`).FindAllSubmatch(spec, -1)
		if len(paths) == 0 {
			t.Fatalf("%s documents no path: has the file's form changed?", name)
		}
		for _, p := range paths {
			if got := route(string(p[1])); got != name {
				t.Errorf("%s of %s is routed to %s", p[1], name, got)
			}
		}
	}
}

// Every link in an e-mail opens a page behind the gateway.
func TestLinksOfEmailsHavePages(t *testing.T) {
	files, err := filepath.Glob("../../services/notifier/internal/mail/testdata/golden/*/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no messages found: %v", err)
	}
	for _, file := range files {
		body, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`https://app\.healthmed\.example(/[^\s?]+)`).FindAllSubmatch(body, -1) {
			if _, ok := ownPage(string(m[1])); !ok {
				t.Errorf("%s: %s has no page", filepath.Base(file), m[1])
			}
		}
	}
}

// The pages that belong to no service are the same behind both gateways.
func TestCaddyfileServesThePagesTheGatewayDoes(t *testing.T) {
	body, err := os.ReadFile("../gateway/Caddyfile")
	if err != nil {
		t.Fatal(err)
	}
	line := regexp.MustCompile(`@pages path (.+)`).FindStringSubmatch(string(body))
	if line == nil {
		t.Fatal("Caddyfile lacks @pages")
	}
	got := strings.Fields(line[1])
	slices.Sort(got)
	if diff := cmp.Diff(slices.Sorted(maps.Keys(own)), got); diff != "" {
		t.Errorf("pages.go (-) and Caddyfile (+) differ:\n%s", diff)
	}
}

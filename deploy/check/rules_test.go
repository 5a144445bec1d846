package check

import (
	"log/slog"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql/parser"
)

const root = "../.."

// rules reads deploy/prometheus/rules.yml as Prometheus does.
func rules(t *testing.T) []rulefmt.Rule {
	t.Helper()
	groups, faults := rulefmt.ParseFile(root+"/deploy/prometheus/rules.yml", false, model.UTF8Validation, promql, slog.New(slog.DiscardHandler))
	if len(faults) > 0 {
		t.Fatal(faults)
	}
	var list []rulefmt.Rule
	for _, g := range groups.Groups {
		list = append(list, g.Rules...)
	}
	if len(list) == 0 {
		t.Fatal("no rule")
	}
	return list
}

var promql = parser.NewParser(parser.Options{})

// An alert without a playbook wakes somebody who then doesn't know what to do; a playbook without an alert is stale.
func TestAlerts_HaveAPlaybookEach(t *testing.T) {
	body, err := os.ReadFile(root + "/docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	_, playbooks, found := strings.Cut(string(body), "\n## Playbooks\n")
	if !found {
		t.Fatal("docs/operations.md has no heading Playbooks")
	}
	playbooks, _, _ = strings.Cut(playbooks, "\n## ")
	var written []string
	headings := regexp.MustCompile(`(?m)^### (\w+)$`).FindAllStringSubmatchIndex(playbooks, -1)
	for i, at := range headings {
		end := len(playbooks)
		if i+1 < len(headings) {
			end = headings[i+1][0]
		}
		name, text := playbooks[at[2]:at[3]], playbooks[at[1]:end]
		written = append(written, name)
		for _, part := range []string{"**Means.**", "**Look at.**", "**Do.**"} {
			if !strings.Contains(text, part) {
				t.Errorf("the playbook of %s lacks %s", name, part)
			}
		}
	}
	var alerts []string
	for _, r := range rules(t) {
		if r.Alert == "" {
			continue
		}
		alerts = append(alerts, r.Alert)
		if s := r.Labels["severity"]; s != "page" && s != "ticket" {
			t.Errorf("%s: severity %q, want page or ticket", r.Alert, s)
		}
		if want := "docs/operations.md#" + strings.ToLower(r.Alert); r.Annotations["playbook"] != want {
			t.Errorf("%s: playbook %q, want %q", r.Alert, r.Annotations["playbook"], want)
		}
		if r.Annotations["summary"] == "" {
			t.Errorf("%s has no summary", r.Alert)
		}
	}
	slices.Sort(alerts)
	slices.Sort(written)
	if diff := cmp.Diff(alerts, written); diff != "" {
		t.Errorf("alerts (-) and playbooks (+) differ:\n%s", diff)
	}
}

// expressions are all that rules and dashboards ask Prometheus, by where they stand.
func expressions(t *testing.T) map[string]string {
	t.Helper()
	found := map[string]string{}
	for _, r := range rules(t) {
		found["rule "+r.Alert+r.Record] = r.Expr
	}
	for _, d := range dashboards(t) {
		for _, p := range d.Panels {
			for _, target := range p.Targets {
				found[d.UID+", "+p.Title+", "+target.RefID] = strings.ReplaceAll(target.Expr, "$job", "scheduling")
			}
		}
	}
	return found
}

// selectors lists what an expression selects, leaving out what the rules themselves record and what Prometheus makes.
func selectors(t *testing.T, expression string, recorded map[string]string) []*parser.VectorSelector {
	t.Helper()
	expr, err := promql.ParseExpr(expression)
	if err != nil {
		t.Errorf("%s: %v", expression, err)
		return nil
	}
	var list []*parser.VectorSelector
	parser.Inspect(expr, func(n parser.Node, _ []parser.Node) error {
		if s, ok := n.(*parser.VectorSelector); ok && recorded[s.Name] == "" && s.Name != "up" && s.Name != "ALERTS" {
			list = append(list, s)
		}
		return nil
	})
	return list
}

// recorded gives the expressions that rules record, by name.
func recorded(t *testing.T) map[string]string {
	t.Helper()
	byName := map[string]string{}
	for _, r := range rules(t) {
		if r.Record != "" {
			byName[r.Record] = r.Expr
		}
	}
	return byName
}

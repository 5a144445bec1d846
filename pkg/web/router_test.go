package web

import (
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// naive says which template fits the path, segment by segment, and with which values; the one with a literal in the
// first place where two differ wins.
func naive(templates []string, path string) (string, []string) {
	best, bestKey := "", ""
	var bestValues []string
	for _, template := range templates {
		want, have := strings.Split(template, "/"), strings.Split(path, "/")
		if len(want) != len(have) {
			continue
		}
		key, ok := "", true
		var values []string
		for i := range want {
			open, shut := strings.Index(want[i], "{"), strings.Index(want[i], "}")
			if open < 0 {
				ok = ok && want[i] == have[i]
				key += "0"
				continue
			}
			prefix, suffix := want[i][:open], want[i][shut+1:]
			if len(have[i]) <= len(prefix)+len(suffix) || !strings.HasPrefix(have[i], prefix) || !strings.HasSuffix(have[i], suffix) {
				ok = false
				break
			}
			values = append(values, have[i][len(prefix):len(have[i])-len(suffix)])
			key += string(rune('9' - len(prefix) - len(suffix)))
		}
		if ok && (best == "" || key < bestKey) {
			best, bestKey, bestValues = template, key, values
		}
	}
	return best, bestValues
}

func TestRouter_FindsWhatFits(t *testing.T) {
	segment := rapid.SampledFrom([]string{"v1", "a", "b", "{x}", "{x}.ics", "c{x}"})
	part := rapid.SampledFrom([]string{"v1", "a", "b", "c", "", "a.ics", ".ics", "cd", "c.ics", "%2F", ".."})
	rapid.Check(t, func(t *rapid.T) {
		var r router
		var templates []string
		for _, segments := range rapid.SliceOfNDistinct(rapid.SliceOfN(segment, 1, 4), 1, 8, func(s []string) string { return strings.Join(s, "/") }).Draw(t, "templates") {
			template := "/" + strings.Join(segments, "/")
			templates = append(templates, template)
			if err := r.add(&operation{method: "GET", route: template}); err != nil {
				t.Fatal(err)
			}
		}
		path := "/" + strings.Join(rapid.SliceOfN(part, 1, 4).Draw(t, "path"), "/")
		want, wantValues := naive(templates, path)
		var got string
		found, values := r.find(path, nil)
		if found != nil {
			got = found.ops["GET"].route
		}
		if got != want || got != "" && !slices.Equal(values, wantValues) {
			t.Errorf("%s among %v: got %q %q, want %q %q", path, templates, got, values, want, wantValues)
		}
	})
}

func TestRouter_RefusesTheSamePathTwice(t *testing.T) {
	var r router
	if err := r.add(&operation{method: "GET", route: "/v1/{id}"}); err != nil {
		t.Fatal(err)
	}
	if err := r.add(&operation{method: "POST", route: "/v1/{other}"}); err != nil {
		t.Errorf("another method: %v", err)
	}
	if err := r.add(&operation{method: "GET", route: "/v1/{other}"}); err == nil {
		t.Error("accepted")
	}
}

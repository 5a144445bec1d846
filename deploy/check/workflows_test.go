package check

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// workflow is what matters here of a GitHub workflow; actionlint (make lint) reads all of it.
type workflow struct {
	Permissions map[string]string
	Concurrency any
	Jobs        map[string]struct {
		Permissions map[string]string
		Concurrency any
		Environment string
		Steps       []struct{ Run string }
	}
}

// workflows gives each with its text, by name.
func workflows(t *testing.T) (read map[string]workflow, texts map[string]string) {
	t.Helper()
	files, err := filepath.Glob(root + "/.github/workflows/*.yml")
	if err != nil || len(files) < 5 {
		t.Fatalf("%d workflows: %v", len(files), err)
	}
	read, texts = map[string]workflow{}, map[string]string{}
	for _, file := range files {
		body, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var w workflow
		if err := yaml.Unmarshal(body, &w); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		name := strings.TrimSuffix(filepath.Base(file), ".yml")
		read[name], texts[name] = w, string(body)
	}
	return read, texts
}

// An action is code that runs with the job's permissions, and a tag can be moved.
func TestWorkflows_PinActionsByCommit(t *testing.T) {
	_, texts := workflows(t)
	pinned := regexp.MustCompile(`^(\./\S+|[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+)$`)
	for name, text := range texts {
		for _, m := range regexp.MustCompile(`(?m)uses: (.+)$`).FindAllStringSubmatch(text, -1) {
			if !pinned.MatchString(m[1]) {
				t.Errorf("%s: %s is not a commit with its version", name, m[1])
			}
		}
	}
}

// A job starts with no permission and is given what it needs; credentials are those of a role, for an hour or two.
func TestWorkflows_GiveJobsWhatTheyNeed(t *testing.T) {
	read, texts := workflows(t)
	for name, w := range read {
		if w.Permissions == nil || len(w.Permissions) > 0 {
			t.Errorf("%s: permissions: {} is missing", name)
		}
		for job, j := range w.Jobs {
			for permission, level := range j.Permissions {
				if permission+": "+level != "contents: read" && permission+": "+level != "id-token: write" {
					t.Errorf("%s, %s: %s: %s", name, job, permission, level)
				}
			}
			if len(j.Permissions) == 0 {
				t.Errorf("%s, %s: says no permission", name, job)
			}
		}
		if strings.Contains(texts[name], "secrets.") || strings.Contains(texts[name], "pull_request_target") {
			t.Errorf("%s: no stored secret, and nothing of a fork's with our permissions", name)
		}
	}
}

// What changes AWS waits for the reviewers of an environment.
func TestWorkflows_ChangesWaitForAPerson(t *testing.T) {
	read, _ := workflows(t)
	changes := 0
	for name, w := range read {
		for job, j := range w.Jobs {
			for _, step := range j.Steps {
				if !strings.Contains(step.Run, "release.sh") && !strings.Contains(step.Run, "destroy.sh") {
					continue
				}
				changes++
				if j.Environment == "" {
					t.Errorf("%s, %s: changes AWS without an environment", name, job)
				}
				if j.Concurrency == nil {
					t.Errorf("%s, %s: two may change AWS at once", name, job)
				}
			}
		}
	}
	if read["release"].Concurrency != nil {
		t.Error("a release that waits for a person keeps the next commits waiting")
	}
	if changes != 2 {
		t.Errorf("%d jobs change AWS, want the release and the destruction", changes)
	}
}

// The workflows run what anybody can run: the scripts and targets are there.
func TestWorkflows_RunWhatIsThere(t *testing.T) {
	makefile, err := os.ReadFile(root + "/Makefile")
	if err != nil {
		t.Fatal(err)
	}
	_, texts := workflows(t)
	for name, text := range texts {
		for _, m := range regexp.MustCompile(`(?m)run: (deploy/\S+|\.ci/run)`).FindAllStringSubmatch(text, -1) {
			info, err := os.Stat(filepath.Join(root, m[1]))
			if err != nil || info.Mode()&0o111 == 0 {
				t.Errorf("%s: %s can't be run: %v", name, m[1], err)
			}
		}
		for _, m := range regexp.MustCompile(`(?m)run: make (\S+)`).FindAllStringSubmatch(text, -1) {
			if !strings.Contains(string(makefile), "\n"+m[1]+":") {
				t.Errorf("%s: no make %s", name, m[1])
			}
		}
		for _, m := range regexp.MustCompile(`'(deploy/[\w/]*Dockerfile)'`).FindAllStringSubmatch(text, -1) {
			if _, err := os.Stat(filepath.Join(root, m[1])); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	if !strings.Contains(texts["ci"], "run: .ci/run\n") {
		t.Error("ci doesn't run .ci/run")
	}
}

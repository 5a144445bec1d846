package check

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// stubs stand in for what the scripts call. Each writes what it was told into $CALLS, and answers as $OUTPUTS and the test
// say: UNREADABLE is a state that can't be read, FAILS a call that fails, EXIT_CODE what one-shot tasks end with, OLDER two
// releases of which the first is part of the second.
var stubs = map[string]string{
	"terraform": `
case "$1 $2" in
"output -json")
	[ -z "${UNREADABLE:-}" ] || { echo "Error: Failed to load state" >&2; exit 1; }
	if [ $# = 2 ]; then echo "$OUTPUTS"; else jq -e --arg name "$3" '.[$name].value' <<<"$OUTPUTS"; fi
	exit
	;;
esac
echo "terraform $*" >>"$CALLS"
if [ -n "${FAILS:-}" ] && grep -qF -e "$FAILS" <<<"$*"; then exit 1; fi
[ "$1" != plan ] || echo "Plan: 1 to add"`,
	"aws": `
case "$2" in
run-task) echo "aws run-task $(sed -E 's/.*--task-definition ([^ ]+).*/\1/' <<<"$*")" >>"$CALLS"; echo arn:task ;;
describe-tasks) echo "${EXIT_CODE:-0}" ;;
esac`,
	"git": `
[ "$*" = "merge-base --is-ancestor ${OLDER:-}" ]`,
}

// TestTerraform_ReleaseGoesStepByStep runs the scripts: which steps in which order, and that none follows one that failed.
func TestTerraform_ReleaseGoesStepByStep(t *testing.T) {
	t.Parallel()
	const (
		created = `{"tasks": {"value": {"roles": "roles:1", "migrate-users": "users:1", "migrate-scheduling": "scheduling:1", "migrate-notifier": "notifier:1"}},
			"run_task": {"value": {"cluster": "c", "subnets": ["s"], "security_group": "g"}}, "origin": {"value": "https://api"}`
		first  = created + `, "serves": {"value": false}, "image_tag": {"value": "v2"}}`
		serves = created + `, "serves": {"value": true}, "image_tag": {"value": "v1"}}`
		start  = "terraform init -backend-config=bucket=states\n"
		wait   = "terraform apply -auto-approve -var serves=true -var image_tag=v1 -var migrate_image_tag=v2\n"
		apply  = "terraform apply -auto-approve -var image_tag=v2\n"
		roles  = "aws run-task roles:1\n"
		tasks  = roles + "aws run-task users:1\naws run-task scheduling:1\naws run-task notifier:1\n"
		plan   = "terraform plan -no-color -lock=false -refresh=false -var image_tag="
	)
	for name, tt := range map[string]struct {
		script string
		args   []string
		env    []string
		want   string
		fails  bool
	}{
		"the first release": {
			script: "release.sh", args: []string{"staging", "v2"}, env: []string{"OUTPUTS=" + first},
			want: start + "terraform apply -auto-approve -var serves=false -var image_tag=v2 -var migrate_image_tag=v2\n" + tasks + apply,
		},
		"a later one migrates while the one before serves": {
			script: "release.sh", args: []string{"staging", "v2"}, env: []string{"OUTPUTS=" + serves},
			want: start + wait + tasks + apply,
		},
		"back, without migrations": {
			script: "release.sh", args: []string{"staging", "v2"}, env: []string{"OUTPUTS=" + serves, "MIGRATE=false"},
			want: start + apply,
		},
		"a state that can't be read is not an empty one": {
			script: "release.sh", args: []string{"staging", "v2"}, env: []string{"OUTPUTS=" + serves, "UNREADABLE=yes"},
			want: start, fails: true,
		},
		"nothing migrates when the apply before failed": {
			script: "release.sh", args: []string{"staging", "v2"}, env: []string{"OUTPUTS=" + serves, "FAILS=migrate_image_tag"},
			want: start + wait, fails: true,
		},
		"nothing serves that wasn't migrated": {
			script: "release.sh", args: []string{"staging", "v2"}, env: []string{"OUTPUTS=" + serves, "EXIT_CODE=1"},
			want: start + wait + roles, fails: true,
		},
		"a task that never ran is no success": {
			script: "release.sh", args: []string{"staging", "v2"}, env: []string{"OUTPUTS=" + serves, "EXIT_CODE=None"},
			want: start + wait + roles, fails: true,
		},
		"an older one isn't taken for a new one": {
			script: "release.sh", args: []string{"staging", "v0"}, env: []string{"OUTPUTS=" + serves, "OLDER=v0 v1"},
			want: start, fails: true,
		},
		"an older one, on purpose": {
			script: "release.sh", args: []string{"staging", "v0"}, env: []string{"OUTPUTS=" + serves, "OLDER=v0 v1", "MIGRATE=false"},
			want: start + "terraform apply -auto-approve -var image_tag=v0\n",
		},
		"a release needs its tag":      {script: "release.sh", args: []string{"staging"}, fails: true},
		"an environment is one of two": {script: "release.sh", args: []string{"elsewhere", "v2"}, fails: true},
		"a plan of a tag": {
			script: "plan.sh", args: []string{"staging", "v2"}, env: []string{"OUTPUTS=" + serves},
			want: start + plan + "v2\n",
		},
		"a plan of what serves": {
			script: "plan.sh", args: []string{"staging"}, env: []string{"OUTPUTS=" + serves},
			want: start + plan + "v1\n",
		},
		"a plan before anything": {
			script: "plan.sh", args: []string{"staging"}, env: []string{"OUTPUTS={}"},
			want: start + plan + "none\n",
		},
		"a plan that fails is told": {
			script: "plan.sh", args: []string{"staging"}, env: []string{"OUTPUTS={}", "FAILS=-refresh=false"},
			want: start + plan + "none\n", fails: true,
		},
		"staging down": {
			script: "destroy.sh", args: []string{"staging"}, env: []string{"OUTPUTS=" + serves},
			want: start + "terraform destroy -auto-approve -var image_tag=v1\n",
		},
		"production stays": {script: "destroy.sh", args: []string{"production"}, fails: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, printed, err := runScript(t, tt.script, tt.args, append(tt.env, "STATE_BUCKET=states"))
			if (err != nil) != tt.fails {
				t.Errorf("%v\n%s", err, printed)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("calls: want (-), got (+):\n%s", diff)
			}
		})
	}
	t.Run("nothing without its bucket", func(t *testing.T) {
		for _, script := range []string{"plan.sh", "release.sh", "destroy.sh"} {
			if got, printed, err := runScript(t, script, []string{"staging", "v2"}, nil); err == nil || got != "" {
				t.Errorf("%s: called %q\n%s", script, got, printed)
			}
		}
	})
}

// runScript gives what the script called, in order.
func runScript(t *testing.T, script string, args, env []string) (calls string, printed []byte, err error) {
	t.Helper()
	leaveOut := t.Skipf
	if os.Getenv("CI") != "" {
		leaveOut = t.Fatalf
	}
	if _, err := exec.LookPath("jq"); err != nil {
		leaveOut("the scripts were not tried: %v", err)
	}
	dir := t.TempDir()
	for _, name := range []string{"lib.sh", "plan.sh", "release.sh", "destroy.sh"} {
		body, err := os.ReadFile(filepath.Join(terraform, name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), body, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"environments/staging", "environments/production", "bin"} {
		if err := os.MkdirAll(filepath.Join(dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for name, body := range stubs {
		body = "#!/usr/bin/env bash\nset -euo pipefail" + body + "\n"
		if err := os.WriteFile(filepath.Join(dir, "bin", name), []byte(body), 0o700); err != nil { // #nosec G306: it is run
			t.Fatal(err)
		}
	}
	command := exec.CommandContext(t.Context(), "bash", append([]string{filepath.Join(dir, script)}, args...)...)
	command.Env = append([]string{
		"PATH=" + filepath.Join(dir, "bin") + ":" + os.Getenv("PATH"), "HOME=" + dir, "CALLS=" + filepath.Join(dir, "calls"),
	}, env...)
	printed, err = command.CombinedOutput()
	recorded, _ := os.ReadFile(filepath.Join(dir, "calls")) // none, where nothing was called
	return string(recorded), printed, err
}

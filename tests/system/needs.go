package system

import (
	"os"
	"os/exec"
	"testing"
)

// Needs leaves the test out where a program is missing that this repository can do without.
func Needs(t testing.TB, programs ...string) {
	t.Helper()
	for _, program := range programs {
		if _, err := exec.LookPath(program); err != nil {
			LeaveOut(t, "%v", err)
		}
	}
}

// LeaveOut ends a test that cannot be tried on this machine. Continuous integration (CI is set) must leave nothing out.
func LeaveOut(t testing.TB, format string, args ...any) {
	t.Helper()
	if os.Getenv("CI") != "" {
		t.Fatalf("not tried: "+format, args...)
	}
	t.Skipf("not tried: "+format, args...)
}

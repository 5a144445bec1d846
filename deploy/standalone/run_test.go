package main

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/healthmed/healthmed/pkg/lockfile"
)

// Two of them over one folder would write the same streams: the second ends before it touches anything.
func TestRun_RefusesAFolderThatIsInUse(t *testing.T) {
	dir := t.TempDir()
	lock, err := lockfile.Take(filepath.Join(dir, "lock"))
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	addr := "127.0.0.1:0"
	err = run(t.Context(), Config{HTTPAddr: addr, InboxAddr: addr, NATSAddr: addr, DataDir: dir}, io.Discard)
	if err == nil || !strings.Contains(err.Error(), "DATA_DIR") || !strings.Contains(err.Error(), "in use by another process") {
		t.Errorf("the error is %v, want one that says that the folder is in use", err)
	}
	if _, err := os.Stat(filepath.Join(dir, "nats")); err == nil {
		t.Error("the event server was started over the folder all the same")
	}
}

func TestCommand_TakesNoArguments(t *testing.T) {
	for _, args := range [][]string{{"help"}, {"--version"}, {"migrate", "up"}} {
		if err := command(t.Context(), args); err == nil || !strings.Contains(err.Error(), args[0]) {
			t.Errorf("%q: %v", args, err)
		}
	}
}

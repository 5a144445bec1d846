package main

import (
	"os"
	"testing"
)

// An option that preview doesn't know isn't the name of a folder.
func TestRun_PreviewTakesAFolderAlone(t *testing.T) {
	t.Chdir(t.TempDir())
	for _, args := range [][]string{{"preview", "--help"}, {"preview", "-o"}, {"preview", "a", "b"}, {"preview", ""}} {
		if err := run(t.Context(), args); err == nil {
			t.Errorf("%q is not refused", args)
		}
	}
	made, err := os.ReadDir(".")
	if err != nil || len(made) != 0 {
		t.Errorf("made %v: %v", made, err)
	}
	if err := run(t.Context(), []string{"preview", "shown"}); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat("shown/index.html"); err != nil {
		t.Error(err)
	}
}

package sesinbox_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/healthmed/healthmed/pkg/sesinbox"
)

// fileNames of a directory.
func fileNames(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	names := []string{}
	for _, entry := range entries {
		names = append(names, entry.Name())
	}
	return names
}

func TestStore_EverythingIsThereAfterARestart(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new", "inbox")
	before := start(t, sesinbox.Config{Dir: dir})
	ids := []string{}
	for _, subject := range []string{"um", "dois", "três"} { // all within the same millisecond
		ids = append(ids, before.send(t, rawInput(mailWith(subject, "x"), "ana@example.com")))
	}
	after := start(t, sesinbox.Config{Dir: dir})
	if diff := cmp.Diff(before.Messages(), after.Messages()); diff != "" {
		t.Errorf("(-before +after):\n%s", diff)
	}
	for _, id := range ids {
		want, _ := before.Raw(id)
		if got, ok := after.Raw(id); !ok || string(got) != string(want) {
			t.Errorf("source of %s: %q, %v", id, got, ok)
		}
	}
	if found := getJSON[listing](t, after, "/messages?q=tres"); len(found.Items) != 1 {
		t.Errorf("search finds %d", len(found.Items))
	}
	newest := after.send(t, rawInput(plainMail))
	if got := after.Messages()[0].ID; got != newest {
		t.Errorf("newest is %s, want %s", got, newest)
	}
}

func TestStore_OldestGoBeyondTheLimit(t *testing.T) {
	for _, kind := range []string{"memory", "directory"} {
		t.Run(kind, func(t *testing.T) {
			dir := ""
			if kind == "directory" {
				dir = t.TempDir()
			}
			e := start(t, sesinbox.Config{Dir: dir, MaxMessages: 3})
			var ids []string
			for range 5 {
				ids = append(ids, e.send(t, rawInput(plainMail)))
			}
			var got []string
			for _, m := range e.Messages() {
				got = append(got, m.ID)
			}
			want := slices.Clone(ids[2:])
			slices.Reverse(want)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if _, ok := e.Raw(ids[0]); ok {
				t.Error("the oldest is still there")
			}
			if dir == "" {
				return
			}
			if names := fileNames(t, dir); len(names) != 3 {
				t.Errorf("files: %v", names)
			}
			if smaller := start(t, sesinbox.Config{Dir: dir, MaxMessages: 1}); len(smaller.Messages()) != 1 || len(fileNames(t, dir)) != 1 {
				t.Errorf("a lower limit keeps %d messages, %d files", len(smaller.Messages()), len(fileNames(t, dir)))
			}
		})
	}
}

func TestStore_SurvivesWhatACrashLeaves(t *testing.T) {
	dir := t.TempDir()
	id := start(t, sesinbox.Config{Dir: dir}).send(t, rawInput(plainMail))
	for name, content := range map[string]string{
		"half.tmp":   `{"id":"half"`,
		"empty.msg":  "",
		"noise.msg":  "\x00\x01\x02\n",
		"other.msg":  `{"id":"../../escape"}` + "\nFrom: a@b\r\n\r\n",
		"notes.text": "not ours",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	e := start(t, sesinbox.Config{Dir: dir})
	if got := e.Messages(); len(got) != 1 || got[0].ID != id {
		t.Errorf("messages = %+v", got)
	}
	want := []string{id + ".msg", "empty.msg", "noise.msg", "notes.text", "other.msg"}
	slices.Sort(want)
	if diff := cmp.Diff(want, fileNames(t, dir)); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
}

func TestStore_OnlyItsOwnerReadsTheFiles(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "inbox")
	id := start(t, sesinbox.Config{Dir: dir}).send(t, rawInput(plainMail))
	for name, want := range map[string]os.FileMode{dir: 0o700, filepath.Join(dir, id+".msg"): 0o600} {
		info, err := os.Stat(name)
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm() != want {
			t.Errorf("%s has mode %o, want %o", filepath.Base(name), info.Mode().Perm(), want)
		}
	}
}

func TestStore_AcknowledgedMeansStoredUnderConcurrency(t *testing.T) {
	dir := t.TempDir()
	e := start(t, sesinbox.Config{Dir: dir})
	var mu sync.Mutex
	acknowledged := make(map[string]string)
	var senders sync.WaitGroup
	for sender := range 8 {
		senders.Go(func() {
			for i := range 25 {
				subject := fmt.Sprintf("%d-%d", sender, i)
				out, err := e.client.SendEmail(t.Context(), rawInput(mailWith(subject, "x")))
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				acknowledged[*out.MessageId] = subject
				mu.Unlock()
			}
		})
	}
	senders.Wait()
	stored := make(map[string]string)
	for _, m := range start(t, sesinbox.Config{Dir: dir}).Messages() {
		stored[m.ID] = m.Subject
	}
	if diff := cmp.Diff(acknowledged, stored); diff != "" || len(stored) != 200 {
		t.Errorf("%d stored (-acknowledged +stored):\n%s", len(stored), diff)
	}
}

func TestNew_RefusesWhatItCanNotKeep(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, cfg := range map[string]sesinbox.Config{
		"directory is a file": {Dir: file}, "negative rate": {MaxSendRate: -1}, "negative limit": {MaxMessages: -1},
	} {
		if _, err := sesinbox.New(cfg); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

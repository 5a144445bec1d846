package mail_test

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/healthmed/healthmed/services/notifier/internal/mail"
	"github.com/healthmed/healthmed/services/notifier/internal/notice"
	"github.com/healthmed/healthmed/services/notifier/internal/preview"
)

var update = flag.Bool("update", false, "write the golden files anew; look at what changed before committing it")

func locales() []notice.Locale { return []notice.Locale{notice.Portuguese, notice.English} }

func composer(t testing.TB) *mail.Composer {
	t.Helper()
	c, err := mail.NewComposer(mail.Config{From: "Health&Med <agenda@healthmed.example>", AppURL: "https://app.healthmed.example"})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// Every message in both languages is word for word as it was last approved.
func TestCompose_Golden(t *testing.T) {
	c := composer(t)
	for _, l := range locales() {
		for _, s := range preview.Samples(l) {
			t.Run(string(l)+"/"+s.Name, func(t *testing.T) {
				m, err := c.Compose(s.Notice)
				if err != nil {
					t.Fatal(err)
				}
				base := filepath.Join("testdata", "golden", string(l), s.Name)
				golden(t, base+".txt", "Subject: "+m.Subject+"\n\n"+strings.ReplaceAll(m.Text, "\r\n", "\n"))
				golden(t, base+".html", m.HTML)
				golden(t, base+".ics", strings.ReplaceAll(string(m.Calendar), "\r\n", "\n"))
			})
		}
	}
}

// golden compares with a file; no content means that there must be none.
func golden(t *testing.T, file, got string) {
	t.Helper()
	if *update && got != "" {
		if err := os.MkdirAll(filepath.Dir(file), 0o750); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil && (got != "" || !os.IsNotExist(err)) {
		t.Fatalf("%v: with -update it is written", err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-) and the message (+) differ:\n%s", file, diff)
	}
}

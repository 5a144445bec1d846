package localpg

import (
	"archive/zip"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// install puts programs in a folder that say they are of a version.
func install(t *testing.T, dir, version string) string {
	t.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"initdb", "postgres"} {
		script := "#!/bin/sh\necho 'postgres (PostgreSQL) " + version + " (Debian)'\n"
		if err := os.WriteFile(filepath.Join(dir, name), []byte(script), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func cluster(t *testing.T, version string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "PG_VERSION"), []byte(version+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestFinder(t *testing.T) { // not parallel: it changes PATH
	root := t.TempDir()
	old := install(t, filepath.Join(root, "usr", "13", "bin"), "13.21")
	fifteen := install(t, filepath.Join(root, "usr", "15", "bin"), "15.13")
	onPath := install(t, filepath.Join(root, "path"), "14.2")
	fetched := filepath.Join(root, "fetched")
	noNetwork := errors.New("no network")
	offline := func(context.Context) error { return noNetwork }
	online := func(context.Context) error { install(t, filepath.Join(fetched, "bin"), "18.3"); return nil }
	everywhere := []string{filepath.Join(root, "usr", "*", "bin")}

	for _, c := range []struct {
		name string
		path string
		f    finder
		want string
		err  string // part of it
	}{
		{name: "PATH first", path: onPath, f: finder{places: everywhere}, want: onPath},
		{name: "newest of the usual places", f: finder{places: everywhere}, want: fifteen},
		{name: "the version that made the cluster", path: onPath, f: finder{places: everywhere, data: cluster(t, "13")}, want: old},
		{name: "that version is not there", path: onPath, f: finder{places: everywhere, data: cluster(t, "12")}, err: "made by PostgreSQL 12, which is not installed"},
		{name: "nothing there, no network", f: finder{fetch: offline}, err: "apt-get install postgresql"},
		{name: "the network's reason is told too", f: finder{fetch: offline}, err: "no network"},
		{name: "nothing there, fetched", f: finder{fetch: online}, want: filepath.Join(fetched, "bin")},
		{name: "fetched before", f: finder{fetch: offline}, want: filepath.Join(fetched, "bin")},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Setenv("PATH", c.path+":/usr/bin:/bin")
			if c.path == "" {
				t.Setenv("PATH", "/bin-none")
			}
			c.f.fetched = fetched
			if c.f.data == "" {
				c.f.data = filepath.Join(root, "none")
			}
			got, err := c.f.find(t.Context())
			if c.err != "" {
				if err == nil || !strings.Contains(err.Error(), c.err) {
					t.Fatalf("error %v, want %q in it", err, c.err)
				}
				return
			}
			if err != nil || got != c.want {
				t.Errorf("found %q (%v), want %q", got, err, c.want)
			}
		})
	}
}

func TestCompareVersions(t *testing.T) {
	t.Parallel()
	got := []string{"/usr/lib/postgresql/9.6/bin", "/opt/postgresql/bin", "/usr/lib/postgresql/16/bin", "/opt/opt/postgresql@17/bin", "/usr/pgsql-15/bin"}
	slices.SortFunc(got, compareVersions)
	want := []string{"/opt/postgresql/bin", "/usr/lib/postgresql/9.6/bin", "/usr/pgsql-15/bin", "/usr/lib/postgresql/16/bin", "/opt/opt/postgresql@17/bin"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("order (-want +got):\n%s", diff)
	}
}

// What is fetched is a jar around an archive, as Maven Central has it; here with programs that do nothing.
func TestFetch_UnpacksTheBinariesOfAMirror(t *testing.T) {
	t.Parallel()
	archive, err := os.ReadFile(filepath.Join("testdata", "binaries.txz"))
	if err != nil {
		t.Fatal(err)
	}
	mirror := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasPrefix(r.URL.Path, "/maven/io/zonky/test/postgres/") || !strings.HasSuffix(r.URL.Path, ".jar") {
			http.NotFound(w, r)
			return
		}
		jar := zip.NewWriter(w)
		if f, err := jar.Create("postgres.txz"); err == nil {
			_, _ = f.Write(archive)
		}
		_ = jar.Close()
	}))
	defer mirror.Close()
	cache := t.TempDir()
	cfg := Config{Cache: cache, Mirror: mirror.URL + "/maven/", Log: slog.New(slog.DiscardHandler)}
	dir := fetchDir(cache)
	if err := fetch(t.Context(), cfg, dir); err != nil {
		t.Fatal(err)
	}
	if !hasPrograms(filepath.Join(dir, "bin")) {
		t.Error("no programs")
	}
	entries, err := os.ReadDir(cache)
	if err != nil || len(entries) != 1 {
		t.Errorf("%v left in the cache (%v), want the binaries alone", entries, err)
	}

	mirror.Close()
	if err := fetch(t.Context(), cfg, dir+"-other"); err == nil {
		t.Error("no error from a mirror that is gone")
	}
}

package localpg

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	embedded "github.com/fergusstrange/embedded-postgres"
)

// ErrNoBinaries says what to install.
var ErrNoBinaries = errors.New("PostgreSQL is needed and was neither found on this machine nor could be fetched: " +
	"install it (Debian and Ubuntu: apt-get install postgresql; Fedora: dnf install postgresql-server; " +
	"macOS: brew install postgresql), or set DATABASE_URL to a server that is running")

// places are where distributions put a server's programs, which are often not on PATH.
func places() []string {
	return []string{
		"/usr/lib/postgresql/*/bin", "/usr/lib/postgresql*/bin", "/usr/libexec/postgresql*", "/usr/pgsql-*/bin",
		"/usr/local/pgsql/bin", "/opt/homebrew/opt/postgresql*/bin", "/usr/local/opt/postgresql*/bin",
		"/Applications/Postgres.app/Contents/Versions/*/bin", "/opt/postgresql*/bin", "/usr/local/lib/postgresql/bin",
	}
}

// finder looks for the folder of initdb and postgres.
type finder struct {
	data    string   // the cluster, which needs the version that made it
	places  []string // besides PATH
	fetched string   // where fetched binaries are or will be
	fetch   func(context.Context) error
}

func newFinder(cfg Config) finder {
	fetched := fetchDir(cfg.Cache)
	return finder{
		data: cfg.path("data"), places: places(), fetched: fetched,
		fetch: func(ctx context.Context) error { return fetch(ctx, cfg, fetched) },
	}
}

// find gives the folder of the version that made the cluster if there is one, else the first found, else fetched.
func (f finder) find(ctx context.Context) (string, error) {
	want := ""
	if b, err := os.ReadFile(filepath.Join(f.data, "PG_VERSION")); err == nil {
		want = strings.TrimSpace(string(b))
	}
	for _, bin := range f.candidates() {
		if want == "" || version(ctx, bin) == want {
			return bin, nil
		}
	}
	if want != "" && want != fetchVersion() {
		return "", fmt.Errorf("%s was made by PostgreSQL %s, which is not installed: install that version, or move "+
			"the folder away to start afresh", f.data, want)
	}
	if err := f.fetch(ctx); err != nil {
		return "", fmt.Errorf("%w (fetching: %w)", ErrNoBinaries, err)
	}
	return filepath.Join(f.fetched, "bin"), nil
}

// candidates lists folders that have both programs: what PATH names, then the newest of the usual places, then
// what was fetched before.
func (f finder) candidates() []string {
	var found []string
	add := func(dir string) {
		if hasPrograms(dir) && !slices.Contains(found, dir) {
			found = append(found, dir)
		}
	}
	if path, err := exec.LookPath("initdb"); err == nil {
		if file, err := filepath.EvalSymlinks(path); err == nil {
			add(filepath.Dir(file))
		}
	}
	for _, pattern := range f.places {
		dirs, _ := filepath.Glob(pattern) // the patterns are constants
		slices.SortFunc(dirs, func(a, b string) int { return -compareVersions(a, b) })
		for _, dir := range dirs {
			add(dir)
		}
	}
	add(filepath.Join(f.fetched, "bin"))
	return found
}

func hasPrograms(dir string) bool {
	for _, program := range []string{"initdb", "postgres"} {
		fi, err := os.Stat(filepath.Join(dir, program))
		if err != nil || fi.IsDir() || fi.Mode()&0o111 == 0 {
			return false
		}
	}
	return true
}

// compareVersions orders paths by the version in their last two parts: .../9.6/bin comes before .../15/bin.
func compareVersions(a, b string) int {
	return pathVersion(a) - pathVersion(b)
}

func pathVersion(path string) int {
	path = filepath.Join(filepath.Base(filepath.Dir(path)), filepath.Base(path))
	digit := func(r rune) bool { return r >= '0' && r <= '9' }
	start := strings.IndexFunc(path, digit)
	if start < 0 {
		return 0
	}
	number := path[start:]
	if end := strings.IndexFunc(number, func(r rune) bool { return !digit(r) }); end >= 0 {
		number = number[:end]
	}
	n, _ := strconv.Atoi(number) // a number that overflows is no version
	return n
}

// version is the major version of the programs in a folder, e.g. "15", or "".
func version(ctx context.Context, bin string) string {
	out, err := exec.CommandContext(ctx, filepath.Join(bin, "postgres"), "--version").Output()
	if err != nil {
		return ""
	}
	for field := range strings.FieldsSeq(string(out)) { // "postgres (PostgreSQL) 15.13 (Debian 15.13-1)"
		if field[0] >= '0' && field[0] <= '9' {
			major, _, _ := strings.Cut(field, ".")
			return major
		}
	}
	return ""
}

const fetchedVersion = embedded.V18

func fetchVersion() string {
	major, _, _ := strings.Cut(string(fetchedVersion), ".")
	return major
}

func fetchDir(cache string) string {
	if cache == "" {
		base, err := os.UserCacheDir()
		if err != nil {
			base = os.TempDir()
		}
		cache = filepath.Join(base, "healthmed")
	}
	if abs, err := filepath.Abs(cache); err == nil {
		cache = abs
	}
	return filepath.Join(cache, "postgresql-"+string(fetchedVersion))
}

// fetch downloads and unpacks the binaries. The library can do so only as a part of starting a server of its own,
// so a throwaway one is started and stopped; where that is impossible (as root), it fails after the unpacking,
// which is all that is wanted.
func fetch(ctx context.Context, cfg Config, dir string) error {
	cfg.Log.InfoContext(ctx, "fetching PostgreSQL, once", "version", string(fetchedVersion), "to", dir)
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return err
	}
	tmp, err := os.MkdirTemp(filepath.Dir(dir), "fetching-")
	if err != nil {
		return err
	}
	port, err := freePort(ctx)
	if err != nil {
		return err
	}
	unpacked := filepath.Join(tmp, "postgresql")
	from := embedded.DefaultConfig().Version(fetchedVersion).Port(uint32(port)).Logger(io.Discard).
		CachePath(filepath.Join(tmp, "cache")).BinariesPath(unpacked).RuntimePath(filepath.Join(tmp, "run"))
	if cfg.Mirror != "" {
		from = from.BinaryRepositoryURL(strings.TrimSuffix(cfg.Mirror, "/"))
	}
	done := make(chan error, 1)
	go func() { // the library takes no context
		server := embedded.NewDatabase(from)
		err := server.Start()
		if err == nil {
			err = server.Stop()
		}
		if hasPrograms(filepath.Join(unpacked, "bin")) {
			err = os.Rename(unpacked, dir)
			if hasPrograms(filepath.Join(dir, "bin")) { // by this process or, meanwhile, by another
				err = nil
			}
		}
		done <- errors.Join(err, os.RemoveAll(tmp))
	}()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case err = <-done:
		return err
	}
}

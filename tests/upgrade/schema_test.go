package upgrade

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/healthmed/healthmed/pkg/pgtest"
	"github.com/healthmed/healthmed/pkg/postgres"
)

// current is where each set of migrations is kept.
var current = map[string]string{
	"outbox":     "../../pkg/outbox/migrations",
	"keys":       "../../pkg/auth/keystore/migrations",
	"users":      "../../services/users/internal/postgres/migrations",
	"scheduling": "../../services/scheduling/internal/postgres/migrations",
	"notifier":   "../../services/notifier/internal/postgres/migrations",
}

// A database that has applied a migration will not do so again: a released one stays as it is, and what is new comes after.
func TestReleasedMigrationsStay(t *testing.T) {
	entries, err := os.ReadDir("released")
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		if !entry.IsDir() {
			continue
		}
		set := entry.Name()
		folder, ok := current[set]
		if !ok {
			t.Fatalf("where are today's migrations of %s?", set)
		}
		released, err := filepath.Glob("released/" + set + "/*.sql")
		if err != nil || len(released) == 0 {
			t.Fatalf("no released migrations of %s: %v", set, err)
		}
		var last string
		for _, file := range released {
			last = max(last, filepath.Base(file))
			was, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			is, err := os.ReadFile(filepath.Join(folder, filepath.Base(file)))
			if err != nil || !bytes.Equal(was, is) {
				t.Errorf("%s: %s has changed since its release (%v): add a migration instead", set, filepath.Base(file), err)
			}
		}
		files, err := filepath.Glob(folder + "/*.sql")
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			name := filepath.Base(file)
			if _, err := os.Stat("released/" + set + "/" + name); err != nil && name < last {
				t.Errorf("%s: %s is new and comes before %s, which databases have applied", set, name, last)
			}
		}
	}
}

// The last release's code can work on this release's schema.
func TestMigrationsOnlyAdd(t *testing.T) {
	text, err := os.ReadFile("released/contracts.txt")
	if err != nil {
		t.Fatal(err)
	}
	said := contracts(string(text))
	for _, service := range []string{"users", "scheduling", "notifier"} {
		t.Run(service, func(t *testing.T) {
			released := []postgres.Migrations{set("outbox", os.DirFS("released/outbox")), set(service, os.DirFS("released/"+service))}
			if _, err := os.Stat("released/keys"); err == nil { // not in the first release
				released = append(released, set("keys", os.DirFS("released/keys")))
			}
			before := migrated(t, released...)
			after := migrated(t, set("outbox", os.DirFS(current["outbox"])), set("keys", os.DirFS(current["keys"])), set(service, os.DirFS(current[service])))
			if len(before.columns) < 20 {
				t.Errorf("found only %d columns", len(before.columns))
			}
			faults, needless := unsaid(service, breaks(before, after), said)
			for _, f := range faults {
				t.Errorf("the last release would stumble: %s (see docs/operations.md, deploying)", f)
			}
			for _, line := range needless {
				t.Errorf("released/contracts.txt says what isn't so: %s", line)
			}
		})
	}
}

func set(name string, files fs.FS) postgres.Migrations {
	return postgres.Migrations{Table: "migrations_" + name, FS: files}
}

func migrated(t *testing.T, sets ...postgres.Migrations) schema {
	t.Helper()
	db, err := postgres.Open(t.Context(), pgtest.New(t, sets...))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	s, err := read(t.Context(), db)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

const base = `
CREATE TYPE state AS ENUM ('new', 'old');
CREATE TABLE visit (
	id int PRIMARY KEY, note text, place text NOT NULL DEFAULT 'here', state state NOT NULL, doctor int NOT NULL, nurse int);
CREATE UNIQUE INDEX visit_once ON visit (doctor, place);
CREATE FUNCTION told() RETURNS int LANGUAGE sql AS 'SELECT 1';`

// The guard itself must bark, and at nothing else.
func TestBreaks(t *testing.T) {
	before := migrated(t, set("test", migrations(base)))
	for change, want := range map[string]string{
		`ALTER TABLE visit DROP COLUMN note`:                                "column visit.note is gone",
		`ALTER TABLE visit RENAME COLUMN note TO remark`:                    "column visit.note is gone",
		`ALTER TABLE visit RENAME TO visits`:                                "column visit.id is gone",
		`ALTER TABLE visit ALTER COLUMN doctor TYPE text`:                   "column visit.doctor was integer and is text",
		`ALTER TABLE visit ALTER COLUMN note SET NOT NULL`:                  "column visit.note must no longer be null",
		`ALTER TABLE visit ALTER COLUMN place DROP DEFAULT`:                 "column visit.place has lost its default",
		`ALTER TABLE visit ADD COLUMN room int NOT NULL`:                    "column visit.room is new, must not be null and has no default",
		`ALTER TABLE visit ADD CHECK (doctor > 0) NOT VALID`:                "writes are refused that were not: visit: CHECK ((doctor > 0)) NOT VALID",
		`CREATE UNIQUE INDEX ON visit (nurse)`:                              "writes are refused that were not: visit: btree (nurse)",
		`ALTER TABLE visit ADD FOREIGN KEY (nurse) REFERENCES visit`:        "writes are refused that were not: visit: FOREIGN KEY (nurse) REFERENCES visit(id)",
		`DROP INDEX visit_once`:                                             "ON CONFLICT may have named visit: btree (doctor, place)",
		`DROP FUNCTION told`:                                                "function told() is gone",
		`ALTER TYPE state RENAME VALUE 'old' TO 'past'`:                     "value state.old is gone",
		`ALTER TABLE visit ADD COLUMN room int`:                             "",
		`ALTER TABLE visit ADD COLUMN room int NOT NULL DEFAULT 1`:          "",
		`CREATE TABLE room (id int PRIMARY KEY, name text NOT NULL UNIQUE)`: "",
		`CREATE INDEX ON visit (nurse)`:                                     "",
		`ALTER TABLE visit ALTER COLUMN doctor DROP NOT NULL`:               "",
		`ALTER TYPE state ADD VALUE 'lost'`:                                 "",
	} {
		t.Run(change, func(t *testing.T) {
			faults := breaks(before, migrated(t, set("test", migrations(base, change))))
			if want == "" && len(faults) > 0 || want != "" && !slices.Contains(faults, want) {
				t.Errorf("got %q, want %q", faults, want)
			}
		})
	}
}

func TestUnsaid(t *testing.T) {
	said := contracts("# why\nusers: column a.b is gone\nusers: column c.d is gone\nnotifier: something\n")
	faults, needless := unsaid("users", []string{"column a.b is gone", "column e.f is gone"}, said)
	if strings.Join(faults, ";") != "users: column e.f is gone" || strings.Join(needless, ";") != "users: column c.d is gone" {
		t.Errorf("unsaid %q, needless %q", faults, needless)
	}
}

// migrations makes a set of one migration for each text.
func migrations(texts ...string) fs.FS {
	files := fstest.MapFS{}
	for i, text := range texts {
		files[string(rune('1'+i))+"_step.sql"] = &fstest.MapFile{Data: []byte("-- +goose Up\n-- +goose StatementBegin\n" + text + "\n-- +goose StatementEnd\n")}
	}
	return files
}

package pgtest_test

import (
	"fmt"
	"testing"
	"testing/fstest"

	"github.com/healthmed/healthmed/pkg/pgtest"
	"github.com/healthmed/healthmed/pkg/postgres"
)

func migrations() postgres.Migrations {
	return postgres.Migrations{Table: "migrations_things", FS: fstest.MapFS{"1_things.sql": {Data: []byte(
		"-- +goose Up\nCREATE TABLE things (id int PRIMARY KEY);\nINSERT INTO things VALUES (1);\n")}}}
}

// Each parallel test finds what the migrations left, and nothing of the others.
func TestNew_GivesEachTestItsOwnMigratedDatabase(t *testing.T) {
	t.Parallel()
	for i := range 8 {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			t.Parallel()
			pool, err := postgres.Open(t.Context(), pgtest.New(t, migrations()))
			if err != nil {
				t.Fatal(err)
			}
			defer pool.Close()
			var n int
			if err := pool.QueryRow(t.Context(), "WITH new AS (INSERT INTO things VALUES (2)) SELECT count(*) FROM things").Scan(&n); err != nil {
				t.Fatal(err)
			}
			if n != 1 {
				t.Errorf("found %d things before ours, want the 1 of the migration", n)
			}
		})
	}
}

// BenchmarkNew measures what a test pays for its database once the server runs and the template is made.
func BenchmarkNew(b *testing.B) {
	pgtest.New(b, migrations())
	for b.Loop() {
		pgtest.New(b, migrations())
	}
}

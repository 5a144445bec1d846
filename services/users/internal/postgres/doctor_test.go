package postgres

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/healthmed/healthmed/pkg/pgtest"
	pg "github.com/healthmed/healthmed/pkg/postgres"
	"github.com/healthmed/healthmed/services/users/internal/account"
)

// fillDoctors lists 6,000 doctors: every tenth is a cardiologist, a quarter is called Silva, and one of them Zulmira.
const fillDoctors = `
	INSERT INTO users (id, role, status, version, name, name_key, email, locale, cpf_sealed, cpf_key_id, cpf_index,
		crm_number, crm_state, specialties, created_at, updated_at)
	SELECT gen_random_uuid(), 'doctor', 'active', 1, initcap(key), key, 'd' || n || '@example.com', 'pt-BR', '\x00', 'k', int4send(n),
		(1000 + n)::text, 'SP', ARRAY[CASE n % 10 WHEN 0 THEN 'cardiology' ELSE 'pediatrics' END], now(), now()
	FROM generate_series(1, 6000) n,
		LATERAL (SELECT CASE WHEN n = 6000 THEN 'zulmira silva' ELSE
			(ARRAY['ana', 'maria', 'mariana', 'pedro'])[1 + n % 4] || ' ' || (ARRAY['souza', 'silva', 'lima', 'silva'])[1 + n / 4 % 4] END AS key) named;
	INSERT INTO doctor_terms (term, name_key, doctor_id)
	SELECT term, name_key, id FROM users, LATERAL (
		SELECT 'a:' AS term UNION ALL SELECT 'c:' || crm_number UNION ALL SELECT 's:' || unnest(specialties)
		UNION ALL SELECT 'w:' || unnest(string_to_array(name_key, ' '))) t;`

// TestDoctors_ReadsAPageAndNoMore asks PostgreSQL's own count: a search scans no table, looks up the doctors of its page alone,
// and is planned once. One after the other, since the count is of the whole database.
func TestDoctors_ReadsAPageAndNoMore(t *testing.T) {
	cfg := pgtest.New(t, Migrations()...)
	cfg.StatementTimeout = time.Minute // filling takes longer than serving
	db, err := pg.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for _, statement := range []string{fillDoctors, `VACUUM ANALYZE users, doctor_terms`} {
		if _, err := db.Exec(t.Context(), statement, pgx.QueryExecModeSimpleProtocol); err != nil {
			t.Fatal(err)
		}
	}
	filters := map[string]DoctorFilter{
		"all":                     {},
		"prefix":                  {Name: "mar"},
		"full name":               {Name: "Maria Silva"},
		"specialty":               {Specialty: "cardiology"},
		"specialty and name":      {Specialty: "cardiology", Name: "silv"},
		"specialty and rare name": {Specialty: "cardiology", Name: "zulm"},
		"CRM":                     {CRM: account.CRM{Number: "1500", State: "SP"}},
	}
	for name, f := range filters {
		t.Run(name, func(t *testing.T) {
			cfg := cfg
			cfg.MaxConns = 1
			one, err := pg.Open(t.Context(), cfg)
			if err != nil {
				t.Fatal(err)
			}
			defer one.Close()
			s := New(Config{Pool: one})
			f.Limit = 21
			const times = 8
			found := 0
			before := counted(t, db)
			for range times {
				page, err := s.searchDoctors(t.Context(), f, account.Words(f.Name))
				if err != nil || len(page.found) == 0 {
					t.Fatalf("found %d, %v", len(page.found), err)
				}
				found += len(page.found)
			}
			var planned int
			if err := one.QueryRow(t.Context(), `SELECT sum(custom_plans) FROM pg_prepared_statements WHERE statement LIKE '%doctor_terms%'`).Scan(&planned); err != nil {
				t.Fatal(err)
			}
			if planned > 0 {
				t.Errorf("planned anew %d times of %d", planned, times)
			}
			if _, err := one.Exec(t.Context(), `SELECT pg_stat_force_next_flush()`); err != nil {
				t.Fatal(err)
			}
			after := counted(t, db)
			if n := after.Scans - before.Scans; n > 0 {
				t.Errorf("%d scans of a whole table", n)
			}
			const byPlanner = 4 // which looks at the ends of an index itself, once
			if n := after.LookedUp - before.LookedUp; n < found || n > found+byPlanner {
				t.Errorf("%d doctors looked up for %d on %d pages", n, found, times)
			}
		})
	}
}

// TestDoctors_RemembersPagesUntilTheListChanges looks whether the doctors were looked up again.
func TestDoctors_RemembersPagesUntilTheListChanges(t *testing.T) {
	t.Parallel()
	cfg := pgtest.New(t, Migrations()...)
	db, err := pg.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	list := func(name string) {
		t.Helper()
		_, err := db.Exec(t.Context(), `
			WITH one AS (
				INSERT INTO users (id, role, status, version, name, name_key, email, locale, cpf_sealed, cpf_key_id, cpf_index,
					crm_number, crm_state, specialties, created_at, updated_at)
				VALUES (gen_random_uuid(), 'doctor', 'active', 1, $1, $1, $1 || '@example.com', 'pt-BR', '\x00', 'k', $1::bytea, $1, 'SP', '{}', now(), now())
				RETURNING id)
			INSERT INTO doctor_terms (term, name_key, doctor_id) SELECT 'w:' || $1, $1, id FROM one`, name)
		if err != nil {
			t.Fatal(err)
		}
	}
	s := New(Config{Pool: db})
	search := func(name string) (names []string) {
		t.Helper()
		found, err := s.Doctors(t.Context(), DoctorFilter{Name: name, Limit: 21})
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range found {
			names = append(names, d.Name)
		}
		return names
	}
	list("ana")
	for _, written := range []string{"an", "AN", "ãn "} {
		if diff := cmp.Diff([]string{"ana"}, search(written)); diff != "" {
			t.Errorf("%q (-want +got):\n%s", written, diff)
		}
	}
	// Changed past the terms, as no program does: who is not read again doesn't see it.
	if _, err := db.Exec(t.Context(), `UPDATE users SET name = 'Ana'`); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"ana"}, search("an")); diff != "" {
		t.Errorf("the page was not remembered (-want +got):\n%s", diff)
	}
	list("andre")
	if diff := cmp.Diff([]string{"Ana", "andre"}, search("an")); diff != "" {
		t.Errorf("after a change to the list (-want +got):\n%s", diff)
	}
	for _, change := range []string{`DELETE FROM doctor_terms WHERE name_key = 'ana'`, `TRUNCATE doctor_terms`} {
		before := len(search("an"))
		if _, err := db.Exec(t.Context(), change); err != nil {
			t.Fatal(err)
		}
		if after := len(search("an")); after != before-1 {
			t.Errorf("%s: found %d, then %d", change, before, after)
		}
	}
}

func TestPages_AreBounded(t *testing.T) {
	t.Parallel()
	p := newPages()
	for n := range 10 * doctorsKept {
		p.put(DoctorFilter{Limit: n}, page{found: make([]DoctorFound, n%100)})
		if _, ok := p.get(DoctorFilter{Limit: 0}); !ok {
			t.Fatalf("a page in use was forgotten after %d others", n)
		}
	}
	held := 0
	for _, generation := range []map[DoctorFilter]page{p.young, p.old} {
		for _, kept := range generation {
			held += 1 + len(kept.found)
		}
	}
	if most := 2 * (doctorsKept + 101); held > most {
		t.Errorf("%d doctors and pages held, want %d at most", held, most)
	}
}

// reading is what PostgreSQL counts of its tables' readers.
type reading struct {
	Scans    int // of a whole table, users or doctor_terms
	LookedUp int // users, by an index
}

func counted(t *testing.T, db *pgxpool.Pool) (r reading) {
	t.Helper()
	err := db.QueryRow(t.Context(), `
		SELECT sum(seq_scan), sum(idx_tup_fetch) FILTER (WHERE relname = 'users')
		FROM pg_stat_user_tables WHERE relname IN ('users', 'doctor_terms')`).Scan(&r.Scans, &r.LookedUp)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

package upgrade

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// schema is what statements can notice of a database.
type schema struct {
	columns map[string]column   // by table.column
	checks  map[string]string   // what writes are refused for, with its table, by table and definition
	targets map[string]string   // unique indexes, which ON CONFLICT may name, with their table
	others  map[string]struct{} // functions, sequences and values of enumerations
}

type column struct {
	table, kind      string
	required, preset bool
}

func (s schema) tables() map[string]bool {
	tables := map[string]bool{}
	for _, c := range s.columns {
		tables[c.table] = true
	}
	return tables
}

// read looks at everything in the schema public. Partitions are their parent's business.
func read(ctx context.Context, db *pgxpool.Pool) (s schema, err error) {
	s = schema{columns: map[string]column{}, checks: map[string]string{}, targets: map[string]string{}, others: map[string]struct{}{}}
	var name, of string
	var c column
	for _, q := range []struct {
		sql  string
		into []any
		keep func()
	}{
		{`SELECT r.relname, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, a.atthasdef OR a.attidentity <> ''
			FROM pg_attribute a JOIN pg_class r ON r.oid = a.attrelid
			WHERE r.relnamespace = 'public'::regnamespace AND r.relkind IN ('r', 'p', 'v', 'm') AND NOT r.relispartition AND a.attnum > 0 AND NOT a.attisdropped`,
			[]any{&c.table, &name, &c.kind, &c.required, &c.preset}, func() { s.columns[c.table+"."+name] = c }},
		{`SELECT r.relname, pg_get_constraintdef(k.oid) FROM pg_constraint k JOIN pg_class r ON r.oid = k.conrelid
			WHERE r.relnamespace = 'public'::regnamespace AND NOT r.relispartition AND k.contype IN ('c', 'f', 'u', 'p', 'x')`,
			[]any{&of, &name}, func() { s.checks[of+": "+name] = of }},
		{`SELECT r.relname, regexp_replace(pg_get_indexdef(i.indexrelid), '^.* USING ', '') FROM pg_index i JOIN pg_class r ON r.oid = i.indrelid
			WHERE r.relnamespace = 'public'::regnamespace AND NOT r.relispartition AND i.indisunique`,
			[]any{&of, &name}, func() { s.targets[of+": "+name] = of }},
		{`SELECT 'function', p.oid::regprocedure::text FROM pg_proc p WHERE p.pronamespace = 'public'::regnamespace
				AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = p.oid AND d.deptype = 'e')
			UNION ALL SELECT 'sequence', relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'S'
			UNION ALL SELECT 'value', enumtypid::regtype || '.' || enumlabel FROM pg_enum`,
			[]any{&of, &name}, func() { s.others[of+" "+name] = struct{}{} }},
	} {
		rows, err := db.Query(ctx, q.sql)
		if err != nil {
			return s, err
		}
		if _, err := pgx.ForEachRow(rows, q.into, func() error { q.keep(); return nil }); err != nil {
			return s, err
		}
	}
	return s, nil
}

// breaks says what of a later schema the code written for the earlier one would stumble over.
func breaks(before, after schema) (faults []string) {
	fault := func(format string, args ...any) { faults = append(faults, fmt.Sprintf(format, args...)) }
	old := before.tables()
	for name, b := range before.columns {
		switch a, there := after.columns[name]; {
		case !there:
			fault("column %s is gone", name)
		case a.kind != b.kind:
			fault("column %s was %s and is %s", name, b.kind, a.kind)
		case a.required && !b.required:
			fault("column %s must no longer be null", name)
		case b.preset && !a.preset:
			fault("column %s has lost its default", name)
		}
	}
	for name, a := range after.columns {
		if _, there := before.columns[name]; !there && old[a.table] && a.required && !a.preset {
			fault("column %s is new, must not be null and has no default", name)
		}
	}
	// A unique index refuses what it didn't before, whether a constraint or not.
	for _, refusing := range []struct{ before, after map[string]string }{{before.checks, after.checks}, {before.targets, after.targets}} {
		for name, table := range refusing.after {
			if _, there := refusing.before[name]; !there && old[table] {
				fault("writes are refused that were not: %s", name)
			}
		}
	}
	for name := range before.targets {
		if _, there := after.targets[name]; !there {
			fault("ON CONFLICT may have named %s", name)
		}
	}
	for name := range before.others {
		if _, there := after.others[name]; !there {
			fault("%s is gone", name)
		}
	}
	slices.Sort(faults)
	return slices.Compact(faults)
}

// contracts reads released/contracts.txt.
func contracts(text string) map[string]bool {
	lines := map[string]bool{}
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			lines[line] = true
		}
	}
	return lines
}

// unsaid are the faults of a service that its contracts don't name, and what they name without need.
func unsaid(service string, faults []string, said map[string]bool) (unsaid, needless []string) {
	said = maps.Clone(said)
	for _, f := range faults {
		if f = service + ": " + f; !said[f] {
			unsaid = append(unsaid, f)
		}
		delete(said, f)
	}
	for line := range said {
		if strings.HasPrefix(line, service+": ") {
			needless = append(needless, line)
		}
	}
	return unsaid, needless
}

package postgres

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/healthmed/healthmed/services/users/internal/account"
)

// DoctorFilter says which listed doctors are wanted. Empty fields don't filter.
type DoctorFilter struct {
	Name      string // prefixes of words, in any order: "ana sil" finds Ana Beatriz Silva
	Specialty string
	CRM       account.CRM // State may be empty
	After     DoctorKey   // the last key of the previous page
	Limit     int
}

// DoctorKey is the place of a doctor in a list: the term by which they were found, then name, then id.
type DoctorKey struct {
	Term    string
	NameKey string
	ID      uuid.UUID
}

// DoctorFound is a doctor as the public sees them, with their place in the list.
type DoctorFound struct {
	ID          uuid.UUID
	Name        string
	CRM         account.CRM
	Specialties []string
	Key         DoctorKey
}

// lastRune sorts after every character that a term holds.
const lastRune = "\U0010FFFF"

// pageOfDoctors takes the limit of the page, which is part of the text so that the plan for any arguments knows how small
// it is, and what else to ask of the doctors found. That plan is always the same and right; PostgreSQL by itself would plan
// every search anew, which takes longer than the search, because it believes that few names match a pattern it can't see.
const pageOfDoctors = `
	SELECT users.id, users.name, users.crm_number, users.crm_state, users.specialties, t.term, t.name_key
	FROM (
		SELECT term, name_key, doctor_id FROM doctor_terms
		WHERE (term, name_key, doctor_id) > ($1, $2, $3) AND term < $4 AND ' ' || name_key LIKE ALL ($5)
			AND (' ' || name_key NOT LIKE $6 OR
				term = (SELECT min(('w:' || w) COLLATE "C") FROM unnest(string_to_array(name_key, ' ')) w WHERE w ^@ $7))
		ORDER BY term, name_key, doctor_id LIMIT %d
	) t JOIN users ON users.id = t.doctor_id %s
	ORDER BY t.term, t.name_key, t.doctor_id`

// Doctors lists active doctors. A page that was found before is given again if the list has not changed since.
func (s *Store) Doctors(ctx context.Context, f DoctorFilter) ([]DoctorFound, error) {
	words := account.Words(f.Name)
	if f.Name != "" && len(words) == 0 {
		return nil, nil // nobody's name begins with punctuation
	}
	f.Name = strings.Join(words, " ") // however it was written
	if known, ok := s.pages.get(f); ok {
		var version int64
		if err := s.pool.QueryRow(ctx, listVersion).Scan(&version); err != nil {
			return nil, err
		}
		if version == known.version {
			return known.found, nil
		}
	}
	fresh, err := s.searchDoctors(ctx, f, words)
	if err == nil {
		s.pages.put(f, fresh)
	}
	return fresh.found, err
}

// listVersion changes in the transaction of each change to the list of doctors.
const listVersion = `SELECT version FROM doctor_list`

// searchDoctors reads one stretch of the terms' index, filtered by what the index itself holds, and looks up the doctors of
// the page alone. A doctor with two words of one prefix is found by the first alone.
func (s *Store) searchDoctors(ctx context.Context, f DoctorFilter, words []string) (page, error) {
	low, high, prefix := f.stretch(words)
	if f.After.Term < low {
		// The first page begins at the stretch too: PostgreSQL starts its scan at the row comparison, and would read all
		// terms before the stretch one by one.
		f.After = DoctorKey{Term: low}
	}
	begins, twice := make([]string, len(words)), ""
	for i, word := range words { // of letters and digits alone: nothing of it is a pattern
		begins[i] = "% " + word + "%"
	}
	if prefix != "" {
		twice = "% " + prefix + "% " + prefix + "%"
	}
	limit, where := f.Limit, ""
	args := []any{f.After.Term, f.After.NameKey, f.After.ID, high, begins, twice, prefix}
	if f.CRM.Number != "" { // at most one doctor in each state: all are read, so that the rest can be asked of them
		limit, where = max(limit, len(account.States())), `WHERE ($8 = '' OR users.crm_state = $8) AND ($9 = '' OR $9 = ANY (users.specialties))`
		args = append(args, f.CRM.State, f.Specialty)
	}
	var p page
	// One round trip. The version is read first: what the page may hold beyond it makes the page outdated, never the reverse.
	// And one transaction, so that the setting is this search's alone.
	batch := &pgx.Batch{}
	batch.Queue(listVersion).QueryRow(func(row pgx.Row) error { return row.Scan(&p.version) })
	batch.Queue(`SELECT set_config('plan_cache_mode', 'force_generic_plan', true)`)
	batch.Queue(fmt.Sprintf(pageOfDoctors, limit, where), args...).Query(func(rows pgx.Rows) (err error) {
		p.found, err = pgx.CollectRows(rows, scanDoctor)
		return err
	})
	return p, s.pool.SendBatch(ctx, batch).Close()
}

func scanDoctor(row pgx.CollectableRow) (DoctorFound, error) {
	var d DoctorFound
	err := row.Scan(&d.ID, &d.Name, &d.CRM.Number, &d.CRM.State, &d.Specialties, &d.Key.Term, &d.Key.NameKey)
	d.Key.ID = d.ID
	return d, err
}

// stretch is the part of the terms that a search reads, and the prefix of a word when it is by a name alone. A CRM number
// leads to a few doctors, and a specialty holds the names of all who have it; of several words the longest is the rarest.
func (f DoctorFilter) stretch(words []string) (low, high, prefix string) {
	switch {
	case f.CRM.Number != "":
		low = "c:" + f.CRM.Number
	case f.Specialty != "":
		low = "s:" + f.Specialty
	case len(words) > 0:
		prefix = slices.MaxFunc(words, func(a, b string) int { return len(a) - len(b) })
		return "w:" + prefix, "w:" + prefix + lastRune, prefix
	default:
		low = "a:"
	}
	return low, low + "\x01", ""
}

// queueTerms replaces the terms by which a user is found.
func queueTerms(batch *pgx.Batch, u account.User) {
	if u.Role != account.Doctor {
		return
	}
	batch.Queue(`DELETE FROM doctor_terms WHERE doctor_id = $1`, u.ID)
	if !u.Listed() {
		return
	}
	terms := []string{"a:", "c:" + u.CRM.Number}
	for _, word := range account.Words(string(u.Name)) {
		terms = append(terms, "w:"+word)
	}
	for _, code := range u.Specialties {
		terms = append(terms, "s:"+code)
	}
	batch.Queue(`INSERT INTO doctor_terms (term, name_key, doctor_id) SELECT t, $2, $3 FROM unnest($1::text[]) t`,
		terms, account.Fold(string(u.Name)), u.ID)
}

package fill

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"golang.org/x/sync/errgroup"
)

// Target is where the data goes.
type Target struct {
	Users, Scheduling, Notifier *pgxpool.Pool
	Keys                        Keys
}

// All fills the databases, and tells say how far it is.
func All(ctx context.Context, to Target, size Size, say func(format string, args ...any)) (*Data, error) {
	if err := size.Validate(); err != nil {
		return nil, err
	}
	now := time.Now()
	listed, err := people("doctor", size.Listed)
	if err != nil {
		return nil, err
	}
	patients, err := people("patient", size.Patients)
	if err != nil {
		return nil, err
	}
	d := &Data{Size: size, Doctors: listed[:size.Doctors], Patients: patients, days: workingDays(midnight(now, 2), bookableDays)}
	diary := newDiary(d, now)
	f := &filler{Target: to, data: d, listed: listed, now: now.UTC().Truncate(time.Microsecond)}
	const termsEach = 6                  // about
	seen := size.Doctors + size.Patients // by scheduling and notifier
	f.bar = newBar(int64(2*(size.Listed+size.Patients)+termsEach*size.Listed+2*seen+2*size.Doctors+2*diary.count()), say)
	defer f.bar.end()

	group, gctx := errgroup.WithContext(ctx)
	group.Go(func() error { return f.users(gctx) })
	group.Go(func() error { return f.scheduling(gctx, diary) })
	group.Go(func() error { return f.notifier(gctx) })
	if err := group.Wait(); err != nil {
		return nil, err
	}
	return d, f.settle(ctx)
}

type filler struct {
	Target
	data   *Data
	listed []Person
	now    time.Time
	bar    *bar
}

// copy puts rows into a table. next is called until it says false.
func (f *filler) copy(ctx context.Context, db *pgxpool.Pool, table string, columns []string, next func() ([]any, bool)) error {
	_, err := db.CopyFrom(ctx, pgx.Identifier{table}, columns, pgx.CopyFromFunc(func() ([]any, error) {
		row, ok := next()
		if !ok {
			return nil, nil
		}
		f.bar.add(1)
		return row, nil
	}))
	if err != nil {
		return fmt.Errorf("%s: %w", table, err)
	}
	return nil
}

// each calls row for 0 to n-1.
func each(n int, row func(i int) []any) func() ([]any, bool) {
	i := -1
	return func() ([]any, bool) {
		if i++; i >= n {
			return nil, false
		}
		return row(i), true
	}
}

func (f *filler) users(ctx context.Context) error {
	seal, err := newSealer(f.Keys)
	if err != nil {
		return err
	}
	columns := []string{"id", "role", "status", "version", "name", "name_key", "email", "email_verified", "phone", "locale",
		"cpf_sealed", "cpf_key_id", "cpf_index", "crm_number", "crm_state", "specialties", "created_at", "updated_at"}
	everybody := append(append([]Person{}, f.listed...), f.data.Patients...)
	err = f.copy(ctx, f.Users, "users", columns, each(len(everybody), func(i int) []any {
		p := everybody[i]
		sealed, index := seal.seal(cpf(i), p.ID)
		var number, state any
		specialties := []string{}
		if p.Role == "doctor" {
			number, state = crmOf(i)
			specialties = specialtiesOf(i)
		}
		at := since(f.now, i)
		return []any{p.ID, p.Role, "active", 1, p.Name, fold(p.Name), p.Email, true, fmt.Sprintf("+55119%08d", i), "pt-BR",
			sealed, "k1", index, number, state, specialties, at, at}
	}))
	if err != nil {
		return err
	}
	hash := passwordHash()
	err = f.copy(ctx, f.Users, "credentials", []string{"user_id", "password_hash", "changed_at"}, each(len(everybody), func(i int) []any {
		return []any{everybody[i].ID, hash, since(f.now, i)}
	}))
	if err != nil {
		return err
	}
	doctor, queue := -1, []string(nil)
	return f.copy(ctx, f.Users, "doctor_terms", []string{"term", "name_key", "doctor_id"}, func() ([]any, bool) {
		for len(queue) == 0 {
			if doctor++; doctor >= len(f.listed) {
				return nil, false
			}
			number, _ := crmOf(doctor)
			queue = terms(f.listed[doctor].Name, number, specialtiesOf(doctor))
		}
		term := queue[0]
		queue = queue[1:]
		return []any{term, fold(f.listed[doctor].Name), f.listed[doctor].ID}, true
	})
}

func (f *filler) notifier(ctx context.Context) error {
	everybody := append(append([]Person{}, f.data.Doctors...), f.data.Patients...)
	return f.copy(ctx, f.Notifier, "contacts", []string{"user_id", "role", "name", "email", "locale", "version", "updated_at"},
		each(len(everybody), func(i int) []any {
			p := everybody[i]
			return []any{p.ID, p.Role, p.Name, p.Email, "pt-BR", 1, since(f.now, i)}
		}))
}

// settle leaves the databases as they are after a quiet night: statistics gathered, pages clean, nothing to flush.
func (f *filler) settle(ctx context.Context) error {
	for _, db := range []*pgxpool.Pool{f.Users, f.Scheduling, f.Notifier} {
		if _, err := db.Exec(ctx, `VACUUM (ANALYZE)`); err != nil {
			return err
		}
	}
	_, err := f.Scheduling.Exec(ctx, `CHECKPOINT`)
	return err
}

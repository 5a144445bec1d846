package postgres

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/healthmed/healthmed/services/users/internal/account"
)

// PeopleFilter says which accounts of a role an administrator wants. Empty fields don't filter.
type PeopleFilter struct {
	Role   account.Role
	Status account.Status
	Name   string // how the name begins
	Email  account.Email
	Phone  account.Phone
	CPF    account.CPF
	After  uuid.UUID // the last id of the previous page
	Limit  int
}

// People lists accounts by name, whatever their status.
func (s *Store) People(ctx context.Context, f PeopleFilter) ([]account.User, error) {
	key := account.Fold(f.Name)
	if f.Name != "" && key == "" {
		return nil, nil // nobody's name begins with punctuation
	}
	where := []string{"status <> 'erased'"}
	var args []any
	and := func(condition string, arg any) {
		args = append(args, arg)
		where = append(where, fmt.Sprintf(condition, len(args)))
	}
	and("role = $%d", f.Role)
	if key != "" {
		and("name_key >= $%d", key)
		and("name_key < $%d", key+lastRune)
	}
	if f.Status != "" {
		and("status = $%d", f.Status)
	}
	if f.Email != "" {
		and("email = $%d", f.Email)
	}
	if f.Phone != "" {
		and("phone = $%d", f.Phone)
	}
	if !f.CPF.IsZero() {
		and("cpf_index = $%d", s.index.Of("cpf", f.CPF.Digits()))
	}
	if f.After != uuid.Nil {
		and("(name_key, id) > (SELECT last.name_key, last.id FROM users last WHERE last.id = $%d)", f.After)
	}
	args = append(args, f.Limit)
	rows, err := s.pool.Query(ctx, `SELECT `+userColumns+` FROM users WHERE `+strings.Join(where, " AND ")+
		fmt.Sprintf(` ORDER BY name_key, id LIMIT $%d`, len(args)), args...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (account.User, error) { return s.scanUser(row) })
}

// Export is everything held about one person.
type Export struct {
	User         account.User
	Sessions     []Session
	Appointments []Appointment
	Audit        []account.Entry
}

// Session is a sign-in as its owner sees it.
type Session struct {
	ID        uuid.UUID
	CreatedAt time.Time
	ExpiresAt time.Time
	RevokedAt *time.Time
}

// auditExported bounds an export's audit entries: the youngest.
const auditExported = 10_000

// Export reads everything held about a person, as of one moment, and notes that.
func (s *Store) Export(ctx context.Context, id uuid.UUID, entry account.Entry) (Export, error) {
	var e Export
	err := pgx.BeginTxFunc(ctx, s.pool, pgx.TxOptions{IsoLevel: pgx.RepeatableRead}, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, insertAudit, s.auditRow(entry)...); err != nil {
			return err
		}
		var err error
		if e.User, err = s.scanUser(tx.QueryRow(ctx, `SELECT `+userColumns+` FROM users WHERE id = $1 AND status <> 'erased'`, id)); err != nil {
			return err
		}
		rows, err := tx.Query(ctx, `SELECT id, created_at, expires_at, revoked_at FROM refresh_families WHERE user_id = $1 ORDER BY created_at`, id)
		if err != nil {
			return err
		}
		if e.Sessions, err = pgx.CollectRows(rows, pgx.RowToStructByPos[Session]); err != nil {
			return err
		}
		rows, err = tx.Query(ctx, `
			SELECT id, doctor_id, patient_id, version, stands FROM appointments WHERE patient_id = $1 AND stands
			UNION SELECT id, doctor_id, patient_id, version, stands FROM appointments WHERE doctor_id = $1
			ORDER BY id`, id)
		if err != nil {
			return err
		}
		if e.Appointments, err = pgx.CollectRows(rows, pgx.RowToStructByPos[Appointment]); err != nil {
			return err
		}
		rows, err = tx.Query(ctx, `
			SELECT id, at, actor_id, coalesce(actor_role, ''), action, subject_id, outcome, address, coalesce(request_id, ''), detail
			FROM audit_log WHERE subject_id = $1 OR actor_id = $1 ORDER BY at DESC, id DESC LIMIT $2`, id, auditExported)
		if err != nil {
			return err
		}
		e.Audit, err = pgx.CollectRows(rows, scanEntry)
		return err
	})
	return e, err
}

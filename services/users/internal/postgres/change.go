package postgres

import (
	"context"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/healthmed/healthmed/pkg/bus/accountmail"
	"github.com/healthmed/healthmed/pkg/events"
	"github.com/healthmed/healthmed/pkg/outbox"
	"github.com/healthmed/healthmed/services/users/internal/account"
)

// AnyVersion changes whatever version there is.
const AnyVersion int64 = 0

// Change loads a user, lets the domain decide what becomes of them, stores and announces that, and notes it in the
// audit log: one transaction. account.ErrStale: there is another version than the one wanted. The role, when given, must be the user's, or they are
// not found. What changes nothing announces nothing.
func (s *Store) Change(ctx context.Context, id uuid.UUID, role account.Role, version int64, entry account.Entry,
	decide func(account.User) (account.User, error),
) (account.User, error) {
	var after account.User
	err := pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		before, err := s.lock(ctx, tx, id, role, version)
		if err != nil {
			return err
		}
		if after, err = decide(before); err != nil {
			return err
		}
		return s.save(ctx, tx, before, after, entry)
	})
	if err != nil {
		return account.User{}, translate(err)
	}
	s.nudge()
	return after, nil
}

// lock reads a user for a change.
func (s *Store) lock(ctx context.Context, tx pgx.Tx, id uuid.UUID, role account.Role, version int64) (account.User, error) {
	u, err := s.scanUser(tx.QueryRow(ctx, `SELECT `+userColumns+` FROM users WHERE id = $1 AND status <> 'erased' FOR UPDATE`, id))
	switch {
	case err != nil:
		return account.User{}, err
	case role != "" && u.Role != role:
		return account.User{}, account.ErrNotFound
	case version != AnyVersion && u.Version != version:
		return account.User{}, account.ErrStale
	}
	return u, nil
}

// save stores the difference between two versions, with its event, its audit entry, and the e-mail that a new address wants.
func (s *Store) save(ctx context.Context, tx pgx.Tx, before, after account.User, entry account.Entry) error {
	batch := &pgx.Batch{}
	s.queueAudit(batch, entry)
	if after.Version != before.Version {
		env, err := events.New(after.Updated(), after.Version)
		if err != nil {
			return err
		}
		queueUpdate(batch, after)
		queueTerms(batch, after)
		if err := outbox.Queue(ctx, batch, env); err != nil {
			return err
		}
		if s.external && (after.Email != before.Email || after.EmailVerified != before.EmailVerified) {
			s.queuePoolChange(batch, after.ID, false)
		}
		if wants := wantsProof(before, after); wants != "" {
			if err := s.queueMail(ctx, batch, after, accountmail.Message{Kind: verifyEmail, Email: string(wants), Changed: true}); err != nil {
				return err
			}
		}
	}
	return tx.SendBatch(ctx, batch).Close()
}

// wantsProof is the address that has become new, and is to be confirmed by its reader.
func wantsProof(before, after account.User) account.Email {
	switch {
	case after.PendingEmail != "" && after.PendingEmail != before.PendingEmail:
		return after.PendingEmail
	case after.Email != before.Email && !after.EmailVerified:
		return after.Email
	}
	return ""
}

// queueUpdate writes what can change. The CPF can't: it is who the person is.
func queueUpdate(batch *pgx.Batch, u account.User) {
	batch.Queue(`
		UPDATE users SET status = $2, version = $3, name = $4, name_key = $5, email = $6, email_verified = $7, pending_email = $8,
			phone = $9, birth_date = $10, locale = $11, crm_number = $12, crm_state = $13, specialties = $14, updated_at = $15
		WHERE id = $1`,
		u.ID, u.Status, u.Version, u.Name, account.Fold(string(u.Name)), u.Email, u.EmailVerified, null(string(u.PendingEmail)),
		null(string(u.Phone)), u.BirthDate, u.Locale, null(u.CRM.Number), null(u.CRM.State), nonNil(u.Specialties), u.UpdatedAt)
}

package postgres

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/healthmed/healthmed/pkg/bus/accountmail"
	"github.com/healthmed/healthmed/services/users/internal/account"
)

// What keeps database and identity pool (Amazon Cognito) together. A registration is noted here before the pool is asked, and a
// change until the pool has been told of it, so that whatever happens in between can be finished or undone.

// Attempt is one try to register an e-mail address in the pool.
type Attempt struct {
	ID    uuid.UUID
	Email account.Email
}

// ErrAttemptBusy: another attempt for the same address is under way, or has taken over.
var ErrAttemptBusy = errors.New("postgres: registration under way")

// BeginRegistration notes that somebody is being registered in the pool. What it knows to be taken is
// account.ErrAlreadyRegistered; an address that another attempt works on is ErrAttemptBusy, for at most lease.
func (s *Store) BeginRegistration(ctx context.Context, r account.Registration, lease time.Duration) (Attempt, error) {
	id, err := uuid.NewV7()
	if err != nil {
		return Attempt{}, err
	}
	var index []byte
	if !r.CPF.IsZero() {
		index = s.index.Of("cpf", r.CPF.Digits())
	}
	now := s.clock()
	var taken bool
	tag, err := s.pool.Exec(ctx, `
		INSERT INTO registrations AS r (email, attempt, busy_until, started_at)
		SELECT $1, $2, $4, $3 WHERE NOT EXISTS (SELECT FROM users WHERE email = $1 OR cpf_index = $5 OR (crm_number, crm_state) = ($6, $7))
		ON CONFLICT (email) DO UPDATE SET attempt = $2, busy_until = $4 WHERE r.busy_until <= $3`,
		r.Email, id, now, now.Add(lease), index, null(r.CRM.Number), null(r.CRM.State))
	if err != nil || tag.RowsAffected() == 1 {
		return Attempt{ID: id, Email: r.Email}, err
	}
	err = s.pool.QueryRow(ctx, `
		SELECT EXISTS (SELECT FROM users WHERE email = $1 OR cpf_index = $2 OR (crm_number, crm_state) = ($3, $4))`,
		r.Email, index, null(r.CRM.Number), null(r.CRM.State)).Scan(&taken)
	if err == nil {
		err = ErrAttemptBusy
		if taken {
			err = account.ErrAlreadyRegistered
		}
	}
	return Attempt{}, err
}

// LeaveRegistration ends an attempt that failed, so that the next one need not wait for it.
func (s *Store) LeaveRegistration(ctx context.Context, a Attempt) error {
	_, err := s.pool.Exec(ctx, `UPDATE registrations SET busy_until = $3 WHERE email = $1 AND attempt = $2`, a.Email, a.ID, s.clock())
	return err
}

// EndRegistration says that nothing is left of an attempt in the pool.
func (s *Store) EndRegistration(ctx context.Context, a Attempt) error {
	_, err := s.pool.Exec(ctx, `DELETE FROM registrations WHERE email = $1 AND attempt = $2`, a.Email, a.ID)
	return err
}

// TakeStaleRegistration makes an attempt of one that was given up: started long ago, and nobody works on it. Without one
// the attempt is zero.
func (s *Store) TakeStaleRegistration(ctx context.Context, age, lease time.Duration) (Attempt, error) {
	now := s.clock()
	var a Attempt
	err := s.pool.QueryRow(ctx, `
		UPDATE registrations SET attempt = gen_random_uuid(), busy_until = $2 WHERE email = (
			SELECT email FROM registrations WHERE started_at < $3 AND busy_until <= $1 ORDER BY started_at LIMIT 1 FOR UPDATE SKIP LOCKED)
		RETURNING attempt, email`, now, now.Add(lease), now.Add(-age)).Scan(&a.ID, &a.Email)
	if errors.Is(err, pgx.ErrNoRows) {
		return Attempt{}, nil
	}
	return a, err
}

// Enrol stores and announces a user who has an account in the pool, as long as the attempt is still the latest. askProof sends
// their mailbox a token of ours, where the pool sends none.
func (s *Store) Enrol(ctx context.Context, u account.User, a Attempt, askProof bool) error {
	batch, err := s.insertion(ctx, u, "", askProof)
	if err != nil {
		return err
	}
	err = pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, `DELETE FROM registrations WHERE email = $1 AND attempt = $2`, a.Email, a.ID)
		if err != nil {
			return err
		}
		if tag.RowsAffected() == 0 {
			return ErrAttemptBusy
		}
		return tx.SendBatch(ctx, batch).Close()
	})
	if err != nil {
		return translate(err)
	}
	s.nudge()
	return nil
}

// UserByEmail finds an account by its confirmed or first address.
func (s *Store) UserByEmail(ctx context.Context, email account.Email) (account.User, error) {
	return s.scanUser(s.pool.QueryRow(ctx, `SELECT `+userColumns+` FROM users WHERE email = $1`, email))
}

// ConfirmEmail notes that the pool has had proof of a user's address.
func (s *Store) ConfirmEmail(ctx context.Context, id uuid.UUID, proved account.Email, entry account.Entry) (account.User, error) {
	return s.Change(ctx, id, "", AnyVersion, entry.Of(account.EmailVerified, id, account.OK), func(u account.User) (account.User, error) {
		return u.ConfirmEmail(proved, s.now())
	})
}

// PoolPasswordChanged notes that a password was replaced in the pool: audited, told to the mailbox, and every sign-in is to end.
func (s *Store) PoolPasswordChanged(ctx context.Context, u account.User, entry account.Entry) error {
	batch := &pgx.Batch{}
	s.queueAudit(batch, entry)
	s.queuePoolChange(batch, u.ID, true)
	err := queueMessage(ctx, batch, accountmail.Message{
		Kind: accountmail.PasswordChanged, UserID: u.ID, Name: string(u.Name), Email: string(u.Email), Locale: u.Locale,
		ExpiresAt: s.clock().Add(verifyTTL),
	})
	if err != nil {
		return err
	}
	if err := s.pool.SendBatch(ctx, batch).Close(); err != nil {
		return err
	}
	s.nudge()
	return nil
}

func (s *Store) queuePoolChange(batch *pgx.Batch, userID uuid.UUID, signOut bool) {
	batch.Queue(`
		INSERT INTO pool_changes AS c (user_id, change, sign_out, changed_at) VALUES ($1, gen_random_uuid(), $2, $3)
		ON CONFLICT (user_id) DO UPDATE SET change = gen_random_uuid(), sign_out = c.sign_out OR $2, changed_at = $3`,
		userID, signOut, s.clock())
}

// PoolChange is what the pool has yet to be told of somebody.
type PoolChange struct {
	User    account.User
	ID      uuid.UUID
	SignOut bool // end every sign-in
}

// PoolChanges are those of one user, or, with uuid.Nil, of anybody, oldest first.
func (s *Store) PoolChanges(ctx context.Context, userID uuid.UUID) ([]PoolChange, error) {
	rows, err := s.pool.Query(ctx, `
		SELECT `+userColumns+`, c.change, c.sign_out FROM pool_changes c JOIN users ON users.id = c.user_id
		WHERE users.status <> 'erased' AND ($1::uuid IS NULL OR users.id = $1) ORDER BY c.changed_at LIMIT 50`, nullID(userID))
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (PoolChange, error) {
		var c PoolChange
		u, err := s.scanUser(withChange{row, &c})
		c.User = u
		return c, err
	})
}

// withChange scans userColumns and the change that follows.
type withChange struct {
	pgx.CollectableRow
	change *PoolChange
}

func (w withChange) Scan(dest ...any) error {
	return w.CollectableRow.Scan(append(dest, &w.change.ID, &w.change.SignOut)...)
}

// PoolTold says that the pool has been told of a change.
func (s *Store) PoolTold(ctx context.Context, c PoolChange) error {
	_, err := s.pool.Exec(ctx, `DELETE FROM pool_changes WHERE user_id = $1 AND change = $2`, c.User.ID, c.ID)
	return err
}

// Unverified are users registered in a span of time whose address nobody has confirmed.
func (s *Store) Unverified(ctx context.Context, from, to time.Time) ([]account.User, error) {
	rows, err := s.pool.Query(ctx, `SELECT `+userColumns+` FROM users
		WHERE status <> 'erased' AND NOT email_verified AND created_at >= $1 AND created_at < $2 ORDER BY created_at LIMIT 200`, from, to)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (account.User, error) { return s.scanUser(row) })
}

package postgres

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/healthmed/healthmed/pkg/bus/accountmail"
	"github.com/healthmed/healthmed/pkg/events"
	"github.com/healthmed/healthmed/pkg/outbox"
	"github.com/healthmed/healthmed/services/users/internal/account"
	"github.com/healthmed/healthmed/services/users/internal/keyring"
)

// userColumns are what userRow scans, in its order.
const userColumns = `users.id, users.role, users.status, users.version, coalesce(users.name, ''), coalesce(users.email, ''),
	users.email_verified, coalesce(users.pending_email, ''), coalesce(users.phone, ''), users.birth_date,
	coalesce(users.locale, ''), users.cpf_sealed, coalesce(users.cpf_key_id, ''), coalesce(users.crm_number, ''),
	coalesce(users.crm_state, ''), users.specialties, users.created_at, users.updated_at`

// scanUser reads userColumns and decrypts the CPF.
func (s *Store) scanUser(row pgx.Row) (account.User, error) {
	var u account.User
	var sealed keyring.Sealed
	err := row.Scan(&u.ID, &u.Role, &u.Status, &u.Version, &u.Name, &u.Email, &u.EmailVerified, &u.PendingEmail, &u.Phone,
		&u.BirthDate, &u.Locale, &sealed.Ciphertext, &sealed.KeyID, &u.CRM.Number, &u.CRM.State, &u.Specialties,
		&u.CreatedAt, &u.UpdatedAt)
	if err != nil {
		return account.User{}, translate(err)
	}
	u.CreatedAt, u.UpdatedAt = u.CreatedAt.UTC(), u.UpdatedAt.UTC()
	if sealed.Ciphertext != nil {
		if u.CPF, err = s.openCPF(u.ID, sealed); err != nil {
			return account.User{}, err
		}
	}
	return u, nil
}

func cpfContext(id uuid.UUID) string { return "cpf:" + id.String() }

func (s *Store) openCPF(id uuid.UUID, sealed keyring.Sealed) (account.CPF, error) {
	digits, err := s.cpf.Open(sealed, cpfContext(id))
	if err != nil {
		return account.CPF{}, fmt.Errorf("CPF of user %s: %w", id, err)
	}
	cpf, err := account.ParseCPF(string(digits))
	if err != nil {
		return account.CPF{}, fmt.Errorf("CPF of user %s: %w", id, err)
	}
	return cpf, nil
}

// User reads one user by id. Erased users are not found.
func (s *Store) User(ctx context.Context, id uuid.UUID) (account.User, error) {
	return s.scanUser(s.pool.QueryRow(ctx, `SELECT `+userColumns+` FROM users WHERE id = $1 AND status <> 'erased'`, id))
}

// Stands says whether a user is there and still has a role.
func (s *Store) Stands(ctx context.Context, id uuid.UUID, role account.Role) (stands bool, err error) {
	err = s.pool.QueryRow(ctx, `SELECT EXISTS (SELECT FROM users WHERE id = $1 AND role = $2 AND status <> 'erased')`, id, role).Scan(&stands)
	return stands, err
}

// Register stores a new user with their password's hash, announces them, and asks for the proof of their e-mail address. account.ErrAlreadyRegistered: e-mail, CPF or CRM is taken.
func (s *Store) Register(ctx context.Context, u account.User, passwordHash string) error {
	batch, err := s.insertion(ctx, u, passwordHash, !u.EmailVerified)
	if err != nil {
		return err
	}
	// A batch outside a transaction is one implicit transaction, and one round trip.
	if err := s.pool.SendBatch(ctx, batch).Close(); err != nil {
		return translate(err)
	}
	s.nudge()
	return nil
}

// insertion is all that a new user brings into the database.
func (s *Store) insertion(ctx context.Context, u account.User, passwordHash string, askProof bool) (*pgx.Batch, error) {
	env, err := events.New(u.Registered(), u.Version)
	if err != nil {
		return nil, err
	}
	batch := &pgx.Batch{}
	s.queueInsert(batch, u)
	if passwordHash != "" {
		batch.Queue(`INSERT INTO credentials (user_id, password_hash, changed_at) VALUES ($1, $2, $3)`,
			u.ID, passwordHash, u.CreatedAt)
	}
	if askProof {
		if err := s.queueMail(ctx, batch, u, accountmail.Message{Kind: verifyEmail, Email: string(u.Email)}); err != nil {
			return nil, err
		}
	}
	queueTerms(batch, u)
	return batch, outbox.Queue(ctx, batch, env)
}

func (s *Store) queueInsert(batch *pgx.Batch, u account.User) {
	var sealed keyring.Sealed
	var index []byte
	if !u.CPF.IsZero() {
		sealed = s.cpf.Seal([]byte(u.CPF.Digits()), cpfContext(u.ID))
		index = s.index.Of("cpf", u.CPF.Digits())
	}
	batch.Queue(`
		INSERT INTO users (id, role, status, version, name, name_key, email, email_verified, phone, birth_date, locale,
			cpf_sealed, cpf_key_id, cpf_index, crm_number, crm_state, specialties, created_at, updated_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19)`,
		u.ID, u.Role, u.Status, u.Version, u.Name, account.Fold(string(u.Name)), u.Email, u.EmailVerified,
		null(string(u.Phone)), u.BirthDate, u.Locale, sealed.Ciphertext, null(sealed.KeyID), index,
		null(u.CRM.Number), null(u.CRM.State), nonNil(u.Specialties), u.CreatedAt, u.UpdatedAt)
}

// null is NULL for an empty text.
func null(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

func nonNil(s []string) []string {
	if s == nil {
		return []string{}
	}
	return s
}

// Credential is what signing in needs to know.
type Credential struct {
	User          account.User
	PasswordHash  string // empty: no such account, or no password
	PasswordSetAt time.Time
}

// Credential finds an account by e-mail. An unknown e-mail is not an error: it has an empty hash, and takes the caller as long.
func (s *Store) Credential(ctx context.Context, email account.Email) (Credential, error) {
	rows, err := s.pool.Query(ctx, `
		SELECT `+userColumns+`, credentials.password_hash, credentials.changed_at
		FROM users JOIN credentials ON credentials.user_id = users.id
		WHERE users.email = $1`, email)
	if err != nil {
		return Credential{}, err
	}
	defer rows.Close()
	var c Credential
	for rows.Next() {
		if c.User, err = s.scanUser(withCredential{rows, &c}); err != nil {
			return Credential{}, err
		}
	}
	return c, rows.Err()
}

// withCredential scans userColumns and what follows of the credential.
type withCredential struct {
	pgx.Rows
	c *Credential
}

func (w withCredential) Scan(dest ...any) error {
	return w.Rows.Scan(append(dest, &w.c.PasswordHash, &w.c.PasswordSetAt)...)
}

// SetPasswordHash stores a hash made anew with the present parameters, unless the password was changed meanwhile.
func (s *Store) SetPasswordHash(ctx context.Context, userID uuid.UUID, old, fresh string) error {
	_, err := s.pool.Exec(ctx, `UPDATE credentials SET password_hash = $3 WHERE user_id = $1 AND password_hash = $2`,
		userID, old, fresh)
	return err
}

// day is a date as the database keeps it.
func day(t time.Time) time.Time { return time.Date(t.Year(), t.Month(), t.Day(), 0, 0, 0, 0, time.UTC) }

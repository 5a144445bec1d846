package postgres

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/healthmed/healthmed/services/users/internal/account"
	"github.com/healthmed/healthmed/services/users/internal/keyring"
)

// Family is one sign-in, with its first refresh token.
type Family struct {
	ID        uuid.UUID
	UserID    uuid.UUID
	TokenHash []byte
	ExpiresAt time.Time
	// PasswordSetAt is the Credential's of the password that was shown.
	PasswordSetAt time.Time
}

// StartFamily stores a sign-in, unless the password was replaced, or the account erased, while it was being verified:
// account.ErrInvalidCredentials. What ends every sign-in would otherwise miss this one.
func (s *Store) StartFamily(ctx context.Context, f Family) error {
	now := s.clock()
	batch := &pgx.Batch{}
	// Whoever changes the account holds its row until they are done; the next statement then sees what they did.
	batch.Queue(`SELECT FROM users WHERE id = $1 FOR KEY SHARE`, f.UserID)
	batch.Queue(`
		WITH family AS (
			INSERT INTO refresh_families (id, user_id, created_at, expires_at)
			SELECT $1, user_id, $2, $3 FROM credentials WHERE user_id = $4 AND changed_at = $5
			RETURNING id)
		INSERT INTO refresh_tokens (hash, family_id, issued_at) SELECT $6, id, $2 FROM family`,
		f.ID, now, f.ExpiresAt, f.UserID, f.PasswordSetAt, f.TokenHash).Exec(func(tag pgconn.CommandTag) error {
		if tag.RowsAffected() == 0 {
			return account.ErrInvalidCredentials
		}
		return nil
	})
	return s.pool.SendBatch(ctx, batch).Close()
}

// errReuse is how the transaction of Refresh says that it revoked the family, and must commit.
var errReuse = errors.New("postgres: refresh token used before")

// Refresh exchanges a refresh token for the next one. A token that was exchanged before has been stolen, or was stolen
// from: its whole family is revoked. Then, and for unknown, expired and revoked tokens, account.ErrInvalidToken.
func (s *Store) Refresh(ctx context.Context, hash, next []byte, who account.Entry) (account.User, error) {
	var userID uuid.UUID
	reused := false
	err := pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		var err error
		userID, err = s.exchange(ctx, tx, hash, next, who)
		if errors.Is(err, errReuse) {
			reused = true
			return nil
		}
		return err
	})
	if err != nil {
		return account.User{}, err
	}
	if reused {
		return account.User{}, account.ErrInvalidToken
	}
	u, err := s.User(ctx, userID)
	if errors.Is(err, account.ErrNotFound) {
		return account.User{}, account.ErrInvalidToken
	}
	return u, err
}

func (s *Store) exchange(ctx context.Context, tx pgx.Tx, hash, next []byte, who account.Entry) (uuid.UUID, error) {
	var family, userID uuid.UUID
	var expires time.Time
	var used, revoked *time.Time
	now := s.clock()
	// The family's row is locked: of two exchanges of one token, the second sees the first.
	err := tx.QueryRow(ctx, `
		SELECT f.id, f.user_id, f.expires_at, f.revoked_at
		FROM refresh_tokens t JOIN refresh_families f ON f.id = t.family_id
		WHERE t.hash = $1 FOR UPDATE OF f`, hash).Scan(&family, &userID, &expires, &revoked)
	if errors.Is(err, pgx.ErrNoRows) {
		return uuid.Nil, account.ErrInvalidToken
	}
	if err != nil {
		return uuid.Nil, err
	}
	if err := tx.QueryRow(ctx, `SELECT used_at FROM refresh_tokens WHERE hash = $1`, hash).Scan(&used); err != nil {
		return uuid.Nil, translate(err)
	}
	switch {
	case revoked != nil, !expires.After(now):
		return uuid.Nil, account.ErrInvalidToken
	case used != nil:
		batch := &pgx.Batch{}
		batch.Queue(`UPDATE refresh_families SET revoked_at = $2, revoked_for = 'reuse' WHERE id = $1`, family, now)
		s.queueAudit(batch, who.Of(account.TokenReused, userID, account.Denied))
		if err := tx.SendBatch(ctx, batch).Close(); err != nil {
			return uuid.Nil, err
		}
		return uuid.Nil, errReuse
	}
	batch := &pgx.Batch{}
	batch.Queue(`UPDATE refresh_tokens SET used_at = $2 WHERE hash = $1`, hash, now)
	batch.Queue(`INSERT INTO refresh_tokens (hash, family_id, issued_at) VALUES ($1, $2, $3)`, next, family, now)
	return userID, tx.SendBatch(ctx, batch).Close()
}

// EndFamily revokes the sign-in of a refresh token. An unknown one is no error.
func (s *Store) EndFamily(ctx context.Context, hash []byte) error {
	_, err := s.pool.Exec(ctx, `
		UPDATE refresh_families SET revoked_at = $2, revoked_for = 'logout'
		WHERE id = (SELECT family_id FROM refresh_tokens WHERE hash = $1) AND revoked_at IS NULL`, hash, s.clock())
	return err
}

// SigningKey is a key that signs access tokens, its private half sealed.
type SigningKey struct {
	KID       string
	Public    []byte
	Private   keyring.Sealed
	CreatedAt time.Time
	SignsFrom time.Time
}

// signingKeysLock serialises the rotation of signing keys among replicas.
const signingKeysLock = 0x6865616c7468 // any number that nothing else in this database uses

// SigningKeys reads the keys, oldest first. plan says which key to add and which to remove; when it wants either, it is
// asked again under a lock, so that replicas don't rotate twice.
func (s *Store) SigningKeys(ctx context.Context, plan func([]SigningKey) (add *SigningKey, remove []string, err error)) ([]SigningKey, error) {
	keys, err := readSigningKeys(ctx, s.pool)
	if err != nil {
		return nil, err
	}
	if add, remove, err := plan(keys); err != nil || (add == nil && len(remove) == 0) {
		return keys, err
	}
	err = pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `SELECT pg_advisory_xact_lock($1)`, int64(signingKeysLock)); err != nil {
			return err
		}
		if keys, err = readSigningKeys(ctx, tx); err != nil {
			return err
		}
		add, remove, err := plan(keys)
		if err != nil {
			return err
		}
		if add != nil {
			_, err = tx.Exec(ctx, `
				INSERT INTO signing_keys (kid, public_key, private_sealed, private_key_id, created_at, signs_from)
				VALUES ($1, $2, $3, $4, $5, $6)`,
				add.KID, add.Public, add.Private.Ciphertext, add.Private.KeyID, add.CreatedAt, add.SignsFrom)
			if err != nil {
				return err
			}
		}
		if _, err := tx.Exec(ctx, `DELETE FROM signing_keys WHERE kid = ANY($1)`, remove); err != nil {
			return err
		}
		keys, err = readSigningKeys(ctx, tx)
		return err
	})
	return keys, err
}

type querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}

func readSigningKeys(ctx context.Context, q querier) ([]SigningKey, error) {
	rows, err := q.Query(ctx, `
		SELECT kid, public_key, private_sealed, private_key_id, created_at, signs_from
		FROM signing_keys ORDER BY signs_from, kid`)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (SigningKey, error) {
		var k SigningKey
		err := row.Scan(&k.KID, &k.Public, &k.Private.Ciphertext, &k.Private.KeyID, &k.CreatedAt, &k.SignsFrom)
		return k, err
	})
}

package postgres

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/healthmed/healthmed/pkg/bus/accountmail"
	"github.com/healthmed/healthmed/pkg/outbox"
	"github.com/healthmed/healthmed/services/users/internal/account"
)

// What a one-time token is good for.
const (
	verifyEmail   = accountmail.VerifyEmail
	resetPassword = accountmail.ResetPassword
)

// How long a token is good for. Verification may wait for a reader who looks tomorrow; a reset is under way now.
const (
	verifyTTL = 48 * time.Hour
	resetTTL  = time.Hour
)

// queueMail makes a one-time token for a user and asks the notifier to send it; m says what kind of message goes to
// which address. The token is in the message alone: the database keeps its hash, and the outbox blanks the message once
// it is published.
func (s *Store) queueMail(ctx context.Context, batch *pgx.Batch, u account.User, m accountmail.Message) error {
	secret := make([]byte, 32)
	rand.Read(secret) // never fails (crypto/rand)
	token := base64.RawURLEncoding.EncodeToString(secret)
	now, ttl := s.clock(), verifyTTL
	if m.Kind == resetPassword {
		ttl = resetTTL
	}
	hash := sha256.Sum256([]byte(token))
	batch.Queue(`INSERT INTO account_tokens (hash, user_id, kind, email, created_at, expires_at) VALUES ($1, $2, $3, $4, $5, $6)`,
		hash[:], u.ID, string(m.Kind), m.Email, now, now.Add(ttl))
	m.UserID, m.Name, m.Locale, m.Token, m.ExpiresAt = u.ID, string(u.Name), u.Locale, token, now.Add(ttl)
	return queueMessage(ctx, batch, m)
}

func queueMessage(ctx context.Context, batch *pgx.Batch, m accountmail.Message) error {
	id, err := uuid.NewV7()
	if err != nil {
		return err
	}
	m.ID = id
	data, err := m.Encode()
	if err != nil {
		return err
	}
	return outbox.QueueRaw(ctx, batch, outbox.Raw{
		ID: m.ID, Subject: m.Subject(), AggregateID: m.ID, AggregateVersion: 1, Data: data, Secret: true,
		Headers: map[string]string{"Content-Type": "application/json; charset=utf-8"},
	})
}

// consume takes a one-time token: whose it is, and which address it proves. account.ErrInvalidToken when it is unknown, expired or
// has been used.
func (s *Store) consume(ctx context.Context, tx pgx.Tx, token string, kind accountmail.Kind) (userID uuid.UUID, proved account.Email, err error) {
	hash := sha256.Sum256([]byte(token))
	var expires time.Time
	err = tx.QueryRow(ctx, `DELETE FROM account_tokens WHERE hash = $1 AND kind = $2 RETURNING user_id, email, expires_at`,
		hash[:], string(kind)).Scan(&userID, &proved, &expires)
	if errors.Is(err, pgx.ErrNoRows) || (err == nil && !expires.After(s.clock())) {
		return uuid.Nil, "", account.ErrInvalidToken
	}
	return userID, proved, err
}

// VerifyEmail takes a token from a mailbox as proof of its address.
func (s *Store) VerifyEmail(ctx context.Context, token string, entry account.Entry) (account.User, error) {
	var after account.User
	err := pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		id, proved, err := s.consume(ctx, tx, token, verifyEmail)
		if err != nil {
			return err
		}
		before, err := s.lock(ctx, tx, id, "", AnyVersion)
		if errors.Is(err, account.ErrNotFound) {
			return account.ErrInvalidToken
		}
		if err != nil {
			return err
		}
		if after, err = before.ConfirmEmail(proved, s.now()); err != nil {
			return err
		}
		return s.save(ctx, tx, before, after, entry.Of(account.EmailVerified, id, account.OK))
	})
	if err != nil {
		return account.User{}, translate(err)
	}
	s.nudge()
	return after, nil
}

// ForgotPassword sends a reset token to the address, if somebody has it who has a password here.
func (s *Store) ForgotPassword(ctx context.Context, email account.Email) error {
	c, err := s.Credential(ctx, email)
	if err != nil || c.PasswordHash == "" {
		return err
	}
	batch := &pgx.Batch{}
	if err := s.queueMail(ctx, batch, c.User, accountmail.Message{Kind: resetPassword, Email: string(email)}); err != nil {
		return err
	}
	if err := s.pool.SendBatch(ctx, batch).Close(); err != nil {
		return err
	}
	s.nudge()
	return nil
}

// CheckReset says whether a reset token is good, without using it.
func (s *Store) CheckReset(ctx context.Context, token string) error {
	hash := sha256.Sum256([]byte(token))
	var good bool
	err := s.pool.QueryRow(ctx, `SELECT EXISTS (SELECT FROM account_tokens WHERE hash = $1 AND kind = 'reset_password' AND expires_at > $2)`,
		hash[:], s.clock()).Scan(&good)
	if err == nil && !good {
		return account.ErrInvalidToken
	}
	return err
}

// ResetPassword takes a token from a mailbox, sets the new password, and ends every sign-in of the user.
func (s *Store) ResetPassword(ctx context.Context, token, passwordHash string, entry account.Entry) error {
	err := pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		id, proved, err := s.consume(ctx, tx, token, resetPassword)
		if err != nil {
			return err
		}
		u, err := s.lock(ctx, tx, id, "", AnyVersion)
		if errors.Is(err, account.ErrNotFound) || (err == nil && u.Email != proved) {
			return account.ErrInvalidToken // erased, or the account has another address by now
		}
		if err != nil {
			return err
		}
		return s.newPassword(ctx, tx, u, passwordHash, entry.Of(account.PasswordReset, id, account.OK))
	})
	if err == nil {
		s.nudge()
	}
	return err
}

// ChangePassword replaces a password, unless it was replaced meanwhile, and ends every sign-in of the user.
func (s *Store) ChangePassword(ctx context.Context, id uuid.UUID, oldHash, passwordHash string, entry account.Entry) error {
	err := pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		u, err := s.lock(ctx, tx, id, "", AnyVersion)
		if err != nil {
			return err
		}
		tag, err := tx.Exec(ctx, `SELECT FROM credentials WHERE user_id = $1 AND password_hash = $2 FOR UPDATE`, id, oldHash)
		if err != nil {
			return err
		}
		if tag.RowsAffected() == 0 {
			return account.ErrInvalidCredentials
		}
		return s.newPassword(ctx, tx, u, passwordHash, entry.Of(account.PasswordChanged, id, account.OK))
	})
	if err == nil {
		s.nudge()
	}
	return err
}

func (s *Store) newPassword(ctx context.Context, tx pgx.Tx, u account.User, passwordHash string, entry account.Entry) error {
	now := s.clock()
	batch := &pgx.Batch{}
	batch.Queue(`UPDATE credentials SET password_hash = $2, changed_at = $3 WHERE user_id = $1`, u.ID, passwordHash, now)
	batch.Queue(`UPDATE refresh_families SET revoked_at = $2, revoked_for = 'password' WHERE user_id = $1 AND revoked_at IS NULL`, u.ID, now)
	batch.Queue(`DELETE FROM account_tokens WHERE user_id = $1 AND kind = 'reset_password'`, u.ID)
	s.queueAudit(batch, entry)
	// Whoever owns the mailbox should know, in case it wasn't them.
	err := queueMessage(ctx, batch, accountmail.Message{
		Kind: accountmail.PasswordChanged, UserID: u.ID, Name: string(u.Name), Email: string(u.Email), Locale: u.Locale,
		ExpiresAt: now.Add(verifyTTL),
	})
	if err != nil {
		return err
	}
	return tx.SendBatch(ctx, batch).Close()
}

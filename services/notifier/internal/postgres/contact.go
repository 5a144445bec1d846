package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/healthmed/healthmed/services/notifier/internal/notice"
)

const saveContact = `
INSERT INTO contacts (user_id, role, name, email, locale, version, updated_at)
VALUES ($1, $2, $3, $4, $5, $6, $7)
ON CONFLICT (user_id) DO UPDATE SET role = excluded.role, name = excluded.name, email = excluded.email,
	locale = excluded.locale, version = excluded.version, updated_at = excluded.updated_at,
	undeliverable = CASE WHEN contacts.email = excluded.email THEN contacts.undeliverable ELSE '' END,
	undeliverable_at = CASE WHEN contacts.email = excluded.email THEN contacts.undeliverable_at END
WHERE contacts.version < excluded.version AND NOT contacts.erased`

// SaveContact keeps what an event says of a person and wakes the deliveries that wait for them. An older event never
// overwrites a newer one, and nothing brings an erased person back. A new address is deliverable until proven otherwise.
// It returns the number of deliveries woken.
func (s *Store) SaveContact(ctx context.Context, c notice.Contact, now time.Time) (int, error) {
	var b pgx.Batch
	b.Queue(saveContact, c.ID, c.Role, c.Name, c.Email, c.Locale, c.Version, now)
	return s.withWake(ctx, &b, c.ID, now)
}

const eraseContact = `
INSERT INTO contacts (user_id, role, name, email, locale, version, erased, updated_at)
VALUES ($1, $2, '', '', 'pt-BR', $3, true, $4)
ON CONFLICT (user_id) DO UPDATE SET name = '', email = '', erased = true, undeliverable = '',
	undeliverable_at = NULL, version = greatest(contacts.version, excluded.version), updated_at = excluded.updated_at`

// EraseContact forgets a person's name and address for good. Deliveries to them are skipped when they come up.
func (s *Store) EraseContact(ctx context.Context, id uuid.UUID, role string, version int64, now time.Time) (int, error) {
	var b pgx.Batch
	b.Queue(eraseContact, id, role, version, now)
	return s.withWake(ctx, &b, id, now)
}

// withWake runs the batch, and with it wakes what waits for the person, as one transaction.
func (s *Store) withWake(ctx context.Context, b *pgx.Batch, id uuid.UUID, now time.Time) (int, error) {
	b.Queue(`UPDATE deliveries SET status = 'pending', due_at = $2, missing_id = NULL, updated_at = $2
		WHERE missing_id = $1 AND status = 'waiting'`, id, now)
	results := s.pool.SendBatch(ctx, b)
	defer results.Close()
	if _, err := results.Exec(); err != nil {
		return 0, fmt.Errorf("save contact: %w", err)
	}
	tag, err := results.Exec()
	if err != nil {
		return 0, fmt.Errorf("wake deliveries: %w", err)
	}
	if err := results.Close(); err != nil {
		return 0, fmt.Errorf("save contact: %w", err)
	}
	return int(tag.RowsAffected()), nil
}

// Preferences of a person; ErrNotFound when they aren't known.
func (s *Store) Preferences(ctx context.Context, id uuid.UUID) (notice.Preferences, error) {
	var p notice.Preferences
	err := s.pool.QueryRow(ctx, `SELECT agenda, reminders FROM contacts WHERE user_id = $1 AND NOT erased`, id).
		Scan(&p.Agenda, &p.Reminders)
	return p, translate(err)
}

// SavePreferences replaces a person's preferences.
func (s *Store) SavePreferences(ctx context.Context, id uuid.UUID, p notice.Preferences, now time.Time) error {
	tag, err := s.pool.Exec(ctx, `UPDATE contacts SET agenda = $2, reminders = $3, updated_at = $4
		WHERE user_id = $1 AND NOT erased`, id, p.Agenda, p.Reminders, now)
	if err == nil && tag.RowsAffected() == 0 {
		err = pgx.ErrNoRows
	}
	return translate(err)
}

// translate turns the driver's "no rows" into the domain's word.
func translate(err error) error {
	if errors.Is(err, pgx.ErrNoRows) {
		return notice.ErrNotFound
	}
	return err
}

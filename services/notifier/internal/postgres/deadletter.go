package postgres

import (
	"context"
	"encoding/json"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/healthmed/healthmed/services/notifier/internal/notice"
)

// DeadLetter is a message that could not be handled, as operators see it.
type DeadLetter struct {
	ID         uuid.UUID
	Stream     string
	StreamSeq  int64
	Durable    string
	Subject    string
	Reason     string
	Attempts   int64
	FailedAt   time.Time
	RedrivenAt time.Time // zero until redriven
	// Letter is the whole dead letter in JSON, or nil for a delivery that waited in vain.
	Letter json.RawMessage
}

// SaveDeadLetter keeps a dead letter, once.
func (s *Store) SaveDeadLetter(ctx context.Context, d DeadLetter) error {
	_, err := s.pool.Exec(ctx, `
		INSERT INTO dead_letters (id, stream, stream_seq, durable, subject, reason, attempts, letter, failed_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT DO NOTHING`,
		d.ID, d.Stream, d.StreamSeq, d.Durable, d.Subject, d.Reason, d.Attempts, d.Letter, d.FailedAt)
	return err
}

const deadLetterColumns = `id, stream, stream_seq, durable, subject, reason, attempts, failed_at, redriven_at, letter`

func scanDeadLetter(row pgx.CollectableRow) (DeadLetter, error) {
	var d DeadLetter
	var redriven *time.Time
	err := row.Scan(&d.ID, &d.Stream, &d.StreamSeq, &d.Durable, &d.Subject, &d.Reason, &d.Attempts, &d.FailedAt, &redriven, &d.Letter)
	d.RedrivenAt = deref(redriven)
	return d, err
}

// DeadLetters lists newest first, from before a given one.
func (s *Store) DeadLetters(ctx context.Context, before uuid.UUID, limit int) ([]DeadLetter, error) {
	return rowsOf(ctx, s.pool, `SELECT `+deadLetterColumns+` FROM dead_letters
		WHERE $1::uuid IS NULL OR id < $1 ORDER BY id DESC LIMIT $2`, scanDeadLetter, nullID(before), limit)
}

// DeadLetter returns one, or ErrNotFound.
func (s *Store) DeadLetter(ctx context.Context, id uuid.UUID) (DeadLetter, error) {
	rows, err := s.pool.Query(ctx, `SELECT `+deadLetterColumns+` FROM dead_letters WHERE id = $1`, id)
	if err != nil {
		return DeadLetter{}, err
	}
	d, err := pgx.CollectExactlyOneRow(rows, scanDeadLetter)
	return d, translate(err)
}

// MarkRedriven notes when a dead letter was handed back.
func (s *Store) MarkRedriven(ctx context.Context, id uuid.UUID, now time.Time) error {
	tag, err := s.pool.Exec(ctx, `UPDATE dead_letters SET redriven_at = $2 WHERE id = $1`, id, now)
	if err == nil && tag.RowsAffected() == 0 {
		return notice.ErrNotFound
	}
	return err
}

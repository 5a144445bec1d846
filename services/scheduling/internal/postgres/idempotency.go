package postgres

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	pg "github.com/healthmed/healthmed/pkg/postgres"
)

// Errors of repeated requests.
var (
	// ErrKeyReused: the Idempotency-Key came before with another request.
	ErrKeyReused = errors.New("postgres: idempotency key reused")
	// ErrInProgress: the first request with the Idempotency-Key is still running.
	ErrInProgress = errors.New("postgres: idempotent request in progress")
)

// Request is a call that the caller may repeat. Without a Key nothing is remembered.
type Request struct {
	Caller      uuid.UUID
	Key         string
	Fingerprint [sha256.Size]byte // of operation and body
	// Refusal writes the answer to an error that is remembered like a success; false for one that is not.
	Refusal func(error) (Answer, bool)
}

// Answer is what the caller is told.
type Answer struct {
	Status   int
	Location string
	Body     []byte
	ETag     string // of a fresh answer; a replay has none
	Replayed bool
}

// Render writes the answer to an operation; it is stored in the operation's transaction.
type Render[T any] func(T) (Answer, error)

// lock is the advisory lock that the first request with the key holds while it runs.
func (r Request) lock() int64 {
	sum := sha256.Sum256(append(r.Caller[:], r.Key...))
	return int64(binary.BigEndian.Uint64(sum[:]))
}

const storedAnswer = `
SELECT fingerprint, status, location, body FROM idempotency_keys WHERE caller = $1 AND key = $2`

// answer finds what the first request with the key was told; false when there was none.
func (r Request) answer(row pgx.Row) (Answer, bool, error) {
	var a Answer
	var fingerprint []byte
	switch err := row.Scan(&fingerprint, &a.Status, &a.Location, &a.Body); {
	case errors.Is(err, pgx.ErrNoRows):
		return Answer{}, false, nil
	case err != nil:
		return Answer{}, false, err
	case string(fingerprint) != string(r.Fingerprint[:]):
		return Answer{}, false, ErrKeyReused
	}
	a.Replayed = true
	return a, true, nil
}

// enter begins an idempotent operation inside tx: it returns the stored answer, if there is one, or makes any other
// request with the key wait for its turn (ErrInProgress).
func (r Request) enter(ctx context.Context, tx pgx.Tx) (Answer, bool, error) {
	if r.Key == "" {
		return Answer{}, false, nil
	}
	var mine, found bool
	var a Answer
	b := &pgx.Batch{}
	b.Queue(`SELECT pg_try_advisory_xact_lock($1)`, r.lock()).QueryRow(func(row pgx.Row) error { return row.Scan(&mine) })
	// A statement of its own: its snapshot is younger than the lock, so it sees what the last holder committed.
	b.Queue(storedAnswer, r.Caller, r.Key).QueryRow(func(row pgx.Row) (err error) {
		a, found, err = r.answer(row)
		return err
	})
	err := send(ctx, tx, b)
	if err == nil && !found && !mine {
		err = ErrInProgress
	}
	return a, found, err
}

// rememberRefusal remembers nothing for a caller who was erased.
const rememberRefusal = `
INSERT INTO idempotency_keys (caller, key, fingerprint, status, location, body, created_at)
SELECT $1, $2, $3, $4, '', $5, $6
WHERE NOT EXISTS (SELECT FROM people WHERE id = $1 AND erased_at IS NOT NULL) ON CONFLICT DO NOTHING`

// concluded is the operation's outcome. A refusal changed nothing, but it is what the caller was told: a repetition that
// comes late, when the time happens to be free again, must not book what the caller has given up. Where a repetition
// was faster, its answer is the one that counts.
func (s *Store) concluded(ctx context.Context, r Request, a Answer, err error) (Answer, error) {
	if pg.Code(err) == uniqueViolation && r.Key != "" {
		// A request with the key was refused just before this one began, and its refusal was stored while this one ran.
		first, found, failed := r.answer(s.pool.QueryRow(ctx, storedAnswer, r.Caller, r.Key))
		if failed != nil || found {
			return first, failed
		}
	}
	if err == nil || r.Key == "" || r.Refusal == nil {
		return a, err
	}
	refusal, kept := r.Refusal(err)
	if !kept {
		return Answer{}, err
	}
	tag, failed := s.pool.Exec(ctx, rememberRefusal, r.Caller, r.Key, r.Fingerprint[:], refusal.Status, refusal.Body,
		s.clock())
	if failed != nil {
		return Answer{}, failed
	}
	if tag.RowsAffected() == 1 {
		return Answer{}, err
	}
	first, found, failed := r.answer(s.pool.QueryRow(ctx, storedAnswer, r.Caller, r.Key))
	if failed != nil {
		return Answer{}, failed
	}
	if !found { // not remembered, or forgotten in this very moment, a day later
		return Answer{}, err
	}
	return first, nil
}

// queue adds the insert of the answer to the batch; about is the patient in it.
func (r Request) queue(b *pgx.Batch, a Answer, about uuid.UUID, now time.Time) {
	if r.Key == "" {
		return
	}
	b.Queue(`INSERT INTO idempotency_keys (caller, key, fingerprint, status, location, body, created_at, about)
VALUES ($1, $2, $3, $4, $5, $6, $7, nullif($8::uuid, $1))`, r.Caller, r.Key, r.Fingerprint[:], a.Status, a.Location, a.Body, now, about)
}

// redactAnswers takes the reason for the visit out of what others were told about a patient. The rest stays, so that a
// repeated request is still answered and does nothing.
const redactAnswers = `
UPDATE idempotency_keys SET body = convert_to((convert_from(body, 'UTF8')::jsonb - 'reason')::text, 'UTF8')
WHERE about = $1 AND convert_from(body, 'UTF8')::jsonb ? 'reason'`

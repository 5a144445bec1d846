package postgres

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/healthmed/healthmed/services/notifier/internal/notice"
)

// Hear takes a batch of signals in and returns the indices of those that have something to tell, for Feedback: nearly all of them only
// say that a message which is known to be sent was sent, and cost no transaction each.
func (s *Store) Hear(ctx context.Context, signals []notice.Signal, now time.Time) (news []int, err error) {
	var latest time.Time
	var ids, delivered []uuid.UUID
	for _, sig := range signals {
		if sig.At.After(latest) {
			latest = sig.At
		}
		ids = append(ids, sig.DeliveryID)
		if sig.Kind == notice.SignalDelivery {
			delivered = append(delivered, sig.DeliveryID)
		}
	}
	var b pgx.Batch
	// At most one write in a second, so that this row is no bottleneck.
	b.Queue(`UPDATE feedback SET seen_at = $1 WHERE seen_at < $1::timestamptz - interval '1 second'`, latest)
	known := map[uuid.UUID]state{}
	b.Queue(`SELECT id, status, attempts, coalesce(ses_message_id, '') FROM deliveries WHERE id = ANY($1)`, ids).Query(func(rows pgx.Rows) error {
		var id uuid.UUID
		var d state
		_, err := pgx.ForEachRow(rows, []any{&id, &d.status, &d.attempts, &d.message}, func() error {
			known[id] = d
			return nil
		})
		return err
	})
	if len(delivered) > 0 { // of those that are not settled yet, Feedback notes it
		b.Queue(`UPDATE deliveries SET delivered_at = $2 WHERE id IN (SELECT id FROM deliveries WHERE id = ANY($1)
			AND delivered_at IS NULL AND status IN ('sent', 'bounced', 'complained') ORDER BY id FOR UPDATE)`, delivered, now)
	}
	if err := s.pool.SendBatch(ctx, &b).Close(); err != nil {
		return nil, fmt.Errorf("hear feedback: %w", err)
	}
	for i, sig := range signals {
		d, ok := known[sig.DeliveryID]
		if !ok {
			continue // for nobody
		}
		if _, changes := sig.After(d.status, d.attempts, d.message); changes || sig.Suppresses() {
			news = append(news, i)
		}
	}
	return news, nil
}

// state is what a signal is held against.
type state struct {
	status   notice.Status
	attempts int
	message  string
}

// Feedback applies a signal to its delivery and to the address. One about a delivery that isn't known is for nobody.
// changed says that a delivery event was published, failed whether it tells of a failure.
func (s *Store) Feedback(ctx context.Context, sig notice.Signal, now time.Time) (changed bool, failed []Failed, err error) {
	err = pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		var d state
		err := tx.QueryRow(ctx, `SELECT d.status, d.attempts, coalesce(d.ses_message_id, '') FROM deliveries d WHERE d.id = $1 FOR UPDATE`,
			sig.DeliveryID).Scan(&d.status, &d.attempts, &d.message)
		if errors.Is(err, pgx.ErrNoRows) {
			return nil
		}
		if err != nil {
			return err
		}
		if sig.Kind == notice.SignalDelivery {
			if _, err := tx.Exec(ctx, `UPDATE deliveries SET delivered_at = coalesce(delivered_at, $2) WHERE id = $1`, sig.DeliveryID, now); err != nil {
				return err
			}
		}
		next, ok := sig.After(d.status, d.attempts, d.message)
		if ok {
			changed = true
			if failed, err = settle(ctx, tx, sig, next, now); err != nil {
				return err
			}
		}
		if !sig.Suppresses() {
			return nil
		}
		// A message has one recipient, who may have another address by now: that one is good until proven otherwise.
		addresses := make([]string, len(sig.SentTo))
		for i, a := range sig.SentTo {
			addresses[i] = strings.ToLower(a)
		}
		_, err = tx.Exec(ctx, `UPDATE contacts c SET undeliverable = $3, undeliverable_at = $4
			FROM deliveries d WHERE d.id = $1 AND c.user_id = d.recipient_id AND lower(c.email) = ANY($2) AND c.undeliverable = ''`,
			sig.DeliveryID, addresses, sig.Reason, now)
		return err
	})
	if err != nil {
		return false, nil, fmt.Errorf("apply feedback: %w", err)
	}
	return changed, failed, nil
}

func settle(ctx context.Context, tx pgx.Tx, sig notice.Signal, next notice.Status, now time.Time) ([]Failed, error) {
	rows, err := rowsOf(ctx, tx, `
		UPDATE deliveries d SET status = $2, last_error = nullif($3, ''), ses_message_id = $4, secret = NULL,
			sent_at = coalesce(d.sent_at, $5), due_at = $5, published = d.published + 1, updated_at = $5
		WHERE d.id = $1 RETURNING `+toldColumns, scanTold, sig.DeliveryID, next, sig.Reason, sig.MessageID, now)
	if err != nil {
		return nil, err
	}
	return failedOf(rows), publish(ctx, tx, rows, now)
}

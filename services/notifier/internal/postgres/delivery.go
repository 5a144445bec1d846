package postgres

import (
	"context"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/healthmed/healthmed/services/notifier/internal/notice"
)

// Filter of deliveries; zero fields don't filter.
type Filter struct {
	Status                     notice.Status
	AppointmentID, RecipientID uuid.UUID
	Before                     uuid.UUID // page on from this delivery
	Limit                      int
}

const deliveryColumns = `id, event_id, template, recipient_id, appointment_id, status, attempts, resends, coalesce(last_error, ''),
	coalesce(ses_message_id, ''), created_at, due_at, sent_at`

func scanDelivery(row pgx.CollectableRow) (notice.Delivery, error) {
	var d notice.Delivery
	var appointment *uuid.UUID
	var sent *time.Time
	err := row.Scan(&d.ID, &d.EventID, &d.Template, &d.RecipientID, &appointment, &d.Status, &d.Attempts, &d.Resends,
		&d.LastError, &d.SESMessageID, &d.CreatedAt, &d.DueAt, &sent)
	d.AppointmentID, d.SentAt = deref(appointment), deref(sent)
	return d, err
}

// Deliveries lists newest first.
func (s *Store) Deliveries(ctx context.Context, f Filter) ([]notice.Delivery, error) {
	return rowsOf(ctx, s.pool, `SELECT `+deliveryColumns+` FROM deliveries
		WHERE ($1 = '' OR status = $1) AND ($2::uuid IS NULL OR appointment_id = $2) AND ($3::uuid IS NULL OR recipient_id = $3)
			AND ($4::uuid IS NULL OR id < $4)
		ORDER BY id DESC LIMIT $5`, scanDelivery,
		string(f.Status), nullID(f.AppointmentID), nullID(f.RecipientID), nullID(f.Before), f.Limit)
}

// Delivery returns one, or ErrNotFound.
func (s *Store) Delivery(ctx context.Context, id uuid.UUID) (notice.Delivery, error) {
	rows, err := s.pool.Query(ctx, `SELECT `+deliveryColumns+` FROM deliveries WHERE id = $1`, id)
	if err != nil {
		return notice.Delivery{}, err
	}
	d, err := pgx.CollectExactlyOneRow(rows, scanDelivery)
	return d, translate(err)
}

// Retry puts a delivery back in the queue, where the domain allows it.
func (s *Store) Retry(ctx context.Context, id uuid.UUID, now time.Time) (notice.Delivery, error) {
	var d notice.Delivery
	err := pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, `SELECT `+deliveryColumns+` FROM deliveries WHERE id = $1 FOR UPDATE`, id)
		if err != nil {
			return err
		}
		if d, err = pgx.CollectExactlyOneRow(rows, scanDelivery); err != nil {
			return translate(err)
		}
		if d, err = d.Retry(now); err != nil {
			return err
		}
		_, err = tx.Exec(ctx, `UPDATE deliveries SET status = $2, due_at = $3, planned_at = greatest(planned_at, $3),
			resends = resends + (status = 'unknown')::integer, missing_id = NULL, updated_at = $3 WHERE id = $1`, id, d.Status, d.DueAt)
		return err
	})
	return d, err
}

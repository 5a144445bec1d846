package outbox

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/healthmed/healthmed/pkg/events"
	"github.com/healthmed/healthmed/pkg/telemetry"
)

// MaxBytes is the most that a message's data and headers may have together: NATS refuses more than 1 MiB by
// default, and what can never be published must not get in.
const MaxBytes = 1<<20 - 16<<10

// ErrRefused is returned for a message that could never be published: an invalid subject, or too large.
var ErrRefused = errors.New("outbox: message refused")

// Execer is what Append writes through: a pgx.Tx (or a connection inside a transaction).
type Execer interface {
	Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error)
}

// Append adds the events inside the caller's transaction. Correlation id and trace context are taken from the
// context (see telemetry) where the envelope has none.
func Append(ctx context.Context, tx Execer, envs ...events.Envelope) error {
	rows, err := newRows(ctx, envs)
	if err != nil || len(rows) == 0 {
		return err
	}
	return insert(ctx, tx, rows)
}

// Queue adds the insert of the events to a batch, for one round trip.
func Queue(ctx context.Context, b *pgx.Batch, envs ...events.Envelope) error {
	rows, err := newRows(ctx, envs)
	if err != nil || len(rows) == 0 {
		return err
	}
	b.Queue(insertRows, columns(rows)...)
	return nil
}

// Row is an event as the outbox stores it, for a statement of the caller's own that inserts it in a CTE
// (INSERT INTO outbox (id, subject, aggregate_id, aggregate_version, headers, data) VALUES ...).
type Row struct {
	ID               [16]byte
	Subject          string
	AggregateID      [16]byte
	AggregateVersion int64
	Headers          []byte // JSON object of header name to value
	Data             []byte // the encoded envelope
	// Secret data is blanked once published and never replayed. A CTE of the caller's own leaves it out.
	Secret bool
}

// NewRow encodes an envelope.
func NewRow(ctx context.Context, env events.Envelope) (Row, error) {
	if env.CorrelationID == "" {
		env.CorrelationID = telemetry.RequestID(ctx)
	}
	if env.TraceParent == "" {
		env.TraceParent = telemetry.TraceParent(ctx)
	}
	data, err := env.Encode()
	if err != nil {
		return Row{}, fmt.Errorf("outbox: %w", err)
	}
	return newRow(Row{ID: env.ID, Subject: env.Data.Subject(), AggregateID: env.Data.AggregateID(),
		AggregateVersion: env.Sequence, Data: data}, env.Headers())
}

// Raw is a message that is no event of the public contract, such as one of stream ACCOUNT_MAIL.
type Raw struct {
	ID      uuid.UUID // becomes the Nats-Msg-Id; made when nil
	Subject string
	// AggregateID and AggregateVersion put messages in an order; the nil UUID leaves this one unordered.
	AggregateID      uuid.UUID
	AggregateVersion int64
	Headers          map[string]string // besides Nats-Msg-Id and traceparent
	Data             []byte
	// Secret says that the data carries a secret (a link with a token): it is blanked in the statement that marks
	// the row as published, and such a row is never replayed.
	Secret bool
}

// AppendRaw adds messages inside the caller's transaction.
func AppendRaw(ctx context.Context, tx Execer, msgs ...Raw) error {
	rows := make([]Row, 0, len(msgs))
	for _, m := range msgs {
		row, err := newRawRow(ctx, m)
		if err != nil {
			return err
		}
		rows = append(rows, row)
	}
	if len(rows) == 0 {
		return nil
	}
	return insert(ctx, tx, rows)
}

// QueueRaw adds the insert of the messages to a batch, for one round trip.
func QueueRaw(ctx context.Context, b *pgx.Batch, msgs ...Raw) error {
	rows := make([]Row, 0, len(msgs))
	for _, m := range msgs {
		row, err := newRawRow(ctx, m)
		if err != nil {
			return err
		}
		rows = append(rows, row)
	}
	if len(rows) > 0 {
		b.Queue(insertRows, columns(rows)...)
	}
	return nil
}

func newRawRow(ctx context.Context, m Raw) (Row, error) {
	if m.ID == uuid.Nil {
		id, err := uuid.NewV7()
		if err != nil {
			return Row{}, fmt.Errorf("outbox: %w", err)
		}
		m.ID = id
	}
	if m.AggregateID == uuid.Nil {
		m.AggregateID = m.ID
	}
	headers := make(map[string]string, len(m.Headers)+2)
	for k, v := range m.Headers {
		headers[k] = v
	}
	headers[jetstream.MsgIDHeader] = m.ID.String()
	if tp := telemetry.TraceParent(ctx); tp != "" {
		headers[traceParent] = tp
	}
	return newRow(Row{ID: m.ID, Subject: m.Subject, AggregateID: m.AggregateID,
		AggregateVersion: m.AggregateVersion, Data: m.Data, Secret: m.Secret}, headers)
}

func newRow(row Row, headers map[string]string) (Row, error) {
	if !publishable(row.Subject) {
		return Row{}, fmt.Errorf("%w: subject %q", ErrRefused, row.Subject)
	}
	var err error
	if row.Headers, err = json.Marshal(headers); err != nil {
		return Row{}, fmt.Errorf("outbox: headers: %w", err)
	}
	if n := len(row.Headers) + len(row.Data); n > MaxBytes {
		return Row{}, fmt.Errorf("%w: %d bytes, at most %d", ErrRefused, n, MaxBytes)
	}
	return row, nil
}

// publishable tells whether a message can be published to the subject: tokens that are not empty, no wildcards, no
// white space.
func publishable(subject string) bool {
	const maxSubject = 1024 // far above what EVENTS.md needs; part of the server's limit for a protocol line
	if len(subject) > maxSubject || strings.ContainsAny(subject, " \t\r\n\f*>\x00") {
		return false
	}
	for token := range strings.SplitSeq(subject, ".") {
		if token == "" {
			return false
		}
	}
	return true
}

func newRows(ctx context.Context, envs []events.Envelope) ([]Row, error) {
	rows := make([]Row, 0, len(envs))
	for _, env := range envs {
		row, err := NewRow(ctx, env)
		if err != nil {
			return nil, err
		}
		rows = append(rows, row)
	}
	return rows, nil
}

// insertRows numbers rows in the order given: unnest keeps it, and seq's default is evaluated per row.
const insertRows = `
INSERT INTO outbox (id, subject, aggregate_id, aggregate_version, headers, data, secret)
SELECT id, subject, aggregate_id, aggregate_version, headers::jsonb, data, secret
FROM unnest($1::uuid[], $2::text[], $3::uuid[], $4::bigint[], $5::text[], $6::bytea[], $7::boolean[])
	AS r (id, subject, aggregate_id, aggregate_version, headers, data, secret)`

func columns(rows []Row) []any {
	var (
		ids, aggregates   = make([][16]byte, len(rows)), make([][16]byte, len(rows))
		subjects, headers = make([]string, len(rows)), make([]string, len(rows))
		versions          = make([]int64, len(rows))
		data              = make([][]byte, len(rows))
		secret            = make([]bool, len(rows))
	)
	for i, r := range rows {
		ids[i], aggregates[i] = r.ID, r.AggregateID
		subjects[i], headers[i] = r.Subject, string(r.Headers)
		versions[i], secret[i] = r.AggregateVersion, r.Secret
		data[i] = r.Data
		if data[i] == nil {
			data[i] = []byte{}
		}
	}
	return []any{ids, subjects, aggregates, versions, headers, data, secret}
}

func insert(ctx context.Context, tx Execer, rows []Row) error {
	if _, err := tx.Exec(ctx, insertRows, columns(rows)...); err != nil {
		return fmt.Errorf("outbox: append: %w", err)
	}
	return nil
}

package outbox

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
)

// row is what the relay reads of the table.
type row struct {
	Seq         int64
	CreatedAt   time.Time
	ID          [16]byte
	Subject     string
	AggregateID [16]byte
	Headers     []byte // JSON
	Data        []byte
	Attempts    int
}

// setback is a row that wasn't published, and what becomes of it.
type setback struct {
	row        *row
	attempts   int
	next       time.Time
	quarantine bool
	reason     string
}

// outcomes of publishing that the table must learn.
type outcomes struct {
	published []*row
	setbacks  []setback
}

// markPublished finds the rows by primary key without a join: its plan is made once, when the table may be empty, and
// then a join could be made the wrong way round. The first and the last day leave out the other partitions.
const markPublished = `
UPDATE outbox
SET published_at = $1, next_attempt_at = NULL, last_error = NULL,
	data = CASE WHEN secret THEN ''::bytea ELSE data END
WHERE seq = ANY ($2::bigint[]) AND created_at BETWEEN $3 AND $4`

const markSetBack = `
UPDATE outbox AS o
SET attempts = f.attempts, next_attempt_at = f.next, last_error = f.reason,
	quarantined_at = CASE WHEN f.quarantine THEN $1::timestamptz END
FROM unnest($2::bigint[], $3::timestamptz[], $4::integer[], $5::timestamptz[], $6::boolean[], $7::text[])
	AS f (seq, created_at, attempts, next, quarantine, reason)
WHERE o.seq = f.seq AND o.created_at = f.created_at AND o.seq = ANY ($2::bigint[]) AND o.published_at IS NULL`

// readPending leaves out every row of an aggregate that has one in flight ($2), put off or in quarantine: it would
// overtake it.
const readPending = `
SELECT seq, created_at, id, subject, aggregate_id, headers, data, attempts
FROM outbox
WHERE published_at IS NULL AND quarantined_at IS NULL AND (next_attempt_at IS NULL OR next_attempt_at <= $1)
	AND aggregate_id <> ALL ($2::uuid[])
	AND aggregate_id <> ALL (ARRAY(
		SELECT held.aggregate_id FROM outbox AS held
		WHERE held.published_at IS NULL AND (held.quarantined_at IS NOT NULL OR held.next_attempt_at IS NOT NULL)
			AND (held.quarantined_at IS NOT NULL OR held.next_attempt_at > $1)))
ORDER BY seq
LIMIT $3`

// settle writes the outcomes and reads the next rows, all in one round trip and one transaction.
func settle(ctx context.Context, conn *pgx.Conn, now time.Time, o outcomes, inFlight [][16]byte, limit int) ([]*row, error) {
	var b pgx.Batch
	if n := len(o.published); n > 0 {
		seqs := make([]int64, n)
		first, last := o.published[0].CreatedAt, o.published[0].CreatedAt
		for i, r := range o.published {
			seqs[i] = r.Seq
			if r.CreatedAt.Before(first) {
				first = r.CreatedAt
			}
			if r.CreatedAt.After(last) {
				last = r.CreatedAt
			}
		}
		b.Queue(markPublished, now, seqs, first, last)
	}
	if n := len(o.setbacks); n > 0 {
		var (
			seqs, attempts = make([]int64, n), make([]int, n)
			days, next     = make([]time.Time, n), make([]time.Time, n)
			quarantine     = make([]bool, n)
			reasons        = make([]string, n)
		)
		for i, s := range o.setbacks {
			seqs[i], days[i], attempts[i], next[i] = s.row.Seq, s.row.CreatedAt, s.attempts, s.next
			quarantine[i], reasons[i] = s.quarantine, s.reason
		}
		b.Queue(markSetBack, now, seqs, days, attempts, next, quarantine, reasons)
	}
	var rows []*row
	b.Queue(readPending, now, inFlight, limit).Query(func(result pgx.Rows) (err error) {
		rows, err = pgx.CollectRows(result, pgx.RowToAddrOfStructByPos[row])
		return err
	})
	return rows, conn.SendBatch(ctx, &b).Close()
}

package postgres

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/healthmed/healthmed/services/scheduling/internal/booking"
)

// Someone in line is not only told of time that is freed. Time may be free when they join, come into reach as the
// horizon moves on, or suit them only once something else of theirs is cancelled. So each place is looked at on joining
// and every lookAgain: what is found goes the way of freed time, to whoever is first in line for it.
const (
	lookAgain = time.Hour
	lookLease = time.Minute // one who dies looking is followed by another
	lookWide  = 3           // doctors tried for a specialty
)

const claimLook = `
UPDATE waitlist AS w SET look_at = $2 WHERE id = (
    SELECT id FROM waitlist WHERE status = 'waiting' AND look_at <= $1
    ORDER BY look_at LIMIT 1 FOR UPDATE SKIP LOCKED)
RETURNING ` + waitColumns

// LookForWaiting looks for time that is free already, for one who waits. It says how many it dealt with, one or none.
func (s *Store) LookForWaiting(ctx context.Context) (done int, err error) {
	now := s.clock()
	rows, err := s.pool.Query(ctx, claimLook, now, now.Add(lookLease))
	if err != nil {
		return 0, err
	}
	w, err := pgx.CollectExactlyOneRow(rows, scanWait)
	if errors.Is(err, pgx.ErrNoRows) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	found, err := s.reachable(ctx, w, now)
	if err != nil {
		return 0, err
	}
	b := &pgx.Batch{}
	for _, f := range found {
		queueFreed(ctx, b, f.doctor, f.start, f.end, now)
	}
	b.Queue(`UPDATE waitlist SET look_at = $2 WHERE id = $1`, w.ID, now.Add(lookAgain))
	return 1, s.pool.SendBatch(ctx, b).Close()
}

// reachable is where time for the wait may be free.
func (s *Store) reachable(ctx context.Context, w booking.Wait, now time.Time) ([]freed, error) {
	from := max(w.From, booking.DateOf(now, time.UTC)-1) // it may still be yesterday somewhere
	if w.To < from {
		return nil, nil
	}
	if w.Specialty == "" {
		start, end := window(from, w.To)
		return []freed{{doctor: w.DoctorID, start: start, end: end}}, nil
	}
	free, _, err := s.Search(ctx, Query{
		Specialty: w.Specialty, From: from, Days: int(w.To-from) + 1, Limit: lookWide, Aside: true,
	})
	found := make([]freed, len(free))
	_, end := window(from, w.To)
	for i, f := range free { // all of theirs from the first on: the patient may be busy then
		found[i] = freed{doctor: f.ID, start: f.Slots[0].StartsAt, end: end}
	}
	return found, err
}

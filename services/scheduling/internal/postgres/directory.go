package postgres

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/healthmed/healthmed/services/scheduling/internal/booking"
)

// directory keeps, for searches, who can be booked: profile, schedule, and for a few recent searches how early the
// doctor can be free at all. Before each use it reads which doctors have changed since, in one small query, so that
// every replica answers from the present state. What a search asks of every doctor lies in columns by the doctor's
// place: with thousands of them, following pointers would be most of its time.
type directory struct {
	mu     sync.Mutex
	seen   string // transactions from this one on may not have been seen; "" before the first look
	places map[uuid.UUID]int
	listed []*listed
	zones  []*time.Location
	bounds [4]bounds // of recent searches
	next   int       // the one to give way
}

// listed is a doctor who can be found. It is replaced whenever anything is changed that could make them free earlier,
// so that what a search learnt from the one before is not taken for granted.
type listed struct {
	Person
	schedule *booking.Schedule
}

// bounds say by place that a doctor has no free slot before that moment (Unix seconds) on the date from or later; 0
// says nothing. Bookings only make the first free slot later, and so does time, so a bound stays true until its doctor
// is replaced.
type bounds struct {
	from booking.Date
	at   []int64 // nil: not in use
}

func newDirectory() *directory { return &directory{places: make(map[uuid.UUID]int)} }

// known are the bounds of searches from that date; nil when there are none.
func (d *directory) known(from booking.Date) []int64 {
	for _, b := range d.bounds {
		if b.at != nil && b.from == from {
			return b.at
		}
	}
	return nil
}

// learn makes room for the bounds of searches from that date, in the place of those that were made first.
func (d *directory) learn(from booking.Date) []int64 {
	at := make([]int64, len(d.listed))
	d.bounds[d.next] = bounds{from, at}
	d.next = (d.next + 1) % len(d.bounds)
	return at
}

// raise keeps what was learnt of a doctor who hasn't been replaced meanwhile.
func (d *directory) raise(l *listed, from booking.Date, at int64) {
	place, found := d.places[l.ID]
	if known := d.known(from); found && known != nil && d.listed[place] == l {
		known[place] = max(known[place], at)
	}
}

// put adds or replaces a doctor, of whom nothing is known then.
func (d *directory) put(l *listed) {
	place, found := d.places[l.ID]
	if !found {
		place = len(d.listed)
		d.places[l.ID] = place
		d.listed, d.zones = append(d.listed, nil), append(d.zones, nil)
		for i := range d.bounds {
			if b := &d.bounds[i]; b.at != nil {
				b.at = append(b.at, 0)
			}
		}
	}
	d.listed[place], d.zones[place] = l, l.schedule.Zone()
	for _, b := range d.bounds {
		if b.at != nil {
			b.at[place] = 0
		}
	}
}

// remove takes a doctor out; the last one moves into their place.
func (d *directory) remove(doctor uuid.UUID) {
	place, found := d.places[doctor]
	if !found {
		return
	}
	last := len(d.listed) - 1
	d.places[d.listed[last].ID] = place
	delete(d.places, doctor)
	d.listed[place], d.zones[place] = d.listed[last], d.zones[last]
	d.listed[last] = nil
	d.listed, d.zones = d.listed[:last], d.zones[:last]
	for i := range d.bounds {
		if b := &d.bounds[i]; b.at != nil {
			b.at[place] = b.at[last]
			b.at = b.at[:last]
		}
	}
}

// changedSince reads, of one snapshot, who has changed and from which transaction on the next look must begin: the
// oldest one still running, because it may commit after younger ones did.
const changedSince = `
SELECT pg_snapshot_xmin(pg_current_snapshot())::text, coalesce(array_agg(doctor_id), '{}')
FROM doctor_changes WHERE changed >= $1::text::xid8`

// findable reads those of the doctors who can be found.
const findable = `
SELECT coalesce(p.name, ''), coalesce(p.crm_number, ''), coalesce(p.crm_state, ''), p.specialties, ` + scheduleColumns + `
FROM people p JOIN schedules s ON s.doctor_id = p.id
WHERE p.id = ANY ($2) AND p.role = 'doctor' AND p.status = 'active' AND p.erased_at IS NULL`

// loadChunk is how many doctors are read at a time.
const loadChunk = 1000

// Warm reads who can be found, so that the first search needn't.
func (s *Store) Warm(ctx context.Context) error {
	s.directory.mu.Lock()
	defer s.directory.mu.Unlock()
	return s.sync(ctx)
}

// sync brings the directory up to date. The caller holds d.mu.
func (s *Store) sync(ctx context.Context) error {
	d := s.directory
	since := d.seen
	if since == "" {
		since = "0"
	}
	var seen string
	var changed []uuid.UUID
	if err := s.pool.QueryRow(ctx, changedSince, since).Scan(&seen, &changed); err != nil {
		return err
	}
	for ids := range slices.Chunk(changed, loadChunk) {
		found, err := s.loadListed(ctx, ids)
		if err != nil {
			return err // seen stays: the next look begins where this one did
		}
		gone := make(map[uuid.UUID]bool, len(ids))
		for _, id := range ids {
			gone[id] = true
		}
		for _, l := range found {
			d.put(l)
			s.schedules.put(l.schedule) // whoever is found may be booked next
			delete(gone, l.ID)
		}
		for id := range gone {
			d.remove(id)
		}
	}
	d.seen = seen
	return nil
}

func (s *Store) loadListed(ctx context.Context, ids []uuid.UUID) ([]*listed, error) {
	rows, err := s.pool.Query(ctx, findable, s.exceptionsSince(), ids)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var found []*listed
	for rows.Next() {
		l := &listed{}
		var row scheduleRow
		targets := append([]any{&l.Name, &l.CRMNumber, &l.CRMState, &l.Specialties}, row.targets()...)
		if err := rows.Scan(targets...); err != nil {
			return nil, err
		}
		if l.schedule, err = row.schedule(&s.zones); err != nil {
			return nil, err
		}
		l.ID = row.doctor
		found = append(found, l)
	}
	return found, rows.Err()
}

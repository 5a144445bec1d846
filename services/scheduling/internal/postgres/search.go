package postgres

import (
	"bytes"
	"cmp"
	"container/heap"
	"context"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/healthmed/healthmed/services/scheduling/internal/booking"
)

// Query asks who is free first.
type Query struct {
	Specialty string // "": any
	From      booking.Date
	Days      int // dates looked at, From included
	Limit     int
	// After is the last doctor of the page before; nil for the first page.
	After *Position
	// Aside says that the question won't be asked again: what is learnt doesn't displace what other searches learnt.
	Aside bool
}

// Position is a doctor's in the list: their first free slot, then their id.
type Position struct {
	At time.Time
	ID uuid.UUID
}

// Free is a doctor with their first free slots.
type Free struct {
	Person
	TimeZone string
	Slots    []booking.Slot
}

const (
	slotsShown  = 3
	firstBatch  = 64
	largestRead = 1024 // doctors whose busy times are read at once
	firstReach  = 2    // days read of a doctor at first
)

// candidate is a doctor who has no free slot before the bound.
type candidate struct {
	*listed
	bound int64
	reach booking.Date // how many days to read when its turn comes
}

// candidates is a heap by bound.
type candidates []candidate

func (c candidates) Len() int           { return len(c) }
func (c candidates) Less(i, j int) bool { return c[i].bound < c[j].bound }
func (c candidates) Swap(i, j int)      { c[i], c[j] = c[j], c[i] }
func (c *candidates) Push(x any)        { *c = append(*c, x.(candidate)) }
func (c *candidates) Pop() any {
	last := (*c)[len(*c)-1]
	*c = (*c)[:len(*c)-1]
	return last
}

// first is a doctor and the start of their first free slot.
type first struct {
	*listed
	at int64
}

// byFirst is the order of the list.
func byFirst(a, b first) int {
	return cmp.Or(cmp.Compare(a.at, b.at), bytes.Compare(a.ID[:], b.ID[:]))
}

// after says whether a doctor comes after the page before.
func (q Query) after(f first) bool {
	return q.After == nil || cmp.Or(cmp.Compare(f.at, q.After.At.Unix()), bytes.Compare(f.ID[:], q.After.ID[:])) > 0
}

// Search finds the doctors who are free first, best first: doctors are looked at in the order of the earliest moment at
// which they can be free at all, and only until enough are found that nobody left can beat. What is learnt of those
// who were busy is kept for the next search. Its cost depends on how many doctors there are to choose from, and not
// on how many appointments there have been. next is where the next page begins; nil when there is none.
func (s *Store) Search(ctx context.Context, q Query) (page []Free, next *Position, err error) {
	now := s.clock()
	waiting, err := s.candidates(ctx, q, now)
	if err != nil {
		return nil, nil, err
	}
	want := q.Limit + 1 // one more tells whether there is another page
	var found []first
	for batch := firstBatch; waiting.Len() > 0; batch = min(2*batch, largestRead) {
		if len(found) >= want && found[want-1].at <= waiting[0].bound {
			break
		}
		var turn []candidate
		for waiting.Len() > 0 && len(turn) < batch {
			turn = append(turn, heap.Pop(&waiting).(candidate))
		}
		hits, again, err := s.examine(ctx, q, turn, now)
		if err != nil {
			return nil, nil, err
		}
		for _, c := range again {
			heap.Push(&waiting, c)
		}
		found = append(found, hits...)
		slices.SortFunc(found, byFirst)
		found = found[:min(len(found), want)]
	}
	if len(found) == want {
		found = found[:q.Limit]
		last := found[q.Limit-1]
		next = &Position{At: time.Unix(last.at, 0).UTC(), ID: last.ID}
	}
	page, err = s.firstSlots(ctx, q, found, now)
	return page, next, err
}

// candidates is everybody who can be free on the dates, as far as is known without reading appointments.
func (s *Store) candidates(ctx context.Context, q Query, now time.Time) (candidates, error) {
	s.directory.mu.Lock()
	defer s.directory.mu.Unlock()
	if err := s.sync(ctx); err != nil {
		return nil, err
	}
	d, last := s.directory, q.From+booking.Date(q.Days-1)
	known := d.known(q.From)
	if known == nil {
		if known = make([]int64, len(d.listed)); !q.Aside {
			known = d.learn(q.From)
		}
	}
	ends := make(map[*time.Location]int64) // of the last date
	c := make(candidates, 0, len(known))
	for place, at := range known {
		l := d.listed[place]
		if q.Specialty != "" && !slices.Contains(l.Specialties, q.Specialty) {
			continue
		}
		end, found := ends[d.zones[place]]
		if !found {
			end = l.schedule.EndOf(last)
			ends[d.zones[place]] = end
		}
		if at == 0 {
			at = end
			for slot := range l.schedule.Slots(q.From, last, now, nil) {
				at = slot.StartsAt.Unix()
				break
			}
			known[place] = at
		}
		if at < end {
			c = append(c, candidate{l, at, firstReach})
		}
	}
	heap.Init(&c)
	return c, nil
}

// examine reads what occupies the doctors from their bounds on, and finds their first free slots, or later bounds for
// those who have none as far as was read.
func (s *Store) examine(ctx context.Context, q Query, turn []candidate, now time.Time) (hits []first, again []candidate, err error) {
	last := q.From + booking.Date(q.Days-1)
	spans := make([]span, len(turn))
	for i, c := range turn {
		date := max(booking.DateOf(time.Unix(c.bound, 0), c.schedule.Zone()), q.From)
		spans[i] = span{doctor: c.ID, from: date, to: min(date+c.reach-1, last)}
	}
	occupied, err := s.occupied(ctx, spans, now)
	if err != nil {
		return nil, nil, err
	}
	s.directory.mu.Lock()
	defer s.directory.mu.Unlock()
	for i, c := range turn {
		taken, found := occupied[c.ID], false
		for slot := range c.schedule.Slots(spans[i].from, spans[i].to, now, taken.all) {
			if hit := (first{c.listed, slot.StartsAt.Unix()}); q.after(hit) {
				hits = append(hits, hit)
			}
			found = true
			break
		}
		// Held time may come free by itself, so it must not raise the bound.
		end := c.schedule.EndOf(spans[i].to)
		lasting := end
		for slot := range c.schedule.Slots(spans[i].from, spans[i].to, now, taken.lasting) {
			lasting = slot.StartsAt.Unix()
			break
		}
		if !q.Aside {
			s.directory.raise(c.listed, q.From, lasting)
		}
		if !found && spans[i].to < last {
			again = append(again, candidate{c.listed, end, 2 * c.reach})
		}
	}
	return hits, again, nil
}

// span is dates of a doctor.
type span struct {
	doctor   uuid.UUID
	from, to booking.Date
}

// occupancy is what occupies a doctor: all of it, and without what is merely held.
type occupancy struct {
	all, lasting []booking.Interval
}

const occupiedSpans = `
SELECT q.doctor, a.starts_at, a.blocked_until, a.status = 'held'
FROM unnest($1::uuid[], $2::timestamptz[], $3::timestamptz[]) AS q (doctor, since, until)
CROSS JOIN LATERAL (
    SELECT starts_at, blocked_until, status FROM appointments
    WHERE doctor_id = q.doctor AND starts_at >= q.since AND starts_at < q.until
        AND (status IN ('requested', 'booked') OR status = 'held' AND expires_at > $4)
    ORDER BY starts_at
) AS a`

// occupied reads what occupies many doctors, in one round trip.
func (s *Store) occupied(ctx context.Context, spans []span, now time.Time) (map[uuid.UUID]*occupancy, error) {
	doctors := make([]uuid.UUID, len(spans))
	since, until := make([]time.Time, len(spans)), make([]time.Time, len(spans))
	found := make(map[uuid.UUID]*occupancy, len(spans))
	for i, sp := range spans {
		doctors[i] = sp.doctor
		since[i], until[i] = window(sp.from, sp.to)
		found[sp.doctor] = &occupancy{}
	}
	rows, err := s.pool.Query(ctx, occupiedSpans, doctors, since, until, booking.Lapsed(now))
	if err != nil {
		return nil, err
	}
	var doctor uuid.UUID
	var start, end time.Time
	var held bool
	_, err = pgx.ForEachRow(rows, []any{&doctor, &start, &end, &held}, func() error {
		o, interval := found[doctor], booking.Interval{Start: start.Unix(), End: end.Unix()}
		o.all = append(o.all, interval)
		if !held {
			o.lasting = append(o.lasting, interval)
		}
		return nil
	})
	return found, err
}

// firstSlots reads the first slots of those who were found, a few days at a time.
func (s *Store) firstSlots(ctx context.Context, q Query, found []first, now time.Time) ([]Free, error) {
	last := q.From + booking.Date(q.Days-1)
	free := make([]Free, len(found))
	for i, f := range found {
		free[i] = Free{Person: f.Person, TimeZone: f.schedule.Availability.TimeZone}
	}
	for reach := booking.Date(firstReach); ; reach = min(4*reach, booking.MaxListedDays) {
		var spans []span
		var which []int
		for i, f := range found {
			from := booking.DateOf(time.Unix(f.at, 0), f.schedule.Zone())
			if len(free[i].Slots) < slotsShown && (reach == firstReach || from+reach/4-1 < last) {
				spans = append(spans, span{f.ID, from, min(from+reach-1, last)})
				which = append(which, i)
			}
		}
		if len(spans) == 0 {
			break
		}
		occupied, err := s.occupied(ctx, spans, now)
		if err != nil {
			return nil, err
		}
		for n, i := range which {
			free[i].Slots = nil
			for slot := range found[i].schedule.Slots(spans[n].from, spans[n].to, now, occupied[found[i].ID].all) {
				if free[i].Slots = append(free[i].Slots, slot); len(free[i].Slots) == slotsShown {
					break
				}
			}
		}
		if reach == booking.MaxListedDays {
			break
		}
	}
	// Somebody may have been booked out since they were found.
	return slices.DeleteFunc(free, func(f Free) bool { return len(f.Slots) == 0 }), nil
}

package postgres

import (
	"context"
	"fmt"
	"runtime/debug"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/healthmed/healthmed/pkg/events"
	"github.com/healthmed/healthmed/pkg/outbox"
	pg "github.com/healthmed/healthmed/pkg/postgres"
	"github.com/healthmed/healthmed/services/scheduling/internal/booking"
)

// insertAppointments writes appointments with their history, events and answers as one statement, hence one round trip
// and one transaction. An appointment is left out when the schedule has changed since it was read, when somebody has
// left, when the key was used, or when the time is taken: ON CONFLICT DO NOTHING without a target covers both exclusion
// constraints, and what two rows of the statement both want. It says of each whether the key was free and whether it
// was written.
//
// What each depends on is asked as a scalar, which PostgreSQL looks up by primary key whatever it believes of the tables'
// sizes. The sub-select hides from it how many rows are asked for: seeing few, it would take the plan for any number for
// dear and plan each time anew, which for one booking takes as long as all the rest.
//
// Doctors' times are taken in order, so that two statements that want the same ones don't wait for each other.
const insertAppointments = `
WITH asked AS MATERIALIZED (
    SELECT id, doctor_id, patient_id, status, starts_at, ends_at, blocked_until, time_zone, reason, expires_at, at,
        actor_role, actor_id, schedule, caller, key, lock, fingerprint, location, body, event_id, subject, headers, data
    FROM unnest((SELECT $1::uuid[]), $2::uuid[], $3::uuid[], $4::text[], $5::timestamptz[], $6::timestamptz[],
        $7::timestamptz[], $8::text[], $9::text[], $10::timestamptz[], $11::timestamptz[], $12::text[], $13::uuid[],
        $14::bigint[], $15::uuid[], $16::text[], $17::bigint[], $18::bytea[], $19::text[], $20::bytea[], $21::uuid[],
        $22::text[], $23::text[], $24::bytea[])
        AS a (id, doctor_id, patient_id, status, starts_at, ends_at, blocked_until, time_zone, reason, expires_at, at,
            actor_role, actor_id, schedule, caller, key, lock, fingerprint, location, body, event_id, subject, headers, data)
), gate AS MATERIALIZED (
    SELECT id, key IS NULL OR pg_try_advisory_xact_lock(lock) AS mine FROM asked
), written AS (
    INSERT INTO appointments (id, doctor_id, patient_id, status, starts_at, ends_at, blocked_until, time_zone, reason,
        version, expires_at, created_at, updated_at)
    SELECT id, doctor_id, patient_id, status, starts_at, ends_at, blocked_until, time_zone, reason, 1, expires_at, at, at
    FROM asked AS a JOIN gate USING (id)
    WHERE mine
        AND (SELECT s.version FROM schedules AS s WHERE s.doctor_id = a.doctor_id) = a.schedule
        AND (SELECT p.role = 'doctor' AND p.status = 'active' AND p.erased_at IS NULL
            FROM people AS p WHERE p.id = a.doctor_id) IS NOT FALSE
        AND (SELECT p.role = 'patient' AND p.erased_at IS NULL FROM people AS p WHERE p.id = a.patient_id) IS NOT FALSE
        AND (SELECT true FROM idempotency_keys AS k WHERE k.caller = a.caller AND k.key = a.key) IS NULL
    ORDER BY doctor_id, starts_at
    ON CONFLICT DO NOTHING
    RETURNING id
), told AS (
    INSERT INTO appointment_history (appointment_id, version, action, status, actor_role, actor_id, starts_at,
        ends_at, at)
    SELECT id, 1, status, status, actor_role, actor_id, starts_at, ends_at, at FROM written JOIN asked USING (id)
), event AS (
    INSERT INTO outbox (id, subject, aggregate_id, aggregate_version, headers, data)
    SELECT event_id, subject, id, 1, headers::jsonb, data FROM written JOIN asked USING (id)
), answer AS (
    INSERT INTO idempotency_keys (caller, key, fingerprint, status, location, body, created_at, about)
    SELECT caller, key, fingerprint, 201, location, body, at, nullif(patient_id, caller)
    FROM written JOIN asked USING (id) WHERE key IS NOT NULL
)
SELECT id, mine, EXISTS (SELECT FROM written WHERE written.id = gate.id) FROM gate`

// booked is a row of insertAppointments.
type booked struct {
	change   booking.Change
	schedule int64 // version of the schedule that allowed it
	req      Request
	answer   Answer
	event    outbox.Row
}

func newBooked(ctx context.Context, c booking.Change, schedule int64, req Request, a Answer) (*booked, error) {
	env, err := events.New(c.Event(), c.Version)
	if err != nil {
		return nil, err
	}
	row, err := outbox.NewRow(ctx, env)
	if err != nil {
		return nil, err
	}
	return &booked{change: c, schedule: schedule, req: req, answer: a, event: row}, nil
}

// arguments of insertAppointments.
func arguments(group []*ask) []any {
	n := len(group)
	// pgx would write a uuid.UUID as text and parse that; as bytes it takes a tenth of the time.
	ids, doctors, patients, actors, callers, eventIDs := make([][16]byte, n), make([][16]byte, n), make([][16]byte, n),
		make([][16]byte, n), make([][16]byte, n), make([][16]byte, n)
	statuses, zones, roles, locations, subjects, headers := make([]string, n), make([]string, n), make([]string, n),
		make([]string, n), make([]string, n), make([]string, n)
	starts, ends, blocked, created := make([]time.Time, n), make([]time.Time, n), make([]time.Time, n), make([]time.Time, n)
	reasons, keys, expires := make([]*string, n), make([]*string, n), make([]*time.Time, n)
	schedules, locks := make([]int64, n), make([]int64, n)
	fingerprints, bodies, data := make([][]byte, n), make([][]byte, n), make([][]byte, n)
	for i, a := range group {
		r, c := a.row, a.row.change
		ids[i], doctors[i], patients[i], statuses[i] = c.ID, c.DoctorID, c.PatientID, string(c.Status)
		starts[i], ends[i], blocked[i], zones[i] = c.Slot.StartsAt, c.Slot.EndsAt, c.BlockedUntil, c.TimeZone
		reasons[i], expires[i], created[i] = null(c.Reason), null(c.ExpiresAt), c.CreatedAt
		roles[i], actors[i], schedules[i] = string(c.By.Role), c.By.ID, r.schedule
		callers[i], keys[i], locks[i], fingerprints[i] = r.req.Caller, null(r.req.Key), r.req.lock(), r.req.Fingerprint[:]
		locations[i], bodies[i] = r.answer.Location, r.answer.Body
		eventIDs[i], subjects[i], headers[i], data[i] = r.event.ID, r.event.Subject, string(r.event.Headers), r.event.Data
	}
	return []any{ids, doctors, patients, statuses, starts, ends, blocked, zones, reasons, expires, created, roles, actors,
		schedules, callers, keys, locks, fingerprints, locations, bodies, eventIDs, subjects, headers, data}
}

const (
	// writers is how many groups are written at a time. With more, groups are smaller, and save less.
	writers = 4
	// maxGroup bounds what one commit waits for.
	maxGroup = 16
	// patience is how long a group waits for a transaction that holds a time which one of its rows wants: far longer than a
	// commit takes, and far shorter than a single booking waits. It also ends a circle with a transaction that waits for the
	// group.
	patience = 50 * time.Millisecond
	// writeLimit bounds the writing of a group, for whom nobody's own deadline counts.
	writeLimit = 10 * time.Second
)

// together writes bookings that come while others are being written in groups: a statement, a round trip and a commit
// cost nearly as much for one as for ten. A booking that comes alone waits for nobody.
type together struct {
	pool        *pgxpool.Pool
	committed   func()        // there are events to publish; never blocks
	lockTimeout time.Duration // of a group
	begun       sync.WaitGroup

	mu      sync.Mutex
	waiting []*ask
	writing map[uuid.UUID]bool // patients who are in a group that is being written
	keys    map[int64]bool     // locks of the keys of all that wait or are being written
	running int
}

// ask is a booking that waits to be written.
type ask struct {
	ctx    context.Context
	row    *booked
	result chan written
}

// written is what became of it.
type written struct {
	keyFree, done bool
	err           error
}

func newTogether(pool *pgxpool.Pool, committed func()) *together {
	return &together{pool: pool, committed: committed, lockTimeout: patience, writing: map[uuid.UUID]bool{}, keys: map[int64]bool{}}
}

// write tells whether the key was free, and whether the booking was written. When ctx ends while it waits its turn it
// isn't; when ctx ends while it is being written, it may be.
func (t *together) write(ctx context.Context, row *booked) (keyFree, done bool, err error) {
	a := &ask{ctx: ctx, row: row, result: make(chan written, 1)}
	if !t.enter(a) {
		return false, false, nil
	}
	select {
	case w := <-a.result:
		return w.keyFree, w.done, w.err
	case <-ctx.Done():
		t.giveUp(a)
		return false, false, ctx.Err()
	}
}

// enter lets it wait, unless another with its key does, and sees to it that somebody writes it.
func (t *together) enter(a *ask) (keyFree bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if a.row.req.Key != "" {
		lock := a.row.req.lock()
		if t.keys[lock] {
			return false
		}
		t.keys[lock] = true
	}
	t.waiting = append(t.waiting, a)
	if t.running < writers {
		t.running++
		t.begun.Go(t.run)
	}
	return true
}

// giveUp takes it out of those that wait.
func (t *together) giveUp(a *ask) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if i := slices.Index(t.waiting, a); i >= 0 {
		t.waiting = slices.Delete(t.waiting, i, i+1)
		delete(t.keys, a.row.req.lock())
	}
}

// run writes groups until there is none to write.
func (t *together) run() {
	for group := t.next(); len(group) > 0; group = t.next() {
		results, err := t.insertGroup(group)
		if !apart(err) {
			t.leave(group, results, err)
			continue
		}
		for _, a := range group {
			t.begun.Go(func() { t.alone(a) })
		}
	}
}

// apart says that nothing was written and that each is to be tried by itself: one of them waits for somebody else's lock,
// or is at fault.
func apart(err error) bool {
	switch code := pg.Code(err); code {
	case "":
		return false
	case lockNotAvailable, deadlockDetected:
		return true
	default:
		return !pg.IsUnavailable(err)
	}
}

// alone writes one as patiently as any other statement, which holds nothing that others want while it waits.
func (t *together) alone(a *ask) {
	one := []*ask{a}
	var results map[uuid.UUID]written
	err := pg.Retry(a.ctx, func(ctx context.Context) (err error) {
		results, err = t.insert(ctx, one, 0)
		return err
	})
	t.leave(one, results, err)
	t.resume()
}

// resume has written what waited for the patient of one who was written alone: its group's writer may have ended.
func (t *together) resume() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.waiting) > 0 && t.running < writers {
		t.running++
		t.begun.Go(t.run)
	}
}

// insertGroup writes a group that hasn't much patience.
func (t *together) insertGroup(group []*ask) (map[uuid.UUID]written, error) {
	parent := context.Background() // of several requests: the statement belongs to nobody's trace
	if len(group) == 1 {
		parent = context.WithoutCancel(group[0].ctx)
	}
	ctx, cancel := context.WithTimeout(parent, writeLimit)
	defer cancel()
	return t.insert(ctx, group, t.lockTimeout)
}

// next forms a group of those who have waited longest; the writer of none ends.
//
// A patient is in one group at a time. Groups take doctors' times in the same order, so with patients who aren't in
// both, no two of them wait for each other. Who is left for that reason is found by the writer of the group in the way,
// or by resume after one who was written alone.
func (t *together) next() (group []*ask) {
	t.mu.Lock()
	defer t.mu.Unlock()
	left := t.waiting[:0]
	for _, a := range t.waiting {
		patient := a.row.change.PatientID
		if len(group) == maxGroup || t.writing[patient] {
			left = append(left, a)
			continue
		}
		t.writing[patient] = true
		group = append(group, a)
	}
	clear(t.waiting[len(left):])
	t.waiting = left
	if len(group) == 0 {
		t.running--
	}
	return group
}

// leave tells each what became of it.
func (t *together) leave(group []*ask, results map[uuid.UUID]written, err error) {
	t.mu.Lock()
	for _, a := range group {
		delete(t.writing, a.row.change.PatientID)
		delete(t.keys, a.row.req.lock())
	}
	t.mu.Unlock()
	committed := false
	for _, a := range group {
		w := results[a.row.change.ID]
		w.err = err
		committed = committed || w.done
		a.result <- w
	}
	if committed {
		t.committed()
	}
}

// insert writes a group in one transaction, and waits for nobody's lock longer than lockTimeout; 0 is the pool's own limit.
// The results are by the appointment's id.
func (t *together) insert(ctx context.Context, group []*ask, lockTimeout time.Duration) (results map[uuid.UUID]written, err error) {
	defer func() {
		if p := recover(); p != nil { // these requests' fault, not the whole service's
			err = fmt.Errorf("write bookings: panic: %v\n%s", p, debug.Stack())
		}
	}()
	b := &pgx.Batch{}
	if lockTimeout > 0 {
		b.Queue(`SELECT set_config('lock_timeout', $1, true)`, strconv.FormatInt(lockTimeout.Milliseconds(), 10))
	}
	results = make(map[uuid.UUID]written, len(group))
	b.Queue(insertAppointments, arguments(group)...).Query(func(rows pgx.Rows) error {
		var id uuid.UUID
		var w written
		_, err := pgx.ForEachRow(rows, []any{&id, &w.keyFree, &w.done}, func() error {
			results[id] = w
			return nil
		})
		return err
	})
	return results, t.pool.SendBatch(ctx, b).Close()
}

package postgres

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	pg "github.com/healthmed/healthmed/pkg/postgres"
	"github.com/healthmed/healthmed/services/scheduling/internal/booking"
)

// attempts to write before giving up: each one ends either in a reason or in one less thing in the way.
const attempts = 5

// Booking is what a patient, or an attendant for them, asks for.
type Booking struct {
	DoctorID  uuid.UUID
	PatientID uuid.UUID
	StartsAt  time.Time
	Reason    string
	HoldID    uuid.UUID // nil: none
	By        booking.Actor
}

// Book makes an appointment, or tells why not. render writes the answer, which the key remembers.
func (s *Store) Book(ctx context.Context, b Booking, req Request, render Render[booking.Appointment]) (Answer, error) {
	a, err := s.book(ctx, b, req, render)
	return s.concluded(ctx, req, a, err)
}

func (s *Store) book(ctx context.Context, b Booking, req Request, render Render[booking.Appointment]) (Answer, error) {
	if b.By.Role == booking.Admin {
		err := s.patientExists(ctx, b.PatientID)
		if errors.Is(err, booking.ErrPatientNotFound) && req.Key != "" { // erased since, perhaps: the first answer stands
			first, found, failed := req.answer(s.pool.QueryRow(ctx, storedAnswer, req.Caller, req.Key))
			if failed != nil || found {
				return first, failed
			}
		}
		if err != nil {
			return Answer{}, err
		}
	}
	if b.HoldID != uuid.Nil {
		return s.bookHold(ctx, b, req, render)
	}
	id, err := newID()
	if err != nil {
		return Answer{}, err
	}
	return s.occupy(ctx, claim{
		doctor: b.DoctorID, patient: b.PatientID, start: b.StartsAt, req: req,
		decide: func(schedule *booking.Schedule, now time.Time) (write, error) {
			change, err := schedule.Book(id, b.PatientID, b.StartsAt, b.Reason, b.By, now)
			if err != nil {
				return write{}, err
			}
			w := write{slot: change.Slot, blockedUntil: change.BlockedUntil}
			if w.answer, err = render(change.Appointment); err != nil {
				return write{}, err
			}
			w.booked, err = newBooked(ctx, change, schedule.Version, req, w.answer)
			return w, err
		},
	})
}

// patientExists checks whom an attendant books for: they, unlike a patient's token, may name anybody.
func (s *Store) patientExists(ctx context.Context, patient uuid.UUID) error {
	var exists bool
	err := s.pool.QueryRow(ctx, `SELECT EXISTS (SELECT FROM people
WHERE id = $1 AND role = 'patient' AND erased_at IS NULL)`, patient).Scan(&exists)
	if err == nil && !exists {
		return booking.ErrPatientNotFound
	}
	return err
}

// claim is an attempt to take a doctor's and a patient's time.
type claim struct {
	doctor, patient uuid.UUID
	start           time.Time
	req             Request
	// decide asks the rules, and says what to write.
	decide func(schedule *booking.Schedule, now time.Time) (write, error)
}

// write is a booking, or one statement that returns whether the key was free and whether it wrote, and before which a
// person is locked.
type write struct {
	booked       *booked
	lock         uuid.UUID
	sql          string
	args         []any
	slot         booking.Slot
	blockedUntil time.Time
	answer       Answer
}

// ErrBusy: each time that it was tried, something was in the way that was gone when looked for. Nothing was written; it may
// well succeed in a moment.
var ErrBusy = errors.New("postgres: too much is changing at once")

// try is an attempt to write: what it came to, and what the rules refused, if they did.
type try struct {
	write
	refusal          error
	keyFree, written bool
}

// occupy writes if it can. If it can't, it looks why, once per attempt, and mends what can be mended: a schedule that
// changed meanwhile, expired holds that are still in the way, someone else's attempt that came to nothing. The last
// attempt keeps the schedule from changing.
func (s *Store) occupy(ctx context.Context, c claim) (Answer, error) {
	schedule, refusal := s.schedule(ctx, c.doctor)
	for n := range attempts {
		last := n == attempts-1
		var t try
		var err error
		if last {
			t, err = s.tryUnchanging(ctx, c)
		} else {
			t, err = s.try(ctx, c, schedule, refusal)
		}
		switch {
		case err != nil:
			return Answer{}, err
		case t.written:
			return t.answer, nil
		}
		why, err := s.look(ctx, c, t.write)
		if err != nil || why.replayed {
			return why.answer, err
		}
		switch {
		case !t.keyFree:
			return Answer{}, ErrInProgress
		case why.doctorGone:
			return Answer{}, booking.ErrDoctorNotFound
		case why.patientGone:
			return Answer{}, booking.ErrDeparted
		case !last && why.version != versionOf(schedule):
			schedule, refusal = s.refresh(ctx, c.doctor)
			if refusal != nil && !isRefusal(refusal) {
				return Answer{}, refusal
			}
			continue
		case errors.Is(t.refusal, booking.ErrNoAvailability):
			return Answer{}, booking.ErrOutsideAvailability
		case t.refusal != nil:
			return Answer{}, t.refusal
		case why.ownHold:
			return Answer{}, booking.ErrOwnHold
		case why.doctorBusy:
			return Answer{}, booking.ErrSlotTaken
		case why.patientBusy:
			return Answer{}, booking.ErrPatientBusy
		case why.tooMany:
			return Answer{}, booking.ErrTooManyHolds
		case why.expired:
			if err := s.removeExpired(ctx, c, t.write); err != nil {
				return Answer{}, err
			}
		}
	}
	return Answer{}, ErrBusy
}

// versionOf a schedule; 0 is that of none.
func versionOf(s *booking.Schedule) int64 {
	if s == nil {
		return 0
	}
	return s.Version
}

// removeExpired takes expired holds out of the way of one who found them there.
func (s *Store) removeExpired(ctx context.Context, c claim, w write) error {
	now := s.clock()
	b := &pgx.Batch{}
	queueRemoveExpired(ctx, b, claimed{c.doctor, c.patient, w.slot, w.blockedUntil}, now, booking.Lapsed(now))
	err := s.pool.SendBatch(ctx, b).Close()
	if err == nil {
		s.freed()
	}
	return err
}

// try asks the rules, unless there is no schedule to ask, and writes if they allow it.
func (s *Store) try(ctx context.Context, c claim, schedule *booking.Schedule, refusal error) (t try, err error) {
	t = try{refusal: refusal, keyFree: true}
	if t.refusal == nil {
		t.write, t.refusal = c.decide(schedule, s.clock())
	}
	if t.refusal == nil {
		t.keyFree, t.written, err = s.write(ctx, t.write)
	}
	return t, err
}

// tryUnchanging is try with the doctor's schedule read and kept as it is by one transaction: those who change it wait.
// The patient is locked as well, as for any write that counts what is theirs.
func (s *Store) tryUnchanging(ctx context.Context, c claim) (t try, err error) {
	err = s.inTxInTurn(ctx, func(tx pgx.Tx) error {
		t = try{keyFree: true}
		if err := lock(ctx, tx, c.doctor, c.patient); err != nil {
			return err
		}
		schedule, err := s.loadSchedule(ctx, tx, c.doctor)
		switch {
		case errors.Is(err, pgx.ErrNoRows):
			t.refusal = booking.ErrNoAvailability
			return nil
		case err != nil:
			return err
		}
		if t.write, t.refusal = c.decide(schedule, s.clock()); t.refusal != nil {
			return nil //nolint:nilerr // a refusal is an answer
		}
		if t.booked != nil {
			var id uuid.UUID
			return tx.QueryRow(ctx, insertAppointments, arguments([]*ask{{row: t.booked}})...).Scan(&id, &t.keyFree, &t.written)
		}
		return tx.QueryRow(ctx, t.sql, t.args...).Scan(&t.keyFree, &t.written)
	})
	switch {
	case pg.Code(err) == uniqueViolation:
		t.keyFree, t.written = true, false
		return t, nil
	case err != nil:
		return try{}, err
	}
	if t.written {
		s.committed()
	}
	return t, nil
}

// isRefusal tells what a rule said from a fault.
func isRefusal(err error) bool {
	return errors.Is(err, booking.ErrNoAvailability) || errors.Is(err, booking.ErrDoctorNotFound)
}

// write runs the statement. Losing a race for the key shows as a unique violation, which is no fault.
func (s *Store) write(ctx context.Context, w write) (keyFree, written bool, err error) {
	if w.booked != nil {
		keyFree, written, err = s.together.write(ctx, w.booked)
	} else {
		err = s.inTurn(ctx, func() error {
			return pg.Retry(ctx, func(ctx context.Context) error {
				b := &pgx.Batch{}
				queueLocks(b, w.lock)
				b.Queue(w.sql, w.args...).QueryRow(func(row pgx.Row) error { return row.Scan(&keyFree, &written) })
				return s.pool.SendBatch(ctx, b).Close()
			})
		})
	}
	if pg.Code(err) == uniqueViolation {
		return true, false, nil
	}
	return keyFree, written, err
}

// SQLSTATE codes that are answers.
const (
	uniqueViolation    = "23505"
	exclusionViolation = "23P01"
	lockNotAvailable   = "55P03"
	deadlockDetected   = "40P01"
)

// reasons why nothing was written.
type reasons struct {
	answer                           Answer
	replayed                         bool
	version                          int64 // of the schedule now; 0: none
	doctorGone, patientGone          bool
	doctorBusy, patientBusy, expired bool
	ownHold                          bool // it is the patient who holds it
	tooMany                          bool
}

// lookWhy asks who is in the way. Another's hold goes on being in the way for a little when it has expired (at $8 or
// later), the patient's own doesn't.
const lookWhy = `
SELECT coalesce((SELECT version FROM schedules WHERE doctor_id = $1), 0),
    EXISTS (SELECT FROM people WHERE id = $1 AND (role <> 'doctor' OR status <> 'active' OR erased_at IS NOT NULL)),
    EXISTS (SELECT FROM people WHERE id = $2 AND (role <> 'patient' OR erased_at IS NOT NULL)),
    coalesce(bool_or(NOT in_way.expired AND in_way.doctors), false),
    coalesce(bool_or(NOT in_way.expired AND NOT in_way.doctors), false),
    coalesce(bool_or(in_way.expired), false),
    coalesce(bool_or(in_way.own), false),
    (SELECT count(*) FROM appointments
     WHERE patient_id = $2 AND starts_at > $6 AND status = 'held' AND expires_at > $6 AND waitlist_id IS NULL) >= $7
FROM (
    SELECT status = 'held' AND expires_at <= $8 AS expired, true AS doctors,
        status = 'held' AND patient_id = $2 AND starts_at = $3 AND expires_at > $6 AS own FROM appointments
    WHERE doctor_id = $1 AND status IN ('held', 'requested', 'booked')
        AND tstzrange(starts_at, blocked_until) && tstzrange($3, $5)
    UNION ALL
    SELECT status = 'held' AND expires_at <= $6, false, false FROM appointments
    WHERE patient_id = $2 AND status IN ('held', 'requested', 'booked')
        AND tstzrange(starts_at, ends_at) && tstzrange($3, $4)
) AS in_way`

// look finds out why nothing was written. Both questions go in one round trip.
func (s *Store) look(ctx context.Context, c claim, w write) (r reasons, err error) {
	if w.slot.StartsAt.IsZero() { // refused by a rule: any moment will do, nobody will ask who is in the way
		w.slot = booking.Slot{StartsAt: c.start, EndsAt: c.start}
		w.blockedUntil = c.start
	}
	b := &pgx.Batch{}
	now := s.clock()
	b.Queue(lookWhy, c.doctor, c.patient, w.slot.StartsAt, w.slot.EndsAt, w.blockedUntil, now, booking.MaxHolds, booking.Lapsed(now)).
		QueryRow(func(row pgx.Row) error {
			return row.Scan(&r.version, &r.doctorGone, &r.patientGone, &r.doctorBusy, &r.patientBusy, &r.expired, &r.ownHold, &r.tooMany)
		})
	if c.req.Key != "" {
		b.Queue(storedAnswer, c.req.Caller, c.req.Key).QueryRow(func(row pgx.Row) error {
			r.answer, r.replayed, err = c.req.answer(row)
			return err
		})
	}
	if err := s.pool.SendBatch(ctx, b).Close(); err != nil {
		return reasons{}, err
	}
	return r, nil
}

// lockPerson takes a person's advisory lock until the transaction ends, as a statement of its own, because a statement sees
// nothing that is committed while it waits.
const lockPerson = `SELECT pg_advisory_xact_lock($1)`

// Who queues for a person's lock waits for several transactions, and so for longer than for any other lock, which is
// waited for until one has ended.
const (
	waitLonger = `
SELECT set_config('lock_timeout', (3000 * extract(epoch FROM current_setting('lock_timeout')::interval))::bigint::text, true)`
	waitAsUsual = `SELECT set_config('lock_timeout', NULL, true)`
)

// lockOf is a person's advisory lock: held by whoever moves an appointment of theirs, changes their schedule, or adds to
// what is limited for each.
func lockOf(person uuid.UUID) int64 {
	return int64(binary.BigEndian.Uint64(person[:8]) ^ binary.BigEndian.Uint64(person[8:]))
}

// queueLocks takes people's locks in an order that cannot deadlock. In a batch with what is done under them it costs no
// round trip. It is for inTurn.
func queueLocks(b *pgx.Batch, people ...uuid.UUID) {
	slices.SortFunc(people, func(x, y uuid.UUID) int { return bytes.Compare(x[:], y[:]) })
	b.Queue(waitLonger)
	for _, person := range people {
		b.Queue(lockPerson, lockOf(person))
	}
	b.Queue(waitAsUsual)
}

// lock takes people's locks before what is done under them can be known.
func lock(ctx context.Context, tx pgx.Tx, people ...uuid.UUID) error {
	b := &pgx.Batch{}
	queueLocks(b, people...)
	return send(ctx, tx, b)
}

// conflict translates the violation of one of the two exclusion constraints.
func conflict(err error) error {
	if pg.Code(err) != exclusionViolation {
		return err
	}
	if constraint(err) == "patient_never_twice" {
		return booking.ErrPatientBusy
	}
	return booking.ErrSlotTaken
}

func constraint(err error) string {
	var e *pgconn.PgError
	if errors.As(err, &e) {
		return e.ConstraintName
	}
	return ""
}

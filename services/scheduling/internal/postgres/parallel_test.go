package postgres_test

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"
	"golang.org/x/sync/errgroup"
	"pgregory.net/rapid"

	"github.com/healthmed/healthmed/services/scheduling/internal/booking"
	"github.com/healthmed/healthmed/services/scheduling/internal/postgres"
)

// step is an operation to be tried: what its numbers mean depends on what is there when its turn comes.
type step struct {
	action                            string
	replica, doctor, patient, quarter int
	target                            int
	verb                              verb
	hours                             hours
	keyed                             bool
}

func drawStep(t *rapid.T) step {
	return step{
		action: rapid.SampledFrom([]string{"book", "book", "book", "hold", "book hold", "release", "change", "change", "change",
			"availability", "wait", "leave", "time", "work"}).Draw(t, "action"),
		replica: rapid.IntRange(0, 1).Draw(t, "replica"), doctor: rapid.IntRange(0, 1).Draw(t, "doctor"),
		patient: rapid.IntRange(0, 3).Draw(t, "patient"), quarter: rapid.IntRange(0, 5).Draw(t, "quarter"),
		target: rapid.IntRange(0, 5).Draw(t, "target"), hours: drawHours(t), keyed: rapid.Bool().Draw(t, "keyed"),
		verb: rapid.SampledFrom([]verb{cancel, reschedule, reschedule, reschedule, confirm, decline, complete, noShow}).Draw(t, "verb"),
	}
}

// TestStore_KeepsItsPromisesUnderRandomLoad runs random operations from several callers at once, against two replicas,
// and then holds the tables against what must be true. The callers' journal must agree: what was acknowledged has
// happened, once, and nothing that was refused has.
func TestStore_KeepsItsPromisesUnderRandomLoad(t *testing.T) {
	t.Parallel()
	db := open(t)
	rapid.Check(t, func(t *rapid.T) {
		steps := rapid.SliceOfN(rapid.Custom(drawStep), 20, 60).Draw(t, "steps")
		runTogether(t, db, steps)
	})
}

// crowd is a world with callers who share what they know of it.
type crowd struct {
	*world
	mu           sync.Mutex
	appointments []booking.Appointment
	holds        []booking.Hold
	waits        []booking.Wait
	acknowledged map[uuid.UUID]int // transitions, by appointment
}

func runTogether(t *rapid.T, db *pgxpool.Pool, steps []step) {
	const callers = 4
	c := &crowd{world: newWorld(t, db, 2, 4), acknowledged: map[uuid.UUID]int{}}
	defer c.leave(t)
	for _, doctor := range c.doctors {
		h := hours{open: 8 * 60, close: 9 * 60, slot: 15, horizon: 30, mode: booking.Instant}
		if _, err := c.replica(0).SetAvailability(context.Background(), doctor, h.availability(), 0); err != nil {
			t.Fatal(err)
		}
	}
	var next atomic.Int64
	var group errgroup.Group
	for range callers {
		group.Go(func() error {
			for {
				n := int(next.Add(1)) - 1
				if n >= len(steps) {
					return nil
				}
				if err := c.try(steps[n]); err != nil && !isRefusal(err) {
					return err
				}
			}
		})
	}
	if err := group.Wait(); err != nil {
		t.Fatalf("not a refusal: %v", err)
	}
	c.check(t)
	c.checkJournal(t)
}

// checkJournal: what people did is what they were told that they did.
func (c *crowd) checkJournal(t *rapid.T) {
	rows := map[uuid.UUID][]recorded{}
	c.read(t, `SELECT appointment_id, count(*), '', '' FROM appointment_history h JOIN appointments a ON a.id = appointment_id
WHERE doctor_id = ANY ($1) AND actor_role <> 'system' GROUP BY 1`, rows)
	for id, n := range c.acknowledged {
		if len(rows[id]) != 1 || rows[id][0].Version != int64(n) {
			t.Fatalf("%s: %d transitions acknowledged, in the history %v", id, n, rows[id])
		}
	}
	if len(rows) != len(c.acknowledged) {
		t.Fatalf("%d appointments acknowledged, %d in the history", len(c.acknowledged), len(rows))
	}
}

// pick is one of what is there.
func pick[T any](c *crowd, from *[]T, n int) (T, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(*from) == 0 {
		var none T
		return none, false
	}
	return (*from)[n%len(*from)], true
}

func (c *crowd) try(s step) error {
	ctx, store := context.Background(), c.replica(s.replica)
	doctor, patient := c.doctors[s.doctor], c.patients[s.patient]
	switch s.action {
	case "book":
		return c.book(ctx, store, s, postgres.Booking{DoctorID: doctor, PatientID: patient, StartsAt: c.start(s)})
	case "hold":
		var made booking.Hold
		_, err := store.Hold(ctx, doctor, patient, c.start(s), request(patient, ""), func(h booking.Hold) (postgres.Answer, error) {
			made = h
			return renderHold(h)
		})
		if err == nil {
			c.mu.Lock()
			defer c.mu.Unlock()
			c.holds = append(c.holds, made)
		}
		return err
	case "book hold":
		h, ok := pick(c, &c.holds, s.target)
		if !ok {
			return nil
		}
		return c.book(ctx, store, s, postgres.Booking{DoctorID: h.DoctorID, PatientID: h.PatientID, StartsAt: h.Slot.StartsAt, HoldID: h.ID})
	case "release":
		h, _ := pick(c, &c.holds, s.target)
		return store.ReleaseHold(ctx, h.ID, h.PatientID)
	case "change":
		return c.change(ctx, store, s)
	case "availability":
		_, err := store.SetAvailability(ctx, doctor, s.hours.availability(), 0)
		return err
	case "time":
		c.advance(time.Duration(s.target) * 10 * time.Minute)
		return nil
	case "work":
		return c.work(ctx, store)
	}
	return c.queue(ctx, store, s, doctor, patient)
}

func (c *crowd) start(s step) time.Time {
	date, _ := local(c.now())
	return (date + 1).Time().Add(-offset).Add(minutes(8*60 + 15*s.quarter))
}

// queue joins a line, or leaves it.
func (c *crowd) queue(ctx context.Context, store *postgres.Store, s step, doctor, patient uuid.UUID) error {
	if s.action == "leave" {
		w, _ := pick(c, &c.waits, s.target)
		return store.Leave(ctx, w.ID, w.PatientID)
	}
	date, _ := local(c.now())
	w := booking.Wait{PatientID: patient, From: date, To: date + 2, DoctorID: doctor}
	if s.keyed {
		w.DoctorID, w.Specialty = uuid.Nil, c.specialty
	}
	w, err := store.Join(ctx, w)
	if err == nil {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.waits = append(c.waits, w)
	}
	return err
}

func (c *crowd) book(ctx context.Context, store *postgres.Store, s step, b postgres.Booking) error {
	b.By = booking.Actor{Role: booking.Patient, ID: b.PatientID}
	return c.twice(s, func(key string) (postgres.Answer, error) {
		return store.Book(ctx, b, request(b.PatientID, key), render)
	}, func(told postgres.Answer) error {
		var a booking.Appointment
		if err := json.Unmarshal(told.Body, &a); err != nil {
			return err
		}
		c.acknowledged[a.ID]++
		c.appointments = append(c.appointments, a)
		return nil
	})
}

func (c *crowd) change(ctx context.Context, store *postgres.Store, s step) error {
	a, ok := pick(c, &c.appointments, s.target)
	if !ok {
		return nil
	}
	by := booking.Actor{Role: booking.Doctor, ID: a.DoctorID}
	return c.twice(s, func(key string) (postgres.Answer, error) {
		return change(ctx, store, s.verb, a.ID, by, c.start(s), key)
	}, func(postgres.Answer) error {
		c.acknowledged[a.ID]++
		return nil
	})
}

// twice sends a request, under a key twice at once, and notes in the journal what was acknowledged, replays aside.
func (c *crowd) twice(s step, do func(key string) (postgres.Answer, error), note func(postgres.Answer) error) error {
	once := func(key string) error {
		a, err := do(key)
		if err != nil || a.Replayed {
			return err
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		return note(a)
	}
	if !s.keyed {
		return once("")
	}
	var group errgroup.Group
	key := uuid.NewString()
	for range 2 {
		group.Go(func() error {
			if err := once(key); !errors.Is(err, postgres.ErrInProgress) {
				return err
			}
			return nil
		})
	}
	return group.Wait()
}

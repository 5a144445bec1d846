package fault

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"time"
)

// run lets clients act until ctx ends. Each has a random generator of its own, so that what one does doesn't depend
// on how quick the others are.
func (w *world) run(ctx context.Context, clients int, seed uint64) {
	var wg sync.WaitGroup
	for i := range clients {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(seed, uint64(i))) //nolint:gosec // a schedule that can be had again, not a secret
			c := client{world: w, rng: rng, self: w.patients[i]}
			for ctx.Err() == nil {
				c.act(context.WithoutCancel(ctx)) // a request that has begun gets its answer
				select {
				case <-ctx.Done():
				case <-time.After(time.Duration(10+rng.IntN(60)) * time.Millisecond):
				}
			}
		})
	}
	wg.Wait()
}

// client is one of those who act. self is a patient whose profile only it changes.
type client struct {
	*world
	rng  *rand.Rand
	self *person
}

// act does one thing, more often what people do more often.
func (c client) act(ctx context.Context) {
	switch n := c.rng.IntN(100); {
	case n < 20:
		c.send(ctx, c.rng, call{op: Read, service: "scheduling", method: http.MethodGet, path: "/v1/slots?specialty=cardiology&limit=5"})
	case n < 25:
		c.send(ctx, c.rng, call{op: Read, service: "users", method: http.MethodGet, path: "/v1/doctors?name=pessoa"})
	case n < 30:
		c.send(ctx, c.rng, call{op: Read, who: pick(c.rng, c.patients), service: "scheduling", method: http.MethodGet, path: "/v1/appointments"})
	case n < 55:
		c.book(ctx)
	case n < 60:
		c.contend(ctx)
	case n < 65:
		c.hold(ctx)
	case n < 73:
		c.change(ctx, Cancel)
	case n < 81:
		c.change(ctx, Reschedule)
	case n < 88:
		c.answer(ctx)
	case n < 91:
		c.again(ctx)
	case n < 94:
		c.join(ctx)
	case n < 96:
		c.register(ctx, c.rng, "patients")
	default:
		c.rename(ctx)
	}
}

func pick[T any](rng *rand.Rand, list []T) T { return list[rng.IntN(len(list))] }

// slot finds a free slot of the doctor on some day.
func (c client) slot(ctx context.Context, doctor *person, day time.Time) (time.Time, bool) {
	entry := c.send(ctx, c.rng, call{op: Read, service: "scheduling", method: http.MethodGet,
		path: fmt.Sprintf("/v1/doctors/%s/slots?from=%s&to=%[2]s", doctor.id, day.Format(time.DateOnly))})
	var list struct {
		Slots []struct {
			StartsAt time.Time `json:"starts_at"`
		}
	}
	if entry.Outcome != Acknowledged || json.Unmarshal([]byte(entry.Body), &list) != nil || len(list.Slots) == 0 {
		return time.Time{}, false
	}
	return pick(c.rng, list.Slots).StartsAt, true
}

// someDay is after tomorrow, mostly on a few days, so that people get in one another's way.
func (c client) someDay() time.Time { return time.Now().AddDate(0, 0, 2+c.rng.IntN(6)) }

func (c client) book(ctx context.Context) {
	doctor := pick(c.rng, c.doctors)
	if at, ok := c.slot(ctx, doctor, c.someDay()); ok {
		c.bookAt(ctx, pick(c.rng, c.patients), doctor, at, "")
	}
}

func (c client) bookAt(ctx context.Context, patient, doctor *person, at time.Time, hold string) {
	key := c.key(Book)
	body := map[string]any{"doctor_id": doctor.id, "starts_at": at, "reason": key}
	if hold != "" {
		body["hold_id"] = hold
	}
	entry := c.send(ctx, c.rng, call{op: Book, who: patient, service: "scheduling", method: http.MethodPost, path: "/v1/appointments", body: body, key: key})
	if entry.Outcome == Acknowledged {
		c.keep(entry, patient, doctor)
	}
}

func (w *world) keep(entry Entry, patient, doctor *person) {
	var a struct{ ID, Status string }
	if json.Unmarshal([]byte(entry.Body), &a) != nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.open = append(w.open, booked{id: a.ID, status: a.Status, patient: patient, doctor: doctor})
}

// contend has four patients want the same slot at the same time.
func (c client) contend(ctx context.Context) {
	doctor := pick(c.rng, c.doctors)
	at, ok := c.slot(ctx, doctor, c.someDay())
	if !ok {
		return
	}
	var wg sync.WaitGroup
	for range 4 {
		rival := client{world: c.world, rng: rand.New(rand.NewPCG(c.rng.Uint64(), 1)), self: c.self} //nolint:gosec // as above
		patient := pick(c.rng, c.patients)
		wg.Go(func() { rival.bookAt(ctx, patient, doctor, at, "") })
	}
	wg.Wait()
}

// hold keeps a slot, and books it, gives it back, or forgets it.
func (c client) hold(ctx context.Context) {
	doctor, patient := pick(c.rng, c.doctors), pick(c.rng, c.patients)
	at, ok := c.slot(ctx, doctor, c.someDay())
	if !ok {
		return
	}
	entry := c.send(ctx, c.rng, call{op: Hold, who: patient, service: "scheduling", method: http.MethodPost, path: "/v1/holds",
		body: map[string]any{"doctor_id": doctor.id, "starts_at": at}, key: c.key(Hold)})
	if entry.Outcome != Acknowledged {
		return
	}
	switch c.rng.IntN(3) {
	case 0:
		c.bookAt(ctx, patient, doctor, at, entry.ID)
	case 1:
		c.send(ctx, c.rng, call{op: Hold, who: patient, service: "scheduling", method: http.MethodDelete, path: "/v1/holds/" + entry.ID})
	}
}

// take removes and returns an open appointment that suits.
func (w *world) take(rng *rand.Rand, suits func(booked) bool) (booked, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.open) == 0 {
		return booked{}, false
	}
	first := rng.IntN(len(w.open))
	for i := range w.open {
		at := (first + i) % len(w.open)
		if a := w.open[at]; suits(a) {
			w.open = slices.Delete(w.open, at, at+1)
			return a, true
		}
	}
	return booked{}, false
}

func (w *world) putBack(a booked) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.open = append(w.open, a)
}

// change cancels or moves an appointment, as its patient or its doctor.
func (c client) change(ctx context.Context, op Op) {
	a, ok := c.take(c.rng, func(booked) bool { return true })
	if !ok {
		return
	}
	who := a.patient
	if c.rng.IntN(2) == 0 {
		who = a.doctor
	}
	body := map[string]any{"reason": "Imprevisto"}
	if op == Reschedule {
		defer c.putBack(a)
		at, ok := c.slot(ctx, a.doctor, c.someDay())
		if !ok {
			return
		}
		body = map[string]any{"starts_at": at}
	}
	c.send(ctx, c.rng, call{op: op, who: who, service: "scheduling", method: http.MethodPost,
		path: "/v1/appointments/" + a.id + "/" + string(op), body: body, key: c.key(op)})
}

// answer confirms or declines a request.
func (c client) answer(ctx context.Context) {
	a, ok := c.take(c.rng, func(a booked) bool { return a.status == "requested" })
	if !ok {
		return
	}
	op, body := Confirm, any(nil)
	if c.rng.IntN(3) == 0 {
		op, body = Decline, map[string]any{"reason": "Agenda cheia"}
	}
	entry := c.send(ctx, c.rng, call{op: op, who: a.doctor, service: "scheduling", method: http.MethodPost,
		path: "/v1/appointments/" + a.id + "/" + string(op), body: body, key: c.key(op)})
	if op == Confirm && entry.Outcome == Acknowledged {
		a.status = "booked"
		c.putBack(a)
	}
}

// again sends a request whose answer is known once more, or one whose answer was lost.
func (c client) again(ctx context.Context) {
	c.mu.Lock()
	var repeat call
	switch {
	case len(c.unknown) > 0 && c.rng.IntN(2) == 0:
		at := c.rng.IntN(len(c.unknown))
		repeat = c.unknown[at]
		c.unknown = slices.Delete(c.unknown, at, at+1)
	case len(c.done) > 0:
		repeat = pick(c.rng, c.done)
	default:
		c.mu.Unlock()
		return
	}
	c.mu.Unlock()
	c.send(ctx, c.rng, repeat)
}

func (c client) join(ctx context.Context) {
	from := c.someDay()
	c.send(ctx, c.rng, call{op: Join, who: pick(c.rng, c.patients), service: "scheduling", method: http.MethodPost, path: "/v1/waitlist",
		body: map[string]any{"doctor_id": pick(c.rng, c.doctors).id, "from": from.Format(time.DateOnly), "to": from.AddDate(0, 0, 3).Format(time.DateOnly)}})
}

// rename changes the client's own patient.
func (c client) rename(ctx context.Context) {
	name := "Pessoa " + letters(c.rng.IntN(1_000_000))
	c.send(ctx, c.rng, call{op: Update, who: c.self, service: "users", method: http.MethodPatch, path: "/v1/me",
		body: map[string]any{"name": name}, key: name})
}

// settle sends every request whose answer was lost again, until it is answered, and then every known one once more.
func (w *world) settle(ctx context.Context) error {
	rng := rand.New(rand.NewPCG(2, 2)) //nolint:gosec // it only chooses replicas
	for {
		w.mu.Lock()
		lost := w.unknown
		w.unknown = nil
		w.mu.Unlock()
		if len(lost) == 0 {
			break
		}
		for _, c := range lost {
			w.send(ctx, rng, c)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%d requests have no answer after all was healed", len(lost))
		case <-time.After(100 * time.Millisecond):
		}
	}
	w.mu.Lock()
	known := slices.Clone(w.done)
	w.mu.Unlock()
	for _, c := range known {
		w.send(ctx, rng, c)
	}
	return nil
}

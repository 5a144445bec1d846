package fault

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/healthmed/healthmed/pkg/sestest"
	"github.com/healthmed/healthmed/tests/system"
)

// Recovery measures how bookings and the outbox come through outages, at a steady rate of bookings. It prints figures;
// whether they are good enough is for their reader, since they depend on the machine.
func Recovery(ctx context.Context, dir string, rate int, outage time.Duration, out io.Writer) (err error) {
	programs, err := system.BuildCluster(ctx, filepath.Join(dir, "bin"))
	if err != nil {
		return err
	}
	r, err := assemble(ctx, filepath.Join(dir, "recovery"), Shape{Replicas: 2, Nodes: 1}, programs, out)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.close()) }()
	world, err := newWorld(ctx, r.Cluster, 2, 8, 64)
	if err != nil {
		return err
	}
	steady := &pace{world: world, rate: rate}
	if err := steady.prepare(ctx); err != nil {
		return err
	}
	r.calm(ctx, steady, out)
	r.withoutPostgres(ctx, steady, out)
	for _, f := range []struct {
		what       string
		begin, end func() error
	}{
		{"mail service hangs", func() error {
			r.mail.SetFault(func(*http.Request) sestest.Fault { return sestest.Fault{Hang: true} })
			return nil
		}, func() error { r.mail.SetFault(unhurried); return nil }},
		{"both notifiers killed", func() error { r.process("notifier-1").Kill(); r.process("notifier-2").Kill(); return nil },
			func() error { return errors.Join(r.process("notifier-1").Start(), r.process("notifier-2").Start()) }},
		{"nats-server frozen", func() error { return r.NATS.Signal(syscall.SIGSTOP) }, func() error { return r.NATS.Signal(syscall.SIGCONT) }},
		{"nats-server killed", func() error { r.NATS.Kill(); return nil }, r.NATS.Start},
	} {
		length := 15 * time.Second
		if f.what == "nats-server killed" {
			length = outage
		}
		if err := r.outage(ctx, steady, f.what, length, f.begin, f.end, out); err != nil {
			return err
		}
	}
	return err
}

// pace books at a steady rate, whatever the answers: a slow one doesn't hold the next back.
type pace struct {
	*world
	rate  int
	slots []slotOf
	next  int
}

type slotOf struct {
	doctor, patient *person
	at              time.Time
}

// prepare lists free slots. Each patient sees one doctor only, so that nobody is busy elsewhere.
func (p *pace) prepare(ctx context.Context) error {
	rng := rand.New(rand.NewPCG(3, 3)) //nolint:gosec // it only shuffles
	for d, doctor := range p.doctors[:len(p.doctors)-1] {
		from := time.Now().AddDate(0, 0, 2)
		entry := p.send(ctx, rng, call{op: Read, service: "scheduling", method: http.MethodGet,
			path: fmt.Sprintf("/v1/doctors/%s/slots?from=%s&to=%s", doctor.id, from.Format(time.DateOnly), from.AddDate(0, 0, 61).Format(time.DateOnly))})
		var list struct {
			Slots []struct {
				StartsAt time.Time `json:"starts_at"`
			}
		}
		if err := json.Unmarshal([]byte(entry.Body), &list); err != nil {
			return fmt.Errorf("slots: %d: %w", entry.Status, err)
		}
		for i, s := range list.Slots {
			p.slots = append(p.slots, slotOf{doctor, p.patients[d*8+i%8], s.StartsAt})
		}
	}
	rng.Shuffle(len(p.slots), func(i, j int) { p.slots[i], p.slots[j] = p.slots[j], p.slots[i] })
	return nil
}

// attempt is one booking.
type attempt struct {
	began time.Time
	took  time.Duration
	ok    bool
}

// book goes on until stop is closed, and returns every attempt in the order of its begin.
func (p *pace) book(ctx context.Context, stop <-chan struct{}) []attempt {
	var mu sync.Mutex
	var all []attempt
	var wg sync.WaitGroup
	tick := time.NewTicker(time.Second / time.Duration(p.rate))
	defer tick.Stop()
	for going := true; going && p.next < len(p.slots); {
		select {
		case <-stop:
			going = false
		case <-tick.C:
			s := p.slots[p.next]
			p.next++
			n := uint64(p.next) //nolint:gosec // never negative
			wg.Go(func() {
				entry := p.send(ctx, rand.New(rand.NewPCG(n, 1)), call{op: Book, who: s.patient, service: "scheduling", method: http.MethodPost, //nolint:gosec // it chooses a replica
					path: "/v1/appointments", body: map[string]any{"doctor_id": s.doctor.id, "starts_at": s.at}, key: p.key(Book)})
				mu.Lock()
				defer mu.Unlock()
				all = append(all, attempt{entry.Began, entry.Ended.Sub(entry.Began), entry.Outcome == Acknowledged})
			})
		}
	}
	wg.Wait()
	slices.SortFunc(all, func(a, b attempt) int { return a.began.Compare(b.began) })
	return all
}

func summary(all []attempt) string {
	failed := 0
	took := make([]time.Duration, 0, len(all))
	for _, a := range all {
		if !a.ok {
			failed++
		}
		took = append(took, a.took)
	}
	if len(took) == 0 {
		return "no bookings"
	}
	slices.Sort(took)
	return fmt.Sprintf("%d bookings, %d failed, p50 %s, p99 %s, max %s", len(all), failed, took[len(took)/2].Round(time.Millisecond),
		took[len(took)*99/100].Round(time.Millisecond), took[len(took)-1].Round(time.Millisecond))
}

// during books while something is done.
func (p *pace) during(ctx context.Context, do func()) []attempt {
	stop := make(chan struct{})
	result := make(chan []attempt)
	go func() { result <- p.book(ctx, stop) }()
	do()
	close(stop)
	return <-result
}

func (r *rig) calm(ctx context.Context, p *pace, out io.Writer) {
	fmt.Fprintf(out, "nothing wrong, %d/s offered: %s\n", p.rate, summary(p.during(ctx, func() { time.Sleep(5 * time.Second) })))
}

// withoutPostgres kills PostgreSQL thrice and says how long after its return bookings work again.
func (r *rig) withoutPostgres(ctx context.Context, p *pace, out io.Writer) {
	for range 3 {
		var back time.Time
		var failed error
		all := p.during(ctx, func() {
			failed = r.kill(ctx, Fault{Kind: Kill, Target: "postgres", For: 5 * time.Second})
			back = time.Now()
			time.Sleep(8 * time.Second)
		})
		var first, last time.Duration
		for _, a := range all {
			switch end := a.began.Add(a.took).Sub(back); {
			case a.ok && end > 0 && first == 0:
				first = end
			case !a.ok && a.began.After(back):
				last = a.began.Sub(back)
			}
		}
		fmt.Fprintf(out, "PostgreSQL killed, back after 5s (%v): first booking %s after its return, last failure begun %s after it; %s\n", failed,
			first.Round(time.Millisecond), last.Round(time.Millisecond), summary(all))
	}
}

// outage breaks something that bookings don't need, and says how they went on and when the outbox was empty again.
func (r *rig) outage(ctx context.Context, p *pace, what string, length time.Duration, begin, end func() error, out io.Writer) error {
	if err := begin(); err != nil {
		return err
	}
	all := p.during(ctx, func() { time.Sleep(length) })
	backlog, err := r.unpublished(ctx)
	if err != nil {
		return err
	}
	if err := end(); err != nil {
		return err
	}
	back := time.Now()
	for left := backlog; left > 0; {
		time.Sleep(50 * time.Millisecond)
		if left, err = r.unpublished(ctx); err != nil {
			return err
		}
		if time.Since(back) > 2*time.Minute {
			return fmt.Errorf("%s: %d events are not published 2 min after its end", what, left)
		}
	}
	fmt.Fprintf(out, "%s for %s: %s; %d events waited, published %s after its end\n", what, length, summary(all), backlog, time.Since(back).Round(10*time.Millisecond))
	took, left := r.quiet(ctx, 3*time.Minute)
	fmt.Fprintf(out, "   everything done, e-mails too, %s later (left: %d)\n", took.Round(100*time.Millisecond), len(left))
	return nil
}

func (r *rig) unpublished(ctx context.Context) (n int, err error) {
	err = r.query(ctx, "scheduling", func(ctx context.Context, conn *pgx.Conn) error {
		return conn.QueryRow(ctx, `SELECT count(*) FROM outbox WHERE published_at IS NULL`).Scan(&n)
	})
	return n, err
}

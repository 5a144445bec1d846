package bench

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Load is a stream of requests.
//
// With a Rate it is open: request n is due at its place in a fixed schedule, whether or not the ones before it have
// been answered, and its latency counts from when it was due. A system that stalls is therefore charged for all who
// would have come meanwhile (no coordinated omission). Without a Rate it is closed: each worker sends its next request
// when the last is answered; that finds the highest throughput, but its latencies flatter.
type Load struct {
	Workers int // connections
	Rate    float64
	For     time.Duration
	Warmup  time.Duration // before For, not counted
	// Do is one request. n counts up from 0, over warm-up and measurement. An error is an answer that isn't the one
	// that was wanted.
	Do func(n int) error
}

// drain is how much longer than For an open load may take before what is still due counts as an error.
const drain = 5 * time.Second

// ErrNotSent is the fault of requests that were due, but for which no connection came free in time.
var ErrNotSent = errors.New("not sent: all connections busy")

// ErrEnough, returned by Do, ends the load: there is nothing left to do. The call itself is not counted.
var ErrEnough = errors.New("enough")

// Measured is what came of a load.
type Measured struct {
	Latency  *hdrhistogram.Histogram // in microseconds
	Done     int64                   // answered as wanted
	Errors   map[string]int64        // by text
	During   time.Duration
	TakenOff bool // the context ended first
}

// Failed counts the errors.
func (m Measured) Failed() (n int64) {
	for _, count := range m.Errors {
		n += count
	}
	return n
}

// PerSecond is the rate of what was answered as wanted.
func (m Measured) PerSecond() float64 {
	if m.During <= 0 {
		return 0
	}
	return float64(m.Done) / m.During.Seconds()
}

// And joins two measurements of the same load.
func (m Measured) And(other Measured) Measured {
	joined := newMeasured()
	for _, part := range []Measured{m, other} {
		if part.Latency == nil {
			continue
		}
		joined.add(part)
		joined.During += part.During
	}
	return joined
}

const longest = 5 * time.Minute

// NewHistogram counts microseconds up to five minutes, to three digits.
func NewHistogram() *hdrhistogram.Histogram {
	return hdrhistogram.New(1, longest.Microseconds(), 3)
}

// Record adds a latency; one beyond the histogram's range counts as its end.
func Record(h *hdrhistogram.Histogram, d time.Duration) {
	_ = h.RecordValue(min(max(d.Microseconds(), 1), longest.Microseconds())) // always in range
}

func newMeasured() Measured {
	return Measured{Latency: NewHistogram(), Errors: map[string]int64{}}
}

func (m *Measured) add(other Measured) {
	m.Latency.Merge(other.Latency)
	m.Done += other.Done
	for text, n := range other.Errors {
		m.Errors[text] += n
	}
}

func (m *Measured) record(took time.Duration, err error) {
	Record(m.Latency, took)
	if err == nil {
		m.Done++
		return
	}
	// Few kinds are worth telling apart; the rest would only fill memory.
	const kinds = 20
	text := err.Error()
	if _, known := m.Errors[text]; !known && len(m.Errors) >= kinds {
		text = "others"
	}
	m.Errors[text]++
}

// Run sends the load. It returns when the time is over and all that was sent is answered.
func (l Load) Run(ctx context.Context) Measured {
	var next atomic.Int64
	if l.Warmup > 0 {
		warm := l
		warm.For, warm.Warmup = l.Warmup, 0
		warm.run(ctx, &next)
	}
	return l.run(ctx, &next)
}

func (l Load) run(ctx context.Context, next *atomic.Int64) Measured {
	parts := make([]Measured, l.Workers)
	first, began := next.Load(), time.Now()
	var workers sync.WaitGroup
	for i := range parts {
		parts[i] = newMeasured()
		workers.Go(func() {
			if l.Rate > 0 {
				l.open(ctx, next, first, began, &parts[i])
			} else {
				l.closed(ctx, next, began, &parts[i])
			}
		})
	}
	workers.Wait()
	total := newMeasured()
	for _, part := range parts {
		total.add(part)
	}
	total.During = time.Since(began)
	if l.Rate > 0 {
		total.During = max(total.During, l.For) // the last one is due a little before the end
	}
	total.TakenOff = ctx.Err() != nil
	return total
}

func (l Load) closed(ctx context.Context, next *atomic.Int64, began time.Time, m *Measured) {
	for ctx.Err() == nil {
		at := time.Now()
		if at.Sub(began) >= l.For {
			return
		}
		err := l.Do(int(next.Add(1) - 1))
		if errors.Is(err, ErrEnough) {
			return
		}
		m.record(time.Since(at), err)
	}
}

func (l Load) open(ctx context.Context, next *atomic.Int64, first int64, began time.Time, m *Measured) {
	due := int64(l.Rate * l.For.Seconds())
	for ctx.Err() == nil {
		n := next.Add(1) - 1
		if n-first >= due {
			next.Add(-1)
			return
		}
		at := began.Add(time.Duration(float64(n-first) / l.Rate * float64(time.Second)))
		if wait := time.Until(at); wait > 0 {
			time.Sleep(wait)
		}
		if time.Since(began) > l.For+drain {
			m.record(time.Since(at), ErrNotSent)
			continue
		}
		err := l.Do(int(n))
		if errors.Is(err, ErrEnough) {
			return
		}
		m.record(time.Since(at), err)
	}
}

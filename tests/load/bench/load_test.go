package bench_test

import (
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/healthmed/healthmed/tests/load/bench"
)

// The clock of these tests is synctest's: they take no time and depend on no machine.

func TestLoad_OpenChargesAStallForAllWhoWouldHaveCome(t *testing.T) { synctest.Test(t, chargesAStall) }

func chargesAStall(t *testing.T) {
	const stall = 200 * time.Millisecond
	m := bench.Load{Workers: 1, Rate: 100, For: 500 * time.Millisecond, Do: func(n int) error {
		if n == 10 {
			time.Sleep(stall)
		}
		return nil
	}}.Run(t.Context())
	if m.Done != 50 || m.Failed() != 0 {
		t.Fatalf("%d done, %d failed, want all 50 that were due", m.Done, m.Failed())
	}
	// Twenty requests fell due during the stall; the half of them waited for more than half of it. A closed loop
	// would have one slow request among fifty.
	if slow := m.Latency.ValueAtQuantile(85); slow < (stall / 4).Microseconds() {
		t.Errorf("p85 is %d µs: the requests that waited behind the stall are missing", slow)
	}
}

func TestLoad_OpenGivesUpOnWhatItCannotSend(t *testing.T) { synctest.Test(t, givesUp) }

func givesUp(t *testing.T) {
	blocked := make(chan struct{})
	time.AfterFunc(time.Minute, func() { close(blocked) })
	m := bench.Load{Workers: 1, Rate: 20, For: 500 * time.Millisecond, Do: func(int) error { <-blocked; return nil }}.Run(t.Context())
	if got := m.Errors[bench.ErrNotSent.Error()]; got != 9 || m.Done != 1 {
		t.Errorf("%d done, %v, want the first answered and 9 not sent", m.Done, m.Errors)
	}
}

func TestLoad_ClosedCountsErrorsByKindAndNotTheWarmUp(t *testing.T) { synctest.Test(t, countsKinds) }

func countsKinds(t *testing.T) {
	fault := errors.New("status 500")
	var calls atomic.Int64
	m := bench.Load{Workers: 2, For: 50 * time.Millisecond, Warmup: 50 * time.Millisecond, Do: func(n int) error {
		calls.Add(1)
		time.Sleep(time.Millisecond)
		if n%2 == 0 {
			return fault
		}
		return nil
	}}.Run(t.Context())
	total := m.Done + m.Failed()
	if m.Errors[fault.Error()] == 0 || m.Done == 0 || total >= calls.Load() {
		t.Errorf("%d done, %v, of %d calls", m.Done, m.Errors, calls.Load())
	}
	if m.Latency.TotalCount() != total {
		t.Errorf("%d latencies of %d requests", m.Latency.TotalCount(), total)
	}
}

func TestMeasured_AndJoins(t *testing.T) { synctest.Test(t, joins) }

func joins(t *testing.T) {
	a := bench.Load{Workers: 1, Rate: 100, For: 100 * time.Millisecond, Do: func(int) error { return nil }}.Run(t.Context())
	var none bench.Measured
	if sum := none.And(a).And(a); sum.Done != 2*a.Done || sum.During != 2*a.During || sum.Latency.TotalCount() != 2*a.Latency.TotalCount() {
		t.Errorf("%+v twice is %+v", a, sum)
	}
}

func TestRow_Figure(t *testing.T) {
	h := bench.NewHistogram()
	for n := range 100 {
		bench.Record(h, time.Duration(n+1)*time.Millisecond)
	}
	row := bench.RowOf("x/y", "", bench.Measured{Latency: h, Done: 100, During: 10 * time.Second}).Beside("a limit", 40).With("lost", 3)
	row.Usage = []bench.Usage{{Process: "users", CPU: 0.5, MiB: 64}}
	for name, want := range map[string]float64{"per_second": 10, "ratio": 0.25, "lost": 3, "users_mib": 64, "users_cpu": 0.5, "errors": 0} {
		if got, ok := row.Figure(name); !ok || got != want {
			t.Errorf("%s = %v, %v, want %v", name, got, ok, want)
		}
	}
	if p95, _ := row.Figure("p95_ms"); p95 < 94.9 || p95 > 95.1 {
		t.Errorf("p95 = %v ms, want 95", p95)
	}
	if _, ok := row.Figure("p96_ms"); ok {
		t.Error("p96_ms is no figure")
	}
}

package worker

import (
	"context"
	"math"
	"sync"
	"time"
)

// limiter is a token bucket at this replica's share of the account's rate. The bucket is small (a fiftieth of a
// second's messages), so that no second sees more than 2 % above the rate. Unlike x/time/rate's, it takes back what
// was taken and not used: looking at a stale delivery must not cost a message that could be sent.
type limiter struct {
	now func() time.Time

	mu           sync.Mutex
	rate         float64 // tokens a second; 0 pauses
	size, tokens float64
	filled       time.Time // until when tokens are counted
}

// headroom keeps below the account's MaxSendRate: calls bunch up on their way, and SES counts their arrival.
const headroom = 0.9

func newLimiter(now func() time.Time) *limiter { return &limiter{now: now} }

// set changes the rate: total messages a second for the account, shared by live replicas; live 0 pauses.
func (l *limiter) set(total float64, live int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.fill()
	if live == 0 || total <= 0 {
		l.rate, l.size, l.tokens = 0, 0, 0
		return
	}
	l.rate = total * headroom / float64(live)
	l.size = max(1, math.Floor(l.rate/50))
	l.tokens = min(l.tokens, l.size)
}

// share is the rate in force.
func (l *limiter) share() float64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.rate
}

// take waits for one token, then takes as many more as are there, up to n in all. None while paused, or once ctx ends.
func (l *limiter) take(ctx context.Context, n int) int {
	for {
		got, wait := l.try(n)
		if got > 0 || wait == 0 {
			return got
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return 0
		case <-timer.C:
		}
	}
}

// try takes what is there, up to n, or says when to come again; 0 and 0 while paused.
func (l *limiter) try(n int) (got int, wait time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.fill()
	if l.rate == 0 {
		return 0, 0
	}
	if l.tokens < 1 {
		return 0, time.Duration(math.Ceil((1 - l.tokens) / l.rate * float64(time.Second)))
	}
	got = min(n, int(l.tokens))
	l.tokens -= float64(got)
	return got, 0
}

// giveBack returns tokens that were not used. The bucket never holds more than its size.
func (l *limiter) giveBack(n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.fill()
	l.tokens = min(l.tokens+float64(n), l.size)
}

// fill adds what has come in since the last time; l.mu is held.
func (l *limiter) fill() {
	now := l.now()
	if !l.filled.IsZero() && now.After(l.filled) {
		l.tokens = min(l.tokens+now.Sub(l.filled).Seconds()*l.rate, l.size)
	}
	l.filled = now
}

package worker

import (
	"sync"
	"time"
)

// circuit stops all sending while the account can't send at all (sending paused, account suspended, credentials
// refused). After a pause one message at a time probes; its success lets the others go.
type circuit struct {
	mu      sync.Mutex
	until   time.Time
	trial   bool // opened, and nothing has been accepted since
	probing bool // the one message that a trial allows is under way
}

// trip opens the circuit until the given time.
func (c *circuit) trip(until time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.until, c.trial = until, true
}

// heal closes it.
func (c *circuit) heal() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.until, c.trial = time.Time{}, false
}

// enter is how many messages may be claimed now, at most n. Where they are a trial's probe, leave must follow once
// its answer is known, or once there turned out to be nothing to send.
func (c *circuit) enter(n int, now time.Time) (allowed int, probe bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case now.Before(c.until), c.probing:
		return 0, false
	case c.trial:
		c.probing = true
		return 1, true
	}
	return n, false
}

// leave ends a probe.
func (c *circuit) leave() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.probing = false
}

// open says whether sending is stopped or on trial.
func (c *circuit) open() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.trial
}

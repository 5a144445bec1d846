package notice

import (
	"math/rand/v2"
	"time"
)

// Class is what follows from an answer of the mail service.
type Class int

// Classes of outcomes.
const (
	Accepted    Class = iota // the service has the message
	Retryable                // surely not sent; try again later
	Rejected                 // never will be sent
	CircuitOpen              // nothing can be sent at the moment; not this message's fault
	InDoubt                  // may or may not have been sent
)

// String is the class as metrics name it.
func (c Class) String() string {
	return [...]string{"accepted", "retry", "failed", "circuit_open", "unknown"}[c]
}

// Outcome of one attempt.
type Outcome struct {
	Class     Class
	MessageID string // of Accepted
	Reason    string // short code, never an address
	// Throttled, of Retryable: the account sends too fast for the moment, which no single message can help.
	Throttled bool
}

// Timing of attempts. The zero value means the defaults.
type Timing struct {
	Base    time.Duration // first pause after a failure, default 2 s
	Cap     time.Duration // longest pause, default 5 min
	Settle  time.Duration // how long an in-doubt attempt waits for feedback, default 15 min
	Circuit time.Duration // pause of everything while the circuit is open, default 1 min
	// Resends bounds the attempts after in-doubt ones, default 1. More than one only happens while feedback arrives.
	Resends int
}

// WithDefaults fills what is zero.
func (t Timing) WithDefaults() Timing {
	def := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	def(&t.Base, 2*time.Second)
	def(&t.Cap, 5*time.Minute)
	def(&t.Settle, 15*time.Minute)
	def(&t.Circuit, time.Minute)
	if t.Resends == 0 {
		t.Resends = 1
	}
	return t
}

// Backoff is the pause after the nth failed attempt (from 1): exponential, between half and all of the step.
func (t Timing) Backoff(n int) time.Duration { return t.backoff(n, t.Cap) }

// throttleSteps bounds the pause of a throttled message to Base << throttleSteps, half a minute. The token bucket is
// what keeps the rate; an unlucky message that was throttled ten times in a row need not wait an hour for that.
const throttleSteps = 4

func (t Timing) backoff(n int, longest time.Duration) time.Duration {
	step := longest
	if n < 32 {
		if d := t.Base << max(n-1, 0); d > 0 && d < longest {
			step = d
		}
	}
	return step/2 + rand.N(step/2+1)
}

// Next is the state of a delivery after an outcome.
type Next struct {
	Status Status
	DueAt  time.Time
	Reason string
}

// After says how a delivery goes on. attempts counts the one just made; planned is when it was first due.
func (t Timing) After(o Outcome, attempts int, planned, now time.Time) Next {
	switch o.Class {
	case Accepted:
		return Next{Status: Sent, DueAt: now}
	case Rejected:
		return Next{Status: Failed, DueAt: now, Reason: o.Reason}
	case InDoubt:
		return Next{Status: Unknown, DueAt: now.Add(t.Settle), Reason: o.Reason}
	case CircuitOpen:
		return Next{Status: Pending, DueAt: now.Add(t.Circuit), Reason: o.Reason}
	}
	longest := t.Cap
	if o.Throttled {
		longest = min(longest, t.Base<<throttleSteps)
	}
	due := now.Add(t.backoff(attempts, longest))
	if due.After(planned.Add(Window)) {
		return Next{Status: Failed, DueAt: now, Reason: ReasonExhausted + ": " + o.Reason}
	}
	return Next{Status: Pending, DueAt: due, Reason: o.Reason}
}

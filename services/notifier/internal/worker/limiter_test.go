package worker

import (
	"testing"
	"time"
)

// What is taken over any second stays within the rate and the bucket, also where tokens come back; and what comes back
// is there for the next.
func TestLimiter_GivesBackWithoutExceedingTheRate(t *testing.T) {
	now := time.Unix(0, 0)
	l := newLimiter(func() time.Time { return now })
	l.set(200, 2) // 90 a second, one at a time
	used, looked := 0, 0
	for range 1000 { // a second, in which two of three looks find something stale
		now = now.Add(time.Millisecond)
		for got, _ := l.try(64); got > 0; got, _ = l.try(64) {
			looked += got
			if looked%3 == 0 {
				used += got
				break
			}
			l.giveBack(got)
		}
	}
	if used < 80 || used > 91 { // a full bucket spills the fractions of a step
		t.Errorf("%d messages in a second at 90 a second", used)
	}
	l.giveBack(1000)
	if got, _ := l.try(1000); got != 1 {
		t.Errorf("%d at once from a bucket of 1", got)
	}
	l.set(200, 0)
	now = now.Add(time.Hour)
	if got, wait := l.try(1); got != 0 || wait != 0 {
		t.Errorf("paused: %d, come again in %s", got, wait)
	}
}

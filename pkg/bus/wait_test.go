package bus

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"
	"pgregory.net/rapid"
)

// The wait grows, never beyond its limit (and a tenth), and ten tries of a handler take about two minutes.
func TestGrowing(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		first := time.Duration(rapid.Int64Range(1, int64(time.Minute)).Draw(t, "first"))
		limit := time.Duration(rapid.Int64Range(1, int64(time.Hour)).Draw(t, "limit"))
		attempt := rapid.IntRange(0, 1000).Draw(t, "attempt")
		got := growing(attempt, first, limit)
		if got <= 0 || got > limit+limit/5+1 || got < min(first, limit)*9/10-1 {
			t.Errorf("attempt %d from %s to %s waits %s", attempt, first, limit, got)
		}
		if later := growing(attempt+2, first, limit); later < got && later < limit*9/10-1 {
			t.Errorf("waits %s, then only %s", got, later)
		}
	})
	var total time.Duration
	for attempt := 1; attempt < 10; attempt++ {
		total += growing(attempt, 500*time.Millisecond, longestRetry)
	}
	if total < 110*time.Second || total > 135*time.Second {
		t.Errorf("ten tries take %s", total)
	}
}

func TestPause_WaitsAndEndsEarlyWithItsContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		pause(t.Context(), time.Hour)
		if got := time.Since(began); got != time.Hour {
			t.Errorf("waited %s", got)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		pause(ctx, time.Hour)
		if got := time.Since(began); got != time.Hour+time.Minute {
			t.Errorf("waited until %s", got)
		}
	})
}

func TestDeadLetterID_IsTheSameForTheSameFailureAndNoOther(t *testing.T) {
	t.Parallel()
	type key struct {
		durable, stream string
		seq             uint64
		nanos           int64
	}
	seen := map[uuid.UUID]key{}
	rapid.Check(t, func(t *rapid.T) {
		k := key{
			rapid.StringMatching(`[a-z-]{1,8}`).Draw(t, "durable"), rapid.StringMatching(`[A-Z_]{1,8}`).Draw(t, "stream"),
			rapid.Uint64().Draw(t, "seq"), rapid.Int64Range(0, 1<<60).Draw(t, "nanos"),
		}
		at := time.Unix(0, k.nanos)
		id := deadLetterID(k.durable, k.stream, k.seq, at)
		if id != deadLetterID(k.durable, k.stream, k.seq, at.UTC()) {
			t.Error("another id the second time")
		}
		if other, ok := seen[id]; ok && other != k {
			t.Errorf("%+v and %+v share %s", k, other, id)
		}
		seen[id] = k
		sec, nsec := id.Time().UnixTime()
		if got := time.Unix(sec, nsec).UnixMilli(); id.Version() != 7 || got != at.UnixMilli() {
			t.Errorf("version %d, time %d, want 7, %d", id.Version(), got, at.UnixMilli())
		}
	})
}

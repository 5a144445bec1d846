package stages_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/healthmed/healthmed/pkg/stages"
)

// journal notes in which order parts are told to stop and have ended.
type journal struct {
	mu      sync.Mutex
	entries []string
}

func (j *journal) note(s string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.entries = append(j.entries, s)
}

// part takes so long to stop.
func (j *journal) part(name string, stopping time.Duration, err error) stages.Part {
	return func(ctx context.Context) error {
		<-ctx.Done()
		j.note("stop " + name)
		time.Sleep(stopping)
		j.note("end " + name)
		return err
	}
}

func TestRun_StopsOneAfterAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var j journal
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Hour, cancel)
		err := stages.Run(ctx, j.part("web", time.Second, nil), stages.Together(j.part("consumer", 2*time.Second, nil)), j.part("relay", 0, nil))
		want := []string{"stop web", "end web", "stop consumer", "end consumer", "stop relay", "end relay"}
		if err != nil || !slices.Equal(j.entries, want) {
			t.Errorf("%v, %v; want %v", err, j.entries, want)
		}
	})
}

func TestRun_DoesNotWaitForOneThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var j journal
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Hour, cancel)
		began := time.Now().Add(time.Hour)
		err := stages.Run(ctx, j.part("web", 8*time.Second, nil), j.part("relay", time.Second, nil))
		want := []string{"stop web", "stop relay", "end relay", "end web"}
		if err != nil || !slices.Equal(j.entries, want) || time.Since(began) != 8*time.Second {
			t.Errorf("%v, %v after %s; want %v after 8 s", err, j.entries, time.Since(began), want)
		}
	})
}

func TestRun_AnErrorEndsAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var j journal
		broken := errors.New("broken")
		err := stages.Run(t.Context(),
			j.part("web", time.Second, nil),
			func(context.Context) error { time.Sleep(time.Minute); return broken },
			j.part("relay", time.Second, nil))
		if !errors.Is(err, broken) {
			t.Errorf("got %v, want what broke", err)
		}
		slices.Sort(j.entries)
		if want := []string{"end relay", "end web", "stop relay", "stop web"}; !slices.Equal(j.entries, want) {
			t.Errorf("got %v, want %v", j.entries, want)
		}
	})
}

// A part that has done its work before anybody stops it, such as reading ahead, stops nothing.
func TestRun_OnePartMayEndEarly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var j journal
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Hour, cancel)
		warm := func(context.Context) error { j.note("warm"); return nil }
		if err := stages.Run(ctx, j.part("web", 0, nil), stages.Together(warm, j.part("worker", 0, nil)), j.part("relay", 0, nil)); err != nil {
			t.Error(err)
		}
		if want := []string{"warm", "stop web", "end web", "stop worker", "end worker", "stop relay", "end relay"}; !slices.Equal(j.entries, want) {
			t.Errorf("got %v, want %v", j.entries, want)
		}
	})
}

package fill

import (
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// bar tells how much is done, each second.
type bar struct {
	total int64
	done  atomic.Int64
	began time.Time
	say   func(format string, args ...any)
	stop  chan struct{}
	ended sync.WaitGroup
}

func newBar(total int64, say func(format string, args ...any)) *bar {
	b := &bar{total: max(total, 1), began: time.Now(), say: say, stop: make(chan struct{})}
	b.ended.Go(func() {
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for {
			select {
			case <-b.stop:
				b.print()
				return
			case <-tick.C:
				b.print()
			}
		}
	})
	return b
}

func (b *bar) add(n int64) { b.done.Add(n) }

func (b *bar) end() {
	close(b.stop)
	b.ended.Wait()
}

// print draws the bar over its last state where the output is a terminal: \r begins a line that replaces the last.
func (b *bar) print() {
	const width = 40
	done := b.done.Load()
	full := int(min(width*done/b.total, width))
	b.say("\rfilling [%s%s] %3d %%  %d rows, %s", strings.Repeat("█", full), strings.Repeat("░", width-full),
		min(100*done/b.total, 100), done, time.Since(b.began).Round(time.Second))
}

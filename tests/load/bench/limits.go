package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/healthmed/healthmed/tests/system"
)

// Limits are what this machine can do in this run with next to nothing of the system in the way. Each is measured when
// a scenario first asks for it, and then kept, except the HTTP ones, which are measured beside their rows.
type Limits struct {
	w    *World
	mu   sync.Mutex
	kept map[string]float64
	bare *system.Process
	api  *API
}

func (l *Limits) once(name string, measure func() (float64, error)) (float64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if v, ok := l.kept[name]; ok {
		return v, nil
	}
	v, err := measure()
	if err != nil {
		return 0, fmt.Errorf("limit %s: %w", name, err)
	}
	if l.kept == nil {
		l.kept = map[string]float64{}
	}
	l.kept[name] = v
	return v, nil
}

// Fdatasync is how often a second one writer can write 8 KiB and have them on the disk.
func (l *Limits) Fdatasync() (float64, error) {
	return l.once("fdatasync", func() (float64, error) {
		f, err := os.Create(filepath.Join(l.w.Config.Dir, "fdatasync"))
		if err != nil {
			return 0, err
		}
		defer os.Remove(f.Name()) //nolint:errcheck // the folder goes too
		defer f.Close()
		block, began, n := make([]byte, 8<<10), time.Now(), 0
		for ; time.Since(began) < l.w.Seconds(2*time.Second); n++ {
			if _, err := f.WriteAt(block, int64(n%1024)*int64(len(block))); err != nil {
				return 0, err
			}
			if err := syscall.Fdatasync(int(f.Fd())); err != nil {
				return 0, err
			}
		}
		return float64(n) / time.Since(began).Seconds(), nil
	})
}

// eventSize is about that of a booking's event.
const eventSize = 700

// RawPublish is how many messages a second, the size of events, one asynchronous publisher gets acknowledged.
func (l *Limits) RawPublish(ctx context.Context) (float64, error) {
	return l.once("publish", func() (float64, error) {
		js, err := jetstream.New(l.w.NC, jetstream.WithPublishAsyncMaxPending(4000))
		if err != nil {
			return 0, err
		}
		if _, err := js.CreateOrUpdateStream(ctx, jetstream.StreamConfig{Name: "LIMIT", Subjects: []string{"limit.>"}}); err != nil {
			return 0, err
		}
		defer js.DeleteStream(context.WithoutCancel(ctx), "LIMIT") //nolint:errcheck // nobody reads it
		body, began, n := make([]byte, eventSize), time.Now(), 0
		for ; time.Since(began) < l.w.Seconds(2*time.Second); n++ {
			if _, err := js.PublishAsync("limit.x", body, jetstream.WithMsgID(strconv.Itoa(n))); err != nil {
				return 0, err
			}
		}
		select {
		case <-js.PublishAsyncComplete():
		case <-time.After(10 * time.Second):
			return 0, errors.New("not all were acknowledged")
		}
		return float64(n) / time.Since(began).Seconds(), nil
	})
}

// Handlers of the bare server.
const (
	BareNothing = "/nothing" // a small JSON answer
	BareRow     = "/user/"   // + id: one primary-key read, as JSON
)

// Bare is how many requests a second a Fiber app without anything of ours answers, over so many connections. path
// gives each request's.
func (l *Limits) Bare(ctx context.Context, connections int, during time.Duration, path func(n int) string) (Measured, error) {
	if err := l.startBare(ctx); err != nil {
		return Measured{}, fmt.Errorf("bare server: %w", err)
	}
	return Load{Workers: connections, For: during, Warmup: during / 4, Do: func(n int) error {
		return l.api.Do(Call{Path: path(n)})
	}}.Run(ctx), nil
}

func (l *Limits) startBare(ctx context.Context) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.bare != nil {
		return nil
	}
	addrs, err := system.FreeAddrs(ctx, 1)
	if err != nil {
		return err
	}
	database, err := l.w.Cluster.Postgres.URL(ctx, "users")
	if err != nil {
		return err
	}
	bare := &system.Process{
		Name: "bare", Path: l.w.Config.Program, Args: []string{"bare"}, Log: filepath.Join(l.w.Config.Dir, "logs", "bare.log"),
		Env: []string{"BARE_ADDR=" + addrs[0], "BARE_DATABASE=" + database.Reveal()},
	}
	if err := bare.Start(); err != nil {
		return err
	}
	l.bare, l.api = bare, NewAPI("http://"+addrs[0])
	return system.WaitReady(ctx, l.api.Origin, 10*time.Second)
}

func (l *Limits) stop() error {
	if l == nil || l.bare == nil {
		return nil
	}
	return l.bare.Stop(5 * time.Second)
}

// Loop runs f from so many goroutines at once: the limit of a loop in this program, such as the same SQL by pgx.
func (l *Limits) Loop(ctx context.Context, workers int, during time.Duration, f func(n int) error) Measured {
	var all atomic.Int64 // numbers go on over warm-up and measurement
	return Load{Workers: workers, For: during, Warmup: during / 4, Do: func(int) error { return f(int(all.Add(1) - 1)) }}.Run(ctx)
}

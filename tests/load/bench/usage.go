package bench

import (
	"context"
	"sync"
	"syscall"
	"time"

	"github.com/healthmed/healthmed/tests/system"
)

// Usage is what a process used while a row was measured.
type Usage struct {
	Process string  `json:"process"`
	CPU     float64 `json:"cpu"` // processors kept busy: 1 is one whole processor
	MiB     float64 `json:"mib"` // resident at the end; of services the most that was seen
}

// Generator is this program's own name among the processes.
const Generator = "generator"

// sampleEvery is how often the services' memory is looked at.
const sampleEvery = 500 * time.Millisecond

// Watch runs f and returns what each process used meanwhile.
func (w *World) Watch(ctx context.Context, f func()) []Usage {
	pids := w.processes()
	before, after := make([]time.Duration, len(pids)), make([]time.Duration, len(pids))
	for i, p := range pids {
		before[i] = system.CPUOf(p.pid)
	}
	peak := make([]int64, len(pids))
	ownBefore, began := ownCPU(), time.Now()

	sampling, stop := context.WithCancel(ctx)
	var sampler sync.WaitGroup
	sampler.Go(func() {
		tick := time.NewTicker(sampleEvery)
		defer tick.Stop()
		for {
			select {
			case <-sampling.Done():
				return
			case <-tick.C:
			}
			for i, p := range pids {
				if p.sampled {
					peak[i] = max(peak[i], system.UsageOf(p.pid).Resident)
				}
			}
		}
	})
	f()
	took := time.Since(began).Seconds()
	own := ownCPU() - ownBefore
	for i, p := range pids { // before memory, whose reading takes long enough for more to be used
		after[i] = system.CPUOf(p.pid)
	}
	stop()
	sampler.Wait()

	var used []Usage
	for i, p := range pids {
		used = append(used, Usage{
			Process: p.name, CPU: (after[i] - before[i]).Seconds() / took, MiB: mib(max(system.UsageOf(p.pid).Resident, peak[i])),
		})
	}
	return append(used, Usage{Process: Generator, CPU: own.Seconds() / took, MiB: mib(ownResident())})
}

func mib(bytes int64) float64 { return float64(bytes) / (1 << 20) }

type process struct {
	name    string
	pid     int
	sampled bool // reading PostgreSQL's memory is dear: it is done once
}

// processes are those that run now.
func (w *World) processes() []process {
	var list []process
	for _, name := range Services() {
		if !w.stopped[name] {
			list = append(list, process{name, w.Cluster.Services[name][0].PID(), true})
		}
	}
	list = append(list, process{"nats-server", w.Cluster.NATS.PID(), true}, process{"ses-endpoint", w.Cluster.SES.PID(), false})
	if w.Limits != nil && w.Limits.bare != nil {
		list = append(list, process{"bare", w.Limits.bare.PID(), false})
	}
	if pid, err := w.Cluster.PostgresPID(); err == nil {
		list = append(list, process{"postgres", pid, false})
	}
	return list
}

func ownCPU() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

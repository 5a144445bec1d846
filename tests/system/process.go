package system

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Process is one program of the system, with its output in a file. It can be killed and started again.
type Process struct {
	Name string
	Path string
	Args []string
	Env  []string // added to this process's own
	Log  string   // file that receives what it prints

	mu     sync.Mutex
	cmd    *exec.Cmd
	exited chan struct{}
	err    error
	began  time.Time // later by as long as it was frozen
	frozen time.Time // since when it is; zero while it isn't
}

// Start runs it. It must not be running.
func (p *Process) Start() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	log, err := os.OpenFile(p.Log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o640)
	if err != nil {
		return err
	}
	defer log.Close() // the child has its own descriptor
	cmd := exec.Command(p.Path, p.Args...)
	cmd.Env = append(os.Environ(), p.Env...)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", p.Name, err)
	}
	exited := make(chan struct{})
	p.cmd, p.exited, p.began, p.frozen = cmd, exited, time.Now(), time.Time{}
	go func() {
		err := cmd.Wait()
		p.mu.Lock()
		p.err = err
		p.mu.Unlock()
		close(exited)
	}()
	return nil
}

// PID is the running process's id.
func (p *Process) PID() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd == nil {
		return 0
	}
	return p.cmd.Process.Pid
}

// Signal sends a signal, e.g. SIGSTOP.
func (p *Process) Signal(sig syscall.Signal) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd == nil {
		return errors.New(p.Name + " is not running")
	}
	switch {
	case sig == syscall.SIGSTOP && p.frozen.IsZero():
		p.frozen = time.Now()
	case sig == syscall.SIGCONT && !p.frozen.IsZero():
		p.began, p.frozen = p.began.Add(time.Since(p.frozen)), time.Time{}
	}
	return p.cmd.Process.Signal(sig)
}

// Age is how long it has run; while it was frozen doesn't count.
func (p *Process) Age() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.frozen.IsZero() {
		return p.frozen.Sub(p.began)
	}
	return time.Since(p.began)
}

// Exited is closed when the process has ended.
func (p *Process) Exited() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.exited
}

// Stop sends SIGTERM and waits; after limit it kills and says so.
func (p *Process) Stop(limit time.Duration) error {
	if p.PID() == 0 {
		return nil
	}
	_ = p.Signal(syscall.SIGTERM) // may have ended
	select {
	case <-p.Exited():
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.err != nil {
			return fmt.Errorf("%s: %w (its log: %s)", p.Name, p.err, p.Log)
		}
		return nil
	case <-time.After(limit):
		p.Kill()
		return fmt.Errorf("%s did not end within %s of SIGTERM", p.Name, limit)
	}
}

// Kill ends it at once, as a crash would, and waits until it is gone.
func (p *Process) Kill() {
	_ = p.Signal(syscall.SIGKILL) // may have ended
	<-p.Exited()
}

// Usage is what a process, or a tree of them, has used.
type Usage struct {
	CPU      time.Duration // user and system time since its start
	Resident int64         // bytes
}

// Sub is the usage since an earlier look; memory is as of now.
func (u Usage) Sub(earlier Usage) Usage { return Usage{CPU: u.CPU - earlier.CPU, Resident: u.Resident} }

// clockTick is USER_HZ, which Linux fixes at 100 for what it tells in /proc.
const clockTick = 10 * time.Millisecond

// UsageOf sums a process and its children (PostgreSQL has one for each connection) from /proc. Memory that the
// processes share is counted once, by proportional set size.
func UsageOf(pid int) Usage {
	var total Usage
	for _, id := range append([]int{pid}, children(pid)...) {
		total.CPU += cpuOf(id)
		total.Resident += residentOf(id)
	}
	return total
}

// CPUOf is the time alone, which costs little to read.
func CPUOf(pid int) (total time.Duration) {
	for _, id := range append([]int{pid}, children(pid)...) {
		total += cpuOf(id)
	}
	return total
}

func children(pid int) []int {
	body, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	if err != nil {
		return nil
	}
	var list []int
	for _, field := range strings.Fields(string(body)) {
		if id, err := strconv.Atoi(field); err == nil {
			list = append(append(list, id), children(id)...)
		}
	}
	return list
}

func cpuOf(pid int) time.Duration {
	body, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	// The name may hold spaces: fields are counted after its closing bracket.
	_, after, _ := strings.Cut(string(body), ") ")
	fields := strings.Fields(after)
	if len(fields) < 13 {
		return 0
	}
	user, _ := strconv.ParseInt(fields[11], 10, 64)
	system, _ := strconv.ParseInt(fields[12], 10, 64)
	return time.Duration(user+system) * clockTick
}

func residentOf(pid int) int64 {
	body, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(body)) {
		if rest, ok := strings.CutPrefix(line, "Pss:"); ok {
			kib, _ := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
			return kib << 10
		}
	}
	return 0
}

// BuildAll compiles programs (folders or package paths, from the tests module) into dir and returns their paths.
func BuildAll(ctx context.Context, dir string, packages map[string]string) (map[string]string, error) {
	paths := map[string]string{}
	for name, pkg := range packages {
		path := filepath.Join(dir, name)
		cmd := exec.CommandContext(ctx, "go", "build", "-o", path, pkg)
		cmd.Dir = filepath.Join(root(), "tests")
		if out, err := cmd.CombinedOutput(); err != nil {
			return nil, fmt.Errorf("build %s: %w\n%s", name, err, out)
		}
		paths[name] = path
	}
	return paths, nil
}

package localpg

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// watcher becomes the server (exec), after it has left behind a shell that waits for the pipe on descriptor 3 to
// close. A line on the pipe says that all is over; end of file without one says that the parent is gone, and then
// the server is told to stop: fast, or at once for throwaway data ($1 is the signal, $2 the server's pid file, $3
// what to remove). The double fork makes the shell nobody's child, so that the server doesn't take it for one of
// its own. The pid file is looked at because a server that nobody reaps would seem alive for ever.
const watcher = `
( (
	trap '' INT HUP TERM
	if ! read -r over <&3; then
		kill -s "$1" $$ 2>/dev/null
		n=0
		while [ $n -lt 600 ] && [ -e "$2" ] && kill -0 $$ 2>/dev/null; do
			n=$((n+1)); [ $n -eq 400 ] && kill -s QUIT $$; sleep 0.05
		done
	fi
	[ -z "$3" ] || rm -rf -- "$3" || { sleep 1; rm -rf -- "$3"; }
) & )
shift 3
exec "$@" 3<&-`

// process is a running server.
type process struct {
	cmd  *exec.Cmd
	pipe io.WriteCloser
	done chan struct{}
	log  string
	from int64 // where this run's part of the log begins
}

func startProcess(cfg Config, own owner, program string, args []string) (*process, error) {
	log, from, err := openLog(cfg.path("postgresql.log"))
	if err != nil {
		return nil, err
	}
	defer func() { _ = log.Close() }()
	if err := own.chown(log.Name()); err != nil {
		return nil, err
	}
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer func() { _ = r.Close() }()
	signal, remove := "INT", ""
	if cfg.Throwaway {
		signal, remove = "QUIT", cfg.Dir
	}
	// Not CommandContext: the server outlives the context of its start.
	cmd := own.command(context.Background(), cfg.Dir, "/bin/sh", append([]string{"-c", watcher, "sh", signal,
		filepath.Join(cfg.path("data"), "postmaster.pid"), remove, program}, args...)...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.ExtraFiles = []*os.File{r}
	if err := cmd.Start(); err != nil {
		_ = w.Close()
		return nil, fmt.Errorf("start %s: %w", program, err)
	}
	p := &process{cmd: cmd, pipe: w, done: make(chan struct{}), log: log.Name(), from: from}
	go func() {
		_ = cmd.Wait() // how it ended is in the log
		_, _ = io.WriteString(w, "over\n")
		_ = w.Close()
		close(p.done)
	}()
	return p, nil
}

// stop asks for a fast shutdown and kills at the limit or when ctx ends.
func (p *process) stop(ctx context.Context, limit time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	_ = p.cmd.Process.Signal(syscall.SIGINT)
	select {
	case <-p.done:
		return
	case <-ctx.Done():
	}
	_ = p.cmd.Process.Signal(syscall.SIGQUIT) // immediate shutdown: backends go too
	select {
	case <-p.done:
	case <-time.After(5 * time.Second):
		_ = p.cmd.Process.Kill()
		<-p.done
	}
}

func (p *process) logTail() string {
	f, err := os.Open(p.log)
	if err != nil {
		return "see " + p.log
	}
	defer func() { _ = f.Close() }()
	if _, err := f.Seek(p.from, io.SeekStart); err != nil {
		return "see " + p.log
	}
	b, _ := io.ReadAll(io.LimitReader(f, 1<<20))
	return lastLines(b) + " (" + p.log + ")"
}

// openLog appends to the log, after putting a big one aside.
func openLog(name string) (*os.File, int64, error) {
	if fi, err := os.Stat(name); err == nil && fi.Size() > maxLogBytes {
		if err := os.Rename(name, name+".1"); err != nil {
			return nil, 0, err
		}
	}
	f, err := os.OpenFile(name, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, 0, err
	}
	end, err := f.Seek(0, io.SeekEnd)
	return f, end, err
}

// endLingering waits for a predecessor that is still shutting down, and removes the postmaster.pid of one that was
// killed when its process id now belongs to something else (PostgreSQL itself would refuse to start then).
func endLingering(ctx context.Context, data string) error {
	file := filepath.Join(data, "postmaster.pid")
	ctx, cancel := context.WithTimeout(ctx, lingerLimit)
	defer cancel()
	for first := true; ; first = false {
		b, err := os.ReadFile(file)
		if errors.Is(err, os.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		line, _, _ := strings.Cut(string(b), "\n")
		pid, err := strconv.Atoi(strings.TrimSpace(line))
		if err != nil || pid <= 1 || !isServer(ctx, pid, data) {
			return os.Remove(file)
		}
		if first {
			_ = syscall.Kill(pid, syscall.SIGINT)
		}
		if !sleep(ctx, 50*time.Millisecond) {
			return fmt.Errorf("a server that was left behind (pid %d) does not stop", pid)
		}
	}
}

// isServer tells whether the process is a PostgreSQL server of this data folder.
func isServer(ctx context.Context, pid int, data string) bool {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/cmdline")
	if err != nil {
		b, err = exec.CommandContext(ctx, "ps", "-o", "command=", "-p", strconv.Itoa(pid)).Output()
	}
	return err == nil && strings.Contains(string(b), "postgres") && strings.Contains(string(b), data)
}

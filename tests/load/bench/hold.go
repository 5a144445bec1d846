package bench

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Hold asks a process of its own to keep connections to a service.
type Hold struct {
	Addr        string
	Connections int
	Rate        float64
	For         time.Duration
	Requests    []HeldRequest // taken in turns
}

// HeldRequest is a GET.
type HeldRequest struct{ Path, Token string }

// Held is what came of it.
type Held struct {
	Done    int64
	Errors  map[string]int64
	Took    time.Duration
	Alive   int // connections that were still open at the end
	Latency *hdrhistogram.Snapshot
}

// Measured is the result as of any load.
func (h Held) Measured() Measured {
	return Measured{Latency: hdrhistogram.Import(h.Latency), Done: h.Done, Errors: h.Errors, During: h.Took}
}

// Holder is a running process that holds connections.
type Holder struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

// StartHolder returns when all connections are open, each with one answer behind it.
func (w *World) StartHolder(ctx context.Context, h Hold) (*Holder, error) {
	cmd := exec.CommandContext(ctx, w.Config.Program, "hold")
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	holder := &Holder{cmd: cmd, in: in, out: bufio.NewReader(out)}
	if err := json.NewEncoder(in).Encode(h); err != nil {
		return nil, errors.Join(err, holder.Close())
	}
	line, err := holder.out.ReadString('\n')
	if err != nil || strings.TrimSpace(line) != "open" {
		return nil, errors.Join(fmt.Errorf("connections could not be opened: %w", err), holder.Close())
	}
	return holder, nil
}

// Run sends the load and returns its result. The connections stay open.
func (h *Holder) Run() (Held, error) {
	var held Held
	if _, err := io.WriteString(h.in, "go\n"); err != nil {
		return held, err
	}
	line, err := h.out.ReadBytes('\n')
	if err != nil {
		return held, err
	}
	return held, json.Unmarshal(line, &held)
}

// Close ends the process, and with it the connections.
func (h *Holder) Close() error {
	h.in.Close()
	return h.cmd.Wait()
}

// OpenFiles is how many files a process of this program, or of a service, may have open.
func OpenFiles() int {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return 1024
	}
	return int(min(limit.Max, 1<<20)) //nolint:gosec // bounded
}

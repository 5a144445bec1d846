package system

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"

	"github.com/healthmed/healthmed/pkg/lockfile"
)

// Ports below the ephemeral range, so that no outgoing connection takes one between the look and the use. A process has
// blocks of its own, by locks that end with it: nobody else is given the port of a server that is just not running.
const (
	firstPort = 20000
	blocks    = 199
	blockSize = 64
	// own is how many blocks a process takes before it comes round to its first port again.
	own = 8
)

var portsOfProcess struct {
	sync.Mutex

	block int        // the next to try
	locks []*os.File // kept open, which keeps them locked
	ports []int      // of the blocks that it has
	next  int        // of ports
}

// FreeAddrs finds loopback addresses that are free, and that no other program which finds its own here is given.
func FreeAddrs(ctx context.Context, n int) ([]string, error) {
	p := &portsOfProcess
	p.Lock()
	defer p.Unlock()
	var found []string
	for range own * blockSize {
		if len(found) == n {
			break
		}
		if p.next == len(p.ports) {
			if err := moreOrAgain(); err != nil {
				return nil, err
			}
		}
		addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(p.ports[p.next]))
		p.next++
		ln, err := (&net.ListenConfig{}).Listen(ctx, "tcp", addr)
		if errors.Is(err, syscall.EADDRINUSE) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("free port: %w", err)
		}
		ln.Close()
		found = append(found, addr)
	}
	if len(found) < n {
		return nil, fmt.Errorf("found only %d free ports of %d", len(found), n)
	}
	return found, nil
}

// moreOrAgain takes the first block that is nobody's, or begins again with those that this process has.
func moreOrAgain() error {
	p := &portsOfProcess
	if len(p.locks) == own {
		p.next = 0
		return nil
	}
	dir := filepath.Join(os.TempDir(), "healthmed-ports-"+strconv.Itoa(os.Getuid()))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	for ; p.block < blocks; p.block++ {
		lock, err := lockfile.Take(filepath.Join(dir, strconv.Itoa(p.block)))
		if errors.Is(err, syscall.EWOULDBLOCK) {
			continue
		}
		if err != nil {
			return err
		}
		p.locks = append(p.locks, lock)
		for i := range blockSize {
			p.ports = append(p.ports, firstPort+p.block*blockSize+i)
		}
		p.block++
		return nil
	}
	return errors.New("every block of ports is another process's")
}

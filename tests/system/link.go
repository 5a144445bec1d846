package system

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"time"
)

// Link is a TCP path between two parts of the system that can misbehave: a relay of its own, so that both ends see
// what a bad network shows them, and neither knows of it.
type Link struct {
	Name string
	Addr string // where the relay listens

	listener net.Listener

	mu     sync.Mutex
	target string
	state  LinkState
	open   map[net.Conn]struct{}
	change chan struct{} // closed when state changes
}

// LinkState is how a link behaves. The zero value passes everything on.
type LinkState struct {
	Cut   bool          // connections are reset, new ones too
	Hush  bool          // half-open: connections stay, bytes go nowhere in either direction
	Delay time.Duration // each read is passed on this much later
}

// NewLink listens on a free loopback port and relays to target.
func NewLink(ctx context.Context, name, target string) (*Link, error) {
	ln, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0") // it stays open, so nobody else can get the port
	if err != nil {
		return nil, err
	}
	l := &Link{Name: name, Addr: ln.Addr().String(), listener: ln, target: target, open: map[net.Conn]struct{}{}, change: make(chan struct{})}
	go l.accept()
	return l, nil
}

// Retarget sends new connections elsewhere: a part that was started again may listen on another port.
func (l *Link) Retarget(addr string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.target = addr
}

// Set changes how the link behaves. Bytes that a hush swallowed are lost for good, so a connection that lived through
// one is reset when it ends: what came out of it would no longer be what went in.
func (l *Link) Set(state LinkState) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if state.Cut || l.state.Hush && !state.Hush {
		l.resetAll()
	}
	l.state = state
	close(l.change)
	l.change = make(chan struct{})
}

// Close ends the link.
func (l *Link) Close() error {
	l.Set(LinkState{Cut: true})
	return l.listener.Close()
}

func (l *Link) resetAll() {
	for c := range l.open {
		reset(c)
	}
	clear(l.open)
}

// reset closes a connection so that its peer gets a reset rather than an orderly end.
func reset(c net.Conn) {
	if tcp, ok := c.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // or it ends in order, which is as good
	}
	_ = c.Close() // what matters is that it is closed
}

func (l *Link) accept() {
	for {
		client, err := l.listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			time.Sleep(10 * time.Millisecond) // out of descriptors, perhaps
			continue
		}
		go l.relay(client)
	}
}

func (l *Link) relay(client net.Conn) {
	l.mu.Lock()
	target, cut := l.target, l.state.Cut
	l.mu.Unlock()
	if cut {
		reset(client)
		return
	}
	server, err := (&net.Dialer{Timeout: 5 * time.Second}).Dial("tcp", target)
	if err != nil {
		reset(client)
		return
	}
	l.mu.Lock()
	if l.state.Cut {
		l.mu.Unlock()
		reset(client)
		reset(server)
		return
	}
	l.open[client], l.open[server] = struct{}{}, struct{}{}
	l.mu.Unlock()
	go l.pump(client, server)
	l.pump(server, client)
}

// pump copies one direction until it ends, as the link's state allows.
func (l *Link) pump(to, from net.Conn) {
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		if n > 0 && !l.pass(to, buf[:n]) {
			err = io.ErrClosedPipe
		}
		if err == nil {
			continue
		}
		if errors.Is(err, io.EOF) {
			if tcp, ok := to.(*net.TCPConn); ok {
				_ = tcp.CloseWrite() // the other direction may go on
			}
		} else {
			reset(to)
			reset(from)
		}
		l.mu.Lock()
		delete(l.open, from)
		l.mu.Unlock()
		return
	}
}

// pass writes what was read, late or never as the state says; false when the connection is of no more use.
func (l *Link) pass(to net.Conn, b []byte) bool {
	l.mu.Lock()
	state, change := l.state, l.change
	l.mu.Unlock()
	if state.Delay > 0 {
		select {
		case <-time.After(state.Delay):
		case <-change:
		}
		l.mu.Lock()
		state = l.state
		l.mu.Unlock()
	}
	if state.Cut {
		return false
	}
	if state.Hush {
		return true
	}
	_, err := to.Write(b)
	return err == nil
}

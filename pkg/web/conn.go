package web

import (
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gofiber/fiber/v2"
)

const (
	// A server that closes a connection with unread data in it resets the connection, and the client loses the answer
	// that says why. So a connection whose request was refused unread is read on for a little while before it closes.
	lingerTime  = time.Second
	lingerBytes = 16 << 20

	// hurryTime is what a request that is still arriving at shutdown has left.
	hurryTime = time.Second
)

// listener knows its open connections.
type listener struct {
	net.Listener

	mu   sync.Mutex
	open map[*conn]struct{}
}

func newListener(ln net.Listener) *listener {
	return &listener{Listener: ln, open: make(map[*conn]struct{})}
}

// Accept implements net.Listener.
func (l *listener) Accept() (net.Conn, error) {
	accepted, err := l.Listener.Accept()
	if err != nil {
		return nil, err // fasthttp tells accept errors apart by type and text
	}
	c := &conn{Conn: accepted, listener: l}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open[c] = struct{}{}
	return c, nil
}

// hurry bounds the reading of all open connections; requests that are being handled have been read already.
func (l *listener) hurry() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for c := range l.open {
		_ = c.SetReadDeadline(time.Now().Add(hurryTime)) // a closed one needs none
	}
}

type conn struct {
	net.Conn
	listener *listener
	unread   atomic.Bool // the peer may still be sending
}

// Close implements net.Conn.
func (c *conn) Close() error {
	c.listener.mu.Lock()
	delete(c.listener.open, c)
	c.listener.mu.Unlock()
	if c.unread.Swap(false) {
		if half, ok := c.Conn.(interface{ CloseWrite() error }); ok && half.CloseWrite() == nil {
			_ = c.SetReadDeadline(time.Now().Add(lingerTime))
			_, _ = io.CopyN(io.Discard, c.Conn, lingerBytes)
		}
	}
	return c.Conn.Close()
}

// lingerFor makes the connection of a request that could not be read close slowly.
func lingerFor(c *fiber.Ctx) {
	if conn, ok := c.Context().Conn().(*conn); ok {
		conn.unread.Store(true)
	}
}

package sesinbox

import "sync"

// changes tells any number of waiters that the list of messages is another one. It counts instead of queueing, so a
// slow page costs nothing and misses nothing: it reads the list again.
type changes struct {
	mu       sync.Mutex
	revision uint64
	next     chan struct{} // closed at the next change
	done     chan struct{} // closed at the end
	once     sync.Once
}

func newChanges() *changes {
	return &changes{next: make(chan struct{}), done: make(chan struct{})}
}

func (c *changes) announce() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.revision++
	close(c.next)
	c.next = make(chan struct{})
}

// current is the revision, and a channel that closes when there is a newer one.
func (c *changes) current() (uint64, <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.revision, c.next
}

func (c *changes) close() { c.once.Do(func() { close(c.done) }) }

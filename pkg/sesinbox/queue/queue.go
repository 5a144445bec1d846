// Package queue is one Amazon SQS standard queue in memory, behind the JSON protocol that the real client speaks.
//
// It carries SES feedback in development and tests. What SQS promises a consumer is kept: long polling, visibility
// time-outs, a new receipt handle for each receipt, at-least-once. What it lacks: message attributes, FIFO, dead
// letters, and durability. No signature is verified.
package queue

import (
	"context"
	"sync"
	"time"

	"github.com/google/uuid"
)

// Limits and defaults of SQS.
const (
	DefaultVisibility = 30 * time.Second
	maxBatch          = 10
	maxVisibility     = 12 * time.Hour
	maxWait           = 20 * time.Second
	maxDelay          = 15 * time.Minute
	maxBodyBytes      = 1 << 20
)

// maxMessages bounds a queue that nobody reads: the oldest are dropped.
const maxMessages = 50_000

// Queue holds messages until they are deleted. Its zero value isn't usable; see New.
type Queue struct {
	name       string
	visibility time.Duration

	mu       sync.Mutex
	messages []*message    // in order of sending
	arrived  chan struct{} // closed and replaced when something may have become visible
	closed   chan struct{}
	once     sync.Once
}

type message struct {
	id            string
	body          string
	write         func() string // of body, until it is first received; or nil
	sentAt        time.Time
	firstReceived time.Time
	visibleAt     time.Time
	receipts      int
	handle        string // of the latest receipt, "" before the first
}

// New makes an empty queue. visibility is how long a received message stays hidden where the receiver doesn't say;
// zero means 30 s.
func New(name string, visibility time.Duration) *Queue {
	if visibility == 0 {
		visibility = DefaultVisibility
	}
	return &Queue{name: name, visibility: visibility, arrived: make(chan struct{}), closed: make(chan struct{})}
}

// Send puts a message at the end and returns its id.
func (q *Queue) Send(body string) string { return q.send(&message{body: body}, 0) }

// SendFunc is Send of a body that is only written once somebody receives it. write is called at most once, while the
// queue is locked.
func (q *Queue) SendFunc(write func() string) string { return q.send(&message{write: write}, 0) }

func (q *Queue) send(m *message, delay time.Duration) string {
	q.mu.Lock()
	defer q.mu.Unlock()
	now := time.Now()
	m.id, m.sentAt, m.visibleAt = uuid.NewString(), now, now.Add(delay)
	q.messages = append(q.messages, m)
	if over := len(q.messages) - maxMessages; over > 0 {
		clear(q.messages[:over])
		q.messages = q.messages[over:] // moved when the slice next grows, not with every message
	}
	q.wakeLocked()
	return m.id
}

// Depth is how many messages wait, and how many are received but not deleted.
func (q *Queue) Depth() (waiting, inFlight int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	now := time.Now()
	for _, m := range q.messages {
		if m.handle != "" && m.visibleAt.After(now) {
			inFlight++
		} else {
			waiting++
		}
	}
	return waiting, inFlight
}

// Close ends long polls, now and from now on.
func (q *Queue) Close() { q.once.Do(func() { close(q.closed) }) }

func (q *Queue) wakeLocked() {
	close(q.arrived)
	q.arrived = make(chan struct{})
}

// receive waits up to wait for at least one visible message, and hides what it returns.
func (q *Queue) receive(ctx context.Context, limit int, visibility, wait time.Duration) []message {
	deadline := time.Now().Add(wait)
	for {
		taken, arrived, next := q.take(limit, visibility)
		now := time.Now()
		if len(taken) > 0 || !now.Before(deadline) {
			return taken
		}
		pause := deadline.Sub(now)
		if !next.IsZero() && next.Before(deadline) {
			pause = next.Sub(now)
		}
		timer := time.NewTimer(pause)
		select {
		case <-arrived:
		case <-timer.C:
		case <-ctx.Done():
			deadline = now
		case <-q.closed:
			deadline = now
		}
		timer.Stop()
		if ctx.Err() != nil {
			return nil // whoever asked is gone: hide nothing from the next
		}
	}
}

// take receives what is visible. Where there is nothing, arrived tells of changes, and next is when a hidden message
// comes back, if any.
func (q *Queue) take(limit int, visibility time.Duration) (taken []message, arrived <-chan struct{}, next time.Time) {
	q.mu.Lock()
	defer q.mu.Unlock()
	now := time.Now()
	for _, m := range q.messages {
		if len(taken) == limit {
			break
		}
		if m.visibleAt.After(now) {
			if next.IsZero() || m.visibleAt.Before(next) {
				next = m.visibleAt
			}
			continue
		}
		m.receipts++
		m.handle = m.id + "." + uuid.NewString()
		m.visibleAt = now.Add(visibility)
		if m.firstReceived.IsZero() {
			m.firstReceived = now
		}
		if m.write != nil {
			m.body, m.write = m.write(), nil
		}
		taken = append(taken, *m)
	}
	return taken, q.arrived, next
}

// remove deletes the message that a handle names. As in SQS, a handle that isn't the latest deletes nothing and is no
// error: the message is somebody else's by now.
func (q *Queue) remove(handle string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for i, m := range q.messages {
		if m.handle == handle {
			q.messages = append(q.messages[:i], q.messages[i+1:]...)
			return
		}
	}
}

// hide changes how long a message in flight stays hidden, from now. It is false where none is in flight by this handle.
func (q *Queue) hide(handle string, visibility time.Duration) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	now := time.Now()
	for _, m := range q.messages {
		if m.handle == handle && m.visibleAt.After(now) {
			m.visibleAt = now.Add(visibility)
			q.wakeLocked()
			return true
		}
	}
	return false
}

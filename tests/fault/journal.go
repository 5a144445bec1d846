package fault

import (
	"sync"
	"time"
)

// Outcome of a request, as its client can know it.
type Outcome string

// Outcomes. An unknown one may or may not have happened: the answer was lost, or was a 5xx.
const (
	Acknowledged Outcome = "acknowledged"
	Refused      Outcome = "refused"
	Unknown      Outcome = "unknown"
)

// Op names what a request asks for.
type Op string

// Operations of the mixed load.
const (
	Read       Op = "read"
	Register   Op = "register"
	Update     Op = "update"
	Book       Op = "book"
	Hold       Op = "hold"
	Cancel     Op = "cancel"
	Reschedule Op = "reschedule"
	Confirm    Op = "confirm"
	Decline    Op = "decline"
	Join       Op = "join"
)

// Entry is one request and what its client learnt.
type Entry struct {
	Op       Op
	Caller   string // person's id
	Key      string // Idempotency-Key; "" without
	Service  string
	Began    time.Time
	Ended    time.Time
	Outcome  Outcome
	Status   int    // 0 when there was no answer
	Fault    string // what went wrong without an answer
	Body     string // of the answer
	Replayed bool   // the answer says that it is an old one
	Replay   bool   // the request repeats one whose answer was known
	ID       string // of the appointment, hold or person, as acknowledged
	Version  int64  // as acknowledged
}

// Journal is what the clients wrote down.
type Journal struct {
	mu      sync.Mutex
	entries []Entry
}

// Add writes an entry.
func (j *Journal) Add(e Entry) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.entries = append(j.entries, e)
}

// Entries is a copy of all, in the order in which they ended.
func (j *Journal) Entries() []Entry {
	j.mu.Lock()
	defer j.mu.Unlock()
	return append([]Entry(nil), j.entries...)
}

// Tally counts the writes by outcome.
func Tally(entries []Entry) map[Outcome]int {
	n := map[Outcome]int{}
	for _, e := range entries {
		if e.Op != Read {
			n[e.Outcome]++
		}
	}
	return n
}

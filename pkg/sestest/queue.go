package sestest

import (
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	"github.com/healthmed/healthmed/pkg/sesinbox/queue"
)

// QueueName of every queue.
const QueueName = "ses-feedback"

// Queue is a running SQS endpoint with one queue. Put SES feedback on it with Send and the events of package sesinbox
// (SendEvent, DeliveryEvent, BounceEvent, ComplaintEvent, RejectEvent); Depth tells whether all was consumed.
type Queue struct {
	URL      string // of the endpoint
	QueueURL string
	*queue.Queue

	done  chan struct{}
	mu    sync.Mutex
	fault func(r *http.Request) Fault
}

// NewQueue starts an endpoint; it is closed when the test ends. Received messages stay hidden for 30 s where the
// receiver doesn't say.
func NewQueue(t testing.TB) *Queue {
	t.Helper()
	q := &Queue{Queue: queue.New(QueueName, 0), done: make(chan struct{})}
	server := httptest.NewServer(http.HandlerFunc(q.serve))
	q.URL, q.QueueURL = server.URL, q.Queue.URL(server.URL)
	t.Cleanup(func() {
		close(q.done)
		q.Close()
		server.Close()
	})
	return q
}

// SetFault decides for each call; nil is none. The operation is in the header X-Amz-Target, for instance
// AmazonSQS.ReceiveMessage. Accept has no meaning here.
func (q *Queue) SetFault(f func(r *http.Request) Fault) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.fault = f
}

func (q *Queue) serve(w http.ResponseWriter, r *http.Request) {
	q.mu.Lock()
	decide := q.fault
	q.mu.Unlock()
	if decide != nil {
		if fault := decide(r); fault != (Fault{}) {
			misbehave(w, r, fault, q.done)
			return
		}
	}
	q.ServeHTTP(w, r)
}

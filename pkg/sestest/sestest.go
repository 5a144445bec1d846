// Package sestest is an SES v2 endpoint over HTTP for tests, which can be told to misbehave, and an SQS queue for its
// feedback.
//
// It is the development endpoint of package sesinbox on a real socket, so a test drives the real SDK client through
// real connections. Faults are decided call by call; calls and accepted messages are counted by the tag delivery_id.
package sestest

import (
	"bytes"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/healthmed/healthmed/pkg/sesinbox"
)

// DeliveryTag is the tag by which calls are counted.
const DeliveryTag = "delivery_id"

// maxMessages that an endpoint keeps; counts go on beyond it.
const maxMessages = 20_000

// Endpoint is a running endpoint.
type Endpoint struct {
	URL string
	*sesinbox.Server

	done chan struct{} // closed when the test ends, so that hanging calls end

	mu           sync.Mutex
	sendFault    func(r *http.Request) Fault
	accountFault func(r *http.Request) Fault
	calls        []time.Time
	counts       map[string]Count
}

// Fault is how one call is answered instead of being accepted. The zero value is no fault.
type Fault struct {
	Status int           // HTTP status of an AWS error answer
	Code   string        // e.g. TooManyRequestsException
	Hang   bool          // never answers, until the client gives up
	Accept bool          // the e-mail is taken before the fault (with Cut: accepted, then the connection is cut)
	Cut    bool          // the connection is cut
	Delay  time.Duration // the answer, of whatever kind, comes this much later; of SendEmail alone
}

// Count of SendEmail calls that arrived, and of e-mails that were accepted, whatever the caller was told.
type Count struct{ Calls, Accepted int }

// New starts an endpoint; it is closed when the test ends.
func New(t testing.TB) *Endpoint {
	t.Helper()
	e, stop, err := Open(sesinbox.Config{MaxMessages: maxMessages})
	if err != nil {
		t.Fatalf("sestest: %v", err)
	}
	t.Cleanup(stop)
	return e
}

// Open starts an endpoint for a program that is no test; stop closes it.
func Open(cfg sesinbox.Config) (e *Endpoint, stop func(), err error) {
	inbox, err := sesinbox.New(cfg)
	if err != nil {
		return nil, nil, err
	}
	e = &Endpoint{Server: inbox, done: make(chan struct{}), counts: make(map[string]Count)}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v2/email/outbound-emails", e.sendEmail)
	mux.HandleFunc("GET /v2/email/account", e.getAccount)
	mux.Handle("/", inbox)
	server := httptest.NewServer(mux)
	e.URL = server.URL
	return e, func() {
		close(e.done)
		inbox.Close()
		server.Close()
	}, nil
}

// SetFault decides for each SendEmail call; nil is none. It may be called at any time.
// f may read the request's body, and may be called by many goroutines at once.
func (e *Endpoint) SetFault(f func(r *http.Request) Fault) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.sendFault = f
}

// SetAccountFault decides for each GetAccount call; nil is none.
func (e *Endpoint) SetAccountFault(f func(r *http.Request) Fault) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.accountFault = f
}

// Calls is how many SendEmail calls arrived, faulty ones included.
func (e *Endpoint) Calls() int { return len(e.CallTimes()) }

// CallTimes says when each SendEmail call arrived, oldest first.
func (e *Endpoint) CallTimes() []time.Time {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.calls)
}

// Count of one delivery.
func (e *Endpoint) Count(deliveryID string) Count {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.counts[deliveryID]
}

// Counts of all deliveries, by id. Calls without the tag are under "".
func (e *Endpoint) Counts() map[string]Count {
	e.mu.Lock()
	defer e.mu.Unlock()
	return maps.Clone(e.counts)
}

func (e *Endpoint) sendEmail(w http.ResponseWriter, r *http.Request) {
	arrived := time.Now()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // the client is gone
	}
	id := deliveryOf(body)
	e.mu.Lock()
	e.calls = append(e.calls, arrived)
	e.countLocked(id, Count{Calls: 1})
	decide := e.sendFault
	e.mu.Unlock()

	var fault Fault
	if decide != nil {
		r.Body = io.NopCloser(bytes.NewReader(body))
		fault = decide(r)
	}
	clean := fault.Status == 0 && fault.Code == "" && !fault.Hang && !fault.Cut
	if clean || fault.Accept {
		answer := httptest.NewRecorder()
		r.Body = io.NopCloser(bytes.NewReader(body))
		e.Server.ServeHTTP(answer, r)
		if answer.Code == http.StatusOK {
			e.mu.Lock()
			e.countLocked(id, Count{Accepted: 1})
			e.mu.Unlock()
		}
		if clean {
			e.wait(r, fault.Delay)
			maps.Copy(w.Header(), answer.Header())
			w.WriteHeader(answer.Code)
			_, _ = w.Write(answer.Body.Bytes()) // the client is gone if this fails
			return
		}
	}
	e.wait(r, fault.Delay)
	misbehave(w, r, fault, e.done)
}

// wait for a delay, or for the client to go or the test to end.
func (e *Endpoint) wait(r *http.Request, delay time.Duration) {
	if delay <= 0 {
		return
	}
	select {
	case <-time.After(delay):
	case <-r.Context().Done():
	case <-e.done:
	}
}

func (e *Endpoint) countLocked(id string, more Count) {
	c := e.counts[id]
	e.counts[id] = Count{c.Calls + more.Calls, c.Accepted + more.Accepted}
}

func (e *Endpoint) getAccount(w http.ResponseWriter, r *http.Request) {
	e.mu.Lock()
	decide := e.accountFault
	e.mu.Unlock()
	if decide != nil {
		if fault := decide(r); fault != (Fault{}) {
			misbehave(w, r, fault, e.done)
			return
		}
	}
	e.Server.ServeHTTP(w, r)
}

// misbehave answers as the fault says: hang first, then cut, then an error answer. done ends what hangs.
func misbehave(w http.ResponseWriter, r *http.Request, fault Fault, done <-chan struct{}) {
	switch {
	case fault.Hang:
		_, _ = io.Copy(io.Discard, r.Body) // or net/http doesn't notice when the client gives up
		select {
		case <-r.Context().Done():
		case <-done:
		}
		panic(http.ErrAbortHandler)
	case fault.Cut:
		panic(http.ErrAbortHandler) // closes the connection without an answer
	}
	status := fault.Status
	if status == 0 {
		status = http.StatusInternalServerError
	}
	w.Header().Set("Content-Type", "application/json")
	if fault.Code != "" {
		w.Header().Set("X-Amzn-Errortype", fault.Code)
	}
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]string{"message": "made up by the test"}) // the client is gone if this fails
}

// deliveryOf reads the tag of a request, or "".
func deliveryOf(body []byte) string {
	var request struct {
		EmailTags []struct{ Name, Value string }
	}
	if json.Unmarshal(body, &request) != nil {
		return ""
	}
	for _, tag := range request.EmailTags {
		if tag.Name == DeliveryTag {
			return tag.Value
		}
	}
	return ""
}

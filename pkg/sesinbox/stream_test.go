package sesinbox_test

import (
	"bufio"
	"net/http"
	"strings"
	"testing"

	"github.com/healthmed/healthmed/pkg/sesinbox"
)

// openStream gives the events of the stream, and closes the channel at its end.
func openStream(t *testing.T, e endpoint) <-chan string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, e.url+"/messages/stream", nil)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { answer.Body.Close() })
	if got := answer.Header.Get("Content-Type"); got != "text/event-stream" {
		t.Fatalf("type %q", got)
	}
	events := make(chan string)
	go func() {
		defer close(events)
		for lines := bufio.NewScanner(answer.Body); lines.Scan(); {
			if name, ok := strings.CutPrefix(lines.Text(), "event: "); ok {
				select {
				case events <- name:
				case <-t.Context().Done():
					return
				}
			}
		}
	}()
	return events
}

func TestStream_TellsOfEachChangeAndEndsOnClose(t *testing.T) {
	e := start(t, sesinbox.Config{})
	events := openStream(t, e)
	if got := <-events; got != "hello" {
		t.Fatalf("first event %q", got)
	}
	e.send(t, rawInput(plainMail))
	if got := <-events; got != "change" {
		t.Errorf("after a message: %q", got)
	}
	e.request(t, "DELETE", "/messages", nil, "")
	if got := <-events; got != "change" {
		t.Errorf("after deleting: %q", got)
	}
	e.Close()
	if got, open := <-events; open {
		t.Errorf("after Close: %q", got)
	}
}

func TestStream_ABurstIsAFewEventsAndTheLastIsNotMissed(t *testing.T) {
	e := start(t, sesinbox.Config{})
	events := openStream(t, e)
	<-events
	for range 50 {
		e.send(t, rawInput(plainMail))
	}
	seen := 0
	for range events { // each time the page would read the list
		seen++
		if len(getJSON[listing](t, e, "/messages").Items) == 50 {
			break
		}
	}
	if seen > 25 {
		t.Errorf("%d events for 50 messages", seen)
	}
}

package contract_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/healthmed/healthmed/pkg/access"
	"github.com/healthmed/healthmed/pkg/bus"
	"github.com/healthmed/healthmed/pkg/events"
	"github.com/healthmed/healthmed/pkg/natstest"
	"github.com/healthmed/healthmed/tests/system"
)

const (
	stream  = "SCHEDULING"
	partner = "billing"
)

// broker is a server as a partner meets it: the configuration of deploy/nats, and a partner added as an operator does.
type broker struct {
	t       *testing.T
	js      jetstream.JetStream // the scheduling service's
	address string
	keyFile string
	srv     *natstest.Guarded
	others  map[string]jetstream.JetStream // by name
}

func newBroker(t *testing.T) *broker {
	t.Helper()
	srv := natstest.NewGuarded(t)
	scheduling, err := bus.Connect(t.Context(), srv.As("scheduling"), "scheduling", nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(scheduling.Close)
	if err := scheduling.EnsureStreams(t.Context(), stream); err != nil {
		t.Fatal(err)
	}
	keyFile := filepath.Join(t.TempDir(), "billing.nk")
	if err := access.Command(t.Context(), srv.Access, []string{"partner", "add", partner, "--events", "scheduling.*.*", "--out", keyFile}, io.Discard, io.Discard); err != nil {
		t.Fatal(err)
	}
	return &broker{t: t, js: scheduling.JS, address: srv.Access.URL, keyFile: keyFile, srv: srv, others: map[string]jetstream.JetStream{}}
}

// publish leaves out Nats-Msg-Id, so that the stream keeps a second copy as it does after its duplicate window.
func (b *broker) publish(subject string, body []byte) {
	b.t.Helper()
	if _, err := b.js.Publish(b.t.Context(), subject, body); err != nil {
		b.t.Fatal(err)
	}
}

// publishAll publishes the example of every event of the stream, and gives their ids in order.
func (b *broker) publishAll() []string {
	b.t.Helper()
	var ids []string
	for _, d := range events.All() {
		if d.Stream != stream {
			continue
		}
		env, err := events.Decode(d.Example())
		if err != nil {
			b.t.Fatal(err)
		}
		b.publish(env.Data.Subject(), d.Example())
		ids = append(ids, env.ID.String())
	}
	return ids
}

// publishAs publishes an example under another id.
func (b *broker) publishAs(id string) {
	b.t.Helper()
	d, _ := events.Lookup("br.com.healthmed.scheduling.appointment.booked.v1")
	env, err := events.Decode(d.Example())
	if err != nil {
		b.t.Fatal(err)
	}
	b.publish(env.Data.Subject(), bytes.Replace(d.Example(), []byte(env.ID.String()), []byte(id), 1))
}

// consumer gives the partner's consumer as it is now.
func (b *broker) consumer() jetstream.ConsumerInfo {
	b.t.Helper()
	info, err := b.as("admin").Consumer(b.t.Context(), stream, partner)
	if err != nil {
		b.t.Fatal(err)
	}
	return *info.CachedInfo()
}

// as connects with another key than the scheduling service's.
func (b *broker) as(name string) jetstream.JetStream {
	b.t.Helper()
	if js, ok := b.others[name]; ok {
		return js
	}
	cfg := bus.Config{URL: b.address, NKeyFile: b.keyFile}
	if name != partner {
		cfg = b.srv.As(name)
	}
	conn, err := bus.Connect(b.t.Context(), cfg, name, nil, nil)
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(conn.Close)
	b.others[name] = conn.JS
	return conn.JS
}

// Without any progress for so long something is stuck. It is shorter than the time to acknowledge, 30 seconds: a message
// that was given to nobody is a fault, though it comes again.
const stuckAfter = 20 * time.Second

// drained waits until everything published was delivered to s and acknowledged.
func (b *broker) drained(s *subscriber) {
	b.t.Helper()
	limit := time.NewTimer(2 * time.Minute) // a busy machine takes its time to start a program
	defer limit.Stop()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	before := b.consumer()
	for {
		info := b.consumer()
		if info.NumPending == 0 && info.NumAckPending == 0 {
			return
		}
		if info.NumWaiting != before.NumWaiting || info.Delivered.Consumer != before.Delivered.Consumer || info.AckFloor.Consumer != before.AckFloor.Consumer {
			limit.Reset(stuckAfter)
		}
		before = info
		why := "not everything was acknowledged"
		select {
		case <-tick.C:
			continue
		case <-s.ended:
			why = "it ended"
		case <-limit.C:
		}
		b.t.Fatalf("%s: %d to be delivered, %d delivered and not acknowledged, %d delivered again, %d requests waiting, last delivery %+v, last acknowledgement %+v\n%s",
			why, info.NumPending, info.NumAckPending, info.NumRedelivered, info.NumWaiting, info.Delivered, info.AckFloor, s.kill())
	}
}

// subscriber is one of the programs of docs/events.md, running.
type subscriber struct {
	t              *testing.T
	cmd            *exec.Cmd
	stdout, stderr bytes.Buffer
	printed        chan struct{} // closed with the first line
	ended          chan struct{} // closed when it has ended, with err
	err            error
}

// firstWrite closes a channel when something is written.
type firstWrite struct {
	io.Writer
	once    sync.Once
	written chan struct{}
}

func (w *firstWrite) Write(p []byte) (int, error) {
	defer w.once.Do(func() { close(w.written) })
	return w.Writer.Write(p)
}

func (b *broker) start(dir string, command ...string) *subscriber {
	b.t.Helper()
	s := &subscriber{t: b.t, cmd: exec.CommandContext(b.t.Context(), command[0], command[1:]...),
		printed: make(chan struct{}), ended: make(chan struct{})}
	s.cmd.Dir, s.cmd.Stdout, s.cmd.Stderr = dir, &firstWrite{Writer: &s.stdout, written: s.printed}, &s.stderr
	s.cmd.Env = append(os.Environ(), "NATS_URL="+b.address, "NATS_NKEY="+b.keyFile, "CONSUMER="+partner, "STREAM="+stream)
	if err := s.cmd.Start(); err != nil {
		b.t.Fatal(err)
	}
	go func() {
		defer close(s.ended)
		s.err = s.cmd.Wait()
	}()
	return s
}

// stop asks it to end, expects that it ends cleanly, and gives the lines it printed.
func (s *subscriber) stop() []string {
	s.t.Helper()
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		s.t.Fatal(err)
	}
	if <-s.ended; s.err != nil {
		s.t.Fatalf("%v\n%s", s.err, s.stderr.String())
	}
	return strings.Split(strings.TrimSpace(s.stdout.String()), "\n")
}

// kill ends it at once and gives all that it said, for the message of a failing test.
func (s *subscriber) kill() string {
	_ = s.cmd.Process.Kill() // it may have ended by itself
	<-s.ended
	return fmt.Sprintf("the subscriber (%v) printed\n%sand complained\n%s", s.err, s.stdout.String(), s.stderr.String())
}

func firstWords(lines []string) []string {
	out := make([]string, len(lines))
	for i, line := range lines {
		out[i], _, _ = strings.Cut(line, " ")
	}
	return out
}

// handlesEachEventOnce shows a subscriber what happens in production: duplicates, events of the future, rubbish, and
// a restart with more duplicates.
func handlesEachEventOnce(t *testing.T, dir string, command ...string) {
	t.Helper()
	b := newBroker(t)
	const future = "0193b5a0-7a00-7000-8000-00000000ffff"
	want := b.publishAll()
	b.publish("healthmed.scheduling.room.opened.v1.x", []byte(`{"specversion":"1.0","id":"`+future+`","source":"/healthmed/scheduling",
		"type":"br.com.healthmed.scheduling.room.opened.v1","subject":"x","time":"2027-01-01T00:00:00Z","datacontenttype":"application/json",
		"sequence":"00000000000000000001","data":{}}`))
	b.publish("healthmed.scheduling.appointment.booked.v1.x.y", []byte(`{"specversion":"0.3"}`))
	b.publish("healthmed.scheduling.appointment.booked.v1.x.y", []byte("rubbish"))
	b.publishAll()
	want = append(want, future)

	first := b.start(dir, command...)
	b.drained(first)
	lines := first.stop()
	if got := firstWords(lines); !slices.Equal(got, want) {
		t.Errorf("handled %v\nwant    %v\n%s", got, want, first.stderr.String())
	}
	if text := strings.Join(lines, "\n"); !strings.Contains(text, " booked ") || !strings.Contains(text, " moved ") || !strings.Contains(text, " cancelled ") {
		t.Errorf("not everything was told apart:\n%s", text)
	}
	if n := strings.Count(first.stderr.String(), "\n"); n != 2 {
		t.Errorf("%d complaints about 2 bad messages:\n%s", n, first.stderr.String())
	}

	const fresh = "0193b5a0-7a00-7000-8000-00000000aaaa"
	b.publishAll()
	b.publishAs(fresh)
	second := b.start(dir, command...)
	b.drained(second)
	if got := firstWords(second.stop()); !slices.Equal(got, []string{fresh}) {
		t.Errorf("after a restart it handled %v, want %s alone\n%s", got, fresh, second.stderr.String())
	}
}

func goSubscriber(t *testing.T) (program string) {
	t.Helper()
	program = filepath.Join(t.TempDir(), "subscriber")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", program, "./subscriber").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return program
}

func TestGoSubscriber_HandlesEachEventOnce(t *testing.T) {
	t.Parallel()
	handlesEachEventOnce(t, t.TempDir(), goSubscriber(t))
}

// Events that a program fetched ahead when it is stopped are there for the next one at once, not when their time to be
// acknowledged (30 seconds) is over.
func TestGoSubscriber_GivesBackWhatItDidNotBegin(t *testing.T) {
	t.Parallel()
	b := newBroker(t)
	const total = 500
	for range total {
		b.publishAs(uuid.NewString())
	}
	s := b.start(t.TempDir(), goSubscriber(t))
	select {
	case <-s.printed:
	case <-s.ended:
		t.Fatal(s.kill())
	}
	left := total - len(s.stop())
	if left == 0 {
		t.Fatal("it had handled everything before it was stopped: this run shows nothing")
	}
	consumer, err := b.as(partner).Consumer(t.Context(), stream, partner)
	if err != nil {
		t.Fatal(err)
	}
	batch, err := consumer.Fetch(left, jetstream.FetchMaxWait(15*time.Second)) // half of AckWait
	if err != nil {
		t.Fatal(err)
	}
	got := 0
	for range batch.Messages() {
		got++
	}
	if got != left {
		t.Errorf("%d of %d events that it had not handled were to be had; the consumer: %+v\n%s", got, left, b.consumer(), s.stderr.String())
	}
}

// packages are what docs/events.md installs.
func packages() []string {
	return []string{"@nats-io/transport-node@3.4.0", "@nats-io/jetstream@3.4.0"}
}

func TestJavaScriptSubscriber_HandlesEachEventOnce(t *testing.T) {
	t.Parallel()
	system.Needs(t, "node", "npm")
	dir := t.TempDir()
	source, err := os.ReadFile("subscriber/subscriber.mjs")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "subscriber.mjs"), source, 0o644); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	install := exec.CommandContext(ctx, "npm", append([]string{"install", "--no-audit", "--no-fund", "--no-package-lock", "--prefer-offline", "--ignore-scripts", "--prefix", dir}, packages()...)...)
	if out, err := install.CombinedOutput(); err != nil {
		system.LeaveOut(t, "npm install: %v\n%s", err, out)
	}
	handlesEachEventOnce(t, dir, "node", "subscriber.mjs")
}

package access_test

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/healthmed/healthmed/pkg/access"
	"github.com/healthmed/healthmed/pkg/bus"
	"github.com/healthmed/healthmed/pkg/events"
	"github.com/healthmed/healthmed/pkg/natstest"
)

const patience = 20 * time.Second

// house is a guarded server with the three services connected and their streams made.
type house struct {
	*natstest.Guarded
	users, scheduling, notifier *bus.Conn
}

func newHouse(t *testing.T, extra ...string) *house {
	t.Helper()
	h := &house{Guarded: natstest.NewGuarded(t, extra...)}
	h.users, h.scheduling, h.notifier = h.connect(t, "users"), h.connect(t, "scheduling"), h.connect(t, "notifier")
	h.ensure(t)
	return h
}

func (h *house) connect(t *testing.T, service string) *bus.Conn {
	t.Helper()
	c, err := bus.Connect(t.Context(), h.As(service), service, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// ensure makes every stream by the service that owns it.
func (h *house) ensure(t *testing.T) {
	t.Helper()
	for c, streams := range map[*bus.Conn][]string{
		h.users: {bus.Users, bus.AccountMail}, h.scheduling: {bus.Scheduling}, h.notifier: {bus.Notifications, bus.DeadLetters},
	} {
		if err := c.EnsureStreams(t.Context(), streams...); err != nil {
			t.Fatal(err)
		}
	}
}

// owner is the service that publishes to a stream.
func (h *house) owner(stream string) *bus.Conn {
	return map[string]*bus.Conn{bus.Users: h.users, bus.Scheduling: h.scheduling, bus.Notifications: h.notifier}[stream]
}

// publishExamples publishes the example of every event, by the service that it belongs to, and tells how many each
// stream has then.
func (h *house) publishExamples(t *testing.T) map[string]uint64 {
	t.Helper()
	count := map[string]uint64{}
	for _, d := range events.All() {
		env, err := events.Decode(d.Example())
		if err != nil {
			t.Fatal(err)
		}
		ack, err := h.owner(d.Stream).JS.Publish(t.Context(), env.Data.Subject(), d.Example())
		if err != nil {
			t.Fatal(d.Name, err)
		}
		count[d.Stream] = ack.Sequence
	}
	return count
}

// command runs healthmed-admin.
func (h *house) command(t *testing.T, args ...string) (out string, err error) {
	t.Helper()
	var stdout, notes bytes.Buffer
	err = access.Command(t.Context(), h.Access, args, &stdout, &notes)
	return stdout.String() + notes.String(), err
}

// add makes a partner and gives their key's file.
func (h *house) add(t *testing.T, name string, args ...string) (seedFile string) {
	t.Helper()
	seedFile = filepath.Join(t.TempDir(), name+".nk")
	out, err := h.command(t, append([]string{"partner", "add", name, "--out", seedFile}, args...)...)
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if info, err := os.Stat(seedFile); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the key's file: %v %v", info, err)
	}
	return seedFile
}

// intruder is somebody with a key, and no good intentions.
type intruder struct {
	t      *testing.T
	conn   *nats.Conn
	denied chan string
}

func (h *house) intrude(t *testing.T, name, seedFile string) *intruder {
	t.Helper()
	key, err := nats.NkeyOptionFromSeed(seedFile)
	if err != nil {
		t.Fatal(err)
	}
	i := &intruder{t: t, denied: make(chan string, 100)}
	i.conn, err = nats.Connect(h.Access.URL, key, nats.CustomInboxPrefix("_INBOX_"+name), nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
		i.denied <- err.Error()
	}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(i.conn.Close)
	return i
}

// refused expects the server to refuse what was just asked about the subject.
func (i *intruder) refused(verb, subject string) {
	i.t.Helper()
	for {
		select {
		case text := <-i.denied:
			if strings.Contains(strings.ToLower(text), "permissions violation for "+verb+` to "`+strings.ToLower(subject)+`"`) {
				return
			}
		case <-time.After(patience):
			i.t.Errorf("%s to %s was not refused", verb, subject)
			return
		}
	}
}

func (i *intruder) mayNotPublish(subjects ...string) {
	i.t.Helper()
	for _, subject := range subjects {
		if err := i.conn.PublishRequest(subject, i.conn.NewRespInbox(), []byte("{}")); err != nil {
			i.t.Fatal(err)
		}
		i.refused("publish", subject)
	}
}

func (i *intruder) mayNotSubscribe(subjects ...string) {
	i.t.Helper()
	for _, subject := range subjects {
		sub, err := i.conn.SubscribeSync(subject)
		if err != nil {
			i.t.Fatal(err)
		}
		i.refused("subscription", subject)
		_ = sub.Unsubscribe() // refused already
	}
}

// fetch reads and acknowledges everything that the partner's consumer has.
func (i *intruder) fetch(stream, consumer string) (subjects []string) {
	i.t.Helper()
	js, err := jetstream.New(i.conn)
	if err != nil {
		i.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(i.t.Context(), patience)
	defer cancel()
	cons, err := js.Consumer(ctx, stream, consumer)
	if err != nil {
		i.t.Fatal(err)
	}
	for left := cons.CachedInfo().NumPending; left > 0; {
		m, err := cons.Next()
		if err != nil {
			i.t.Fatal(err)
		}
		if err := m.DoubleAck(ctx); err != nil {
			i.t.Fatal(err)
		}
		meta, err := m.Metadata()
		if err != nil {
			i.t.Fatal(err)
		}
		subjects, left = append(subjects, m.Subject()), meta.NumPending
	}
	return subjects
}

// messages is how many each stream has.
func (h *house) messages(t *testing.T) map[string]uint64 {
	t.Helper()
	count := map[string]uint64{}
	for _, stream := range []string{bus.Users, bus.Scheduling, bus.Notifications} {
		s, err := h.owner(stream).JS.Stream(t.Context(), stream)
		if err != nil {
			t.Fatal(err)
		}
		count[stream] = s.CachedInfo().State.LastSeq
	}
	return count
}

// newTLS starts a guarded server with the settings of deploy/nats/tls.conf and a certificate of the test.
func newTLS(t *testing.T, certificate, key string) *natstest.Guarded {
	t.Helper()
	body, err := os.ReadFile("../../deploy/nats/tls.conf")
	if err != nil {
		t.Fatal(err)
	}
	_, settings, found := strings.Cut(string(body), "include ./nats.conf\n")
	if !found {
		t.Fatal("tls.conf has another form than this test thinks")
	}
	return natstest.NewGuarded(t, strings.NewReplacer("$NATS_TLS_CERT", `"`+certificate+`"`, "$NATS_TLS_KEY", `"`+key+`"`).Replace(settings))
}

package bus_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/healthmed/healthmed/pkg/bus"
	"github.com/healthmed/healthmed/pkg/events"
)

// deadLetters collects the dead letters in the background.
func deadLetters(t *testing.T, conn *bus.Conn) <-chan bus.DeadLetter {
	t.Helper()
	got := make(chan bus.DeadLetter, 100)
	background(t, func(ctx context.Context) error {
		return conn.SubscribeDeadLetters(ctx, "collector", func(_ context.Context, dl bus.DeadLetter) error { got <- dl; return nil })
	})
	return got
}

func refuse(context.Context, bus.Message) error {
	return bus.Permanent(errors.New("the doctor \x00 is \xffnobody"))
}

func TestDeadLetter_APermanentFailureIsKeptWithAllThatIsNeededToActOnIt(t *testing.T) {
	t.Parallel()
	_, conn := started(t)
	var calls atomic.Int32
	subscribe(t, conn, func(ctx context.Context, m bus.Message) error { calls.Add(1); return refuse(ctx, m) })
	before := time.Now()
	env := booked(t, 1)
	env.TraceParent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	seq := publish(t, conn, env)
	body, err := env.Encode()
	if err != nil {
		t.Fatal(err)
	}
	got := receive(t, deadLetters(t, conn))
	want := bus.DeadLetter{
		ID: got.ID, Durable: "reader", Stream: bus.Scheduling, StreamSeq: seq, Subject: env.Data.Subject(),
		Headers: nats.Header{
			"Content-Type": {"application/cloudevents+json; charset=utf-8"}, "Nats-Msg-Id": {env.ID.String()}, "traceparent": {env.TraceParent},
		},
		Payload: body, Reason: "the doctor  is nobody", Attempts: 1, StoredAt: got.StoredAt, FailedAt: got.FailedAt,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if got.ID.Version() != 7 || got.ID.Variant() != uuid.RFC4122 {
		t.Errorf("id %s is not a UUIDv7", got.ID)
	}
	if got.StoredAt.Before(before) || got.FailedAt.Before(got.StoredAt) || time.Now().Before(got.FailedAt) {
		t.Errorf("stored %s, failed %s", got.StoredAt, got.FailedAt)
	}
	settled(t, conn, bus.Scheduling, "reader")
	if n := calls.Load(); n != 1 {
		t.Errorf("tried %d times", n)
	}
}

// Other programs read DEAD_LETTERS too, so its JSON is fixed.
func TestDeadLetter_HasTheseFieldsInJSON(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 12, 1, 13, 0, 0, 0, time.UTC)
	body, err := json.Marshal(bus.DeadLetter{
		ID: uuid.MustParse("0193b5a1-7c2e-7bb3-9d6a-0123456789ab"), Durable: "notifier-scheduling", Stream: "SCHEDULING", StreamSeq: 7,
		Subject: "s", Headers: nats.Header{"A": {"b"}}, Payload: []byte("hello"), Reason: "r", Attempts: 3, StoredAt: at, FailedAt: at.Add(time.Second),
	})
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"id":"0193b5a1-7c2e-7bb3-9d6a-0123456789ab","durable":"notifier-scheduling","stream":"SCHEDULING","stream_seq":7,` +
		`"subject":"s","headers":{"A":["b"]},"payload":"aGVsbG8=","reason":"r","attempts":3,"stored_at":"2026-12-01T13:00:00Z","failed_at":"2026-12-01T13:00:01Z"}`
	if string(body) != want {
		t.Errorf("got  %s\nwant %s", body, want)
	}
}

func TestDeadLetter_AFailureThatGoesOnIsGivenUpAfterMaxDeliver(t *testing.T) {
	t.Parallel()
	_, conn := started(t)
	var calls atomic.Int32
	var next = make(chan struct{}, 1)
	bad := booked(t, 1)
	subscribe(t, conn, func(_ context.Context, m bus.Message) error {
		if m.ID != bad.ID {
			next <- struct{}{}
			return nil
		}
		calls.Add(1)
		return errors.New("never works")
	}, maxDeliver(3))
	publish(t, conn, bad)
	publish(t, conn, booked(t, 1))
	dl := receive(t, deadLetters(t, conn))
	if dl.Attempts != 3 || dl.Reason != "never works" {
		t.Errorf("%d attempts, %q", dl.Attempts, dl.Reason)
	}
	receive(t, next) // life goes on
	settled(t, conn, bus.Scheduling, "reader")
	if n := calls.Load(); n != 3 {
		t.Errorf("tried %d times, want 3", n)
	}
}

func TestDeadLetter_APanicIsAFailureLikeAnyOther(t *testing.T) {
	t.Parallel()
	_, conn := started(t)
	subscribe(t, conn, func(context.Context, bus.Message) error { panic("index out of range") }, maxDeliver(2))
	publish(t, conn, booked(t, 1))
	if dl := receive(t, deadLetters(t, conn)); dl.Attempts != 2 || dl.Reason != "handler panicked: index out of range" {
		t.Errorf("%d attempts, %q", dl.Attempts, dl.Reason)
	}
}

func TestDeadLetter_WhatCannotBeDecodedNeverReachesTheHandler(t *testing.T) {
	t.Parallel()
	_, conn := started(t)
	handled := make(chan uint64, 10)
	subscribe(t, conn, func(_ context.Context, m bus.Message) error { handled <- m.StreamSeq; return nil })
	good, err := booked(t, 1).Encode()
	if err != nil {
		t.Fatal(err)
	}
	replace := func(part, by string) []byte {
		if !bytes.Contains(good, []byte(part)) {
			t.Fatalf("%s is not in %s", part, good)
		}
		return bytes.Replace(good, []byte(part), []byte(by), 1)
	}
	letters := deadLetters(t, conn)
	for name, m := range map[string]*nats.Msg{
		"empty":             {},
		"not JSON":          {Data: []byte(`{"specversion":`)},
		"JSON of nothing":   {Data: []byte(`null`)},
		"no id":             {Data: replace(`"id":`, `"ident":`)},
		"wrong specversion": {Data: replace(`"specversion":"1.0"`, `"specversion":"0.3"`)},
		"other media type":  {Data: good, Header: nats.Header{"Content-Type": {"text/plain"}}},
		"broken media type": {Data: good, Header: nats.Header{"Content-Type": {";;"}}},
		"1/4 MiB of spaces": {Data: bytes.Repeat([]byte(" "), 250<<10)},
	} {
		m.Subject = "healthmed.scheduling.appointment.booked.v1.x.y"
		seq := publishRaw(t, conn, m)
		dl := receive(t, letters)
		if dl.StreamSeq != seq || dl.Attempts != 1 || !strings.HasPrefix(dl.Reason, "undecodable: ") || !bytes.Equal(dl.Payload, m.Data) {
			t.Errorf("%s: sequence %d of %d, %d attempts, %q", name, dl.StreamSeq, seq, dl.Attempts, dl.Reason)
		}
	}
	last := publish(t, conn, booked(t, 1))
	if got := receive(t, handled); got != last {
		t.Errorf("the handler got %d, which is not an event", got)
	}
}

// The termination may be lost; the message then comes again and is dead-lettered again.
func TestDeadLetter_IsStoredOnceHoweverOftenItIsReported(t *testing.T) {
	t.Parallel()
	_, conn := started(t)
	publish(t, conn, booked(t, 1))
	letters := deadLetters(t, conn)
	stop := subscribe(t, conn, refuse)
	first := receive(t, letters)
	stop()
	if err := conn.JS.DeleteConsumer(t.Context(), bus.Scheduling, "reader"); err != nil {
		t.Fatal(err)
	}
	subscribe(t, conn, refuse)
	settled(t, conn, bus.Scheduling, "reader")
	if got := info(t, conn, bus.DeadLetters).State; got.Msgs != 1 {
		t.Errorf("%d dead letters, the first %s", got.Msgs, first.ID)
	}
}

func TestDeadLetter_WhileItCannotBeStoredTheMessageStays(t *testing.T) {
	t.Parallel()
	_, conn := started(t)
	if err := conn.JS.DeleteStream(t.Context(), bus.DeadLetters); err != nil {
		t.Fatal(err)
	}
	tries := make(chan uint64, 1000)
	subscribe(t, conn, func(ctx context.Context, m bus.Message) error { tries <- m.Delivered; return refuse(ctx, m) })
	publish(t, conn, booked(t, 1))
	for receive(t, tries) < 2 {
	}
	ensure(t, conn, bus.DeadLetters)
	if dl := receive(t, deadLetters(t, conn)); dl.Attempts < 2 {
		t.Errorf("%d attempts", dl.Attempts)
	}
	settled(t, conn, bus.Scheduling, "reader")
}

// A message that kills its process is never refused: it only keeps coming.
func TestDeadLetter_AMessageThatNobodySurvivesIsTakenAside(t *testing.T) {
	t.Parallel()
	_, conn := started(t)
	publish(t, conn, booked(t, 1))
	cons, err := conn.JS.CreateConsumer(t.Context(), bus.Scheduling, jetstream.ConsumerConfig{Durable: "reader", AckPolicy: jetstream.AckExplicitPolicy})
	if err != nil {
		t.Fatal(err)
	}
	for range 4 {
		msg, err := cons.Next()
		if err != nil {
			t.Fatal(err)
		}
		if err := msg.Nak(); err != nil {
			t.Fatal(err)
		}
	}
	subscribe(t, conn, func(context.Context, bus.Message) error { t.Error("handled"); return nil }, maxDeliver(2))
	if dl := receive(t, deadLetters(t, conn)); dl.Reason != "delivered 4 times without an outcome" {
		t.Errorf("%q", dl.Reason)
	}
}

func TestDeadLetter_APayloadTooLargeToCarryTwiceStaysWhereItIs(t *testing.T) {
	t.Parallel()
	_, conn := started(t)
	if _, err := conn.JS.CreateStream(t.Context(), jetstream.StreamConfig{Name: "FOREIGN", Subjects: []string{"foreign"}}); err != nil {
		t.Fatal(err)
	}
	payload := bytes.Repeat([]byte("x"), 1<<20-100)
	seq := publishRaw(t, conn, &nats.Msg{Subject: "foreign", Data: payload})
	var accept atomic.Bool
	got := make(chan bus.RawMessage, 1)
	background(t, func(ctx context.Context) error {
		return conn.SubscribeRaw(ctx, bus.Subscription{Stream: "FOREIGN", Durable: "reader"}, func(_ context.Context, m bus.RawMessage) error {
			if !accept.Load() {
				return bus.Permanent(errors.New("no"))
			}
			got <- m
			return nil
		})
	})
	dl := receive(t, deadLetters(t, conn))
	if !dl.PayloadOmitted || len(dl.Payload) != 0 || dl.StreamSeq != seq {
		t.Errorf("omitted %t, %d bytes, sequence %d", dl.PayloadOmitted, len(dl.Payload), dl.StreamSeq)
	}
	accept.Store(true)
	if err := conn.Redrive(t.Context(), dl); err != nil {
		t.Fatal(err)
	}
	if m := receive(t, got); !bytes.Equal(m.Data, payload) || !m.Redriven {
		t.Errorf("redriven with %d bytes", len(m.Data))
	}
}

func TestSubscribeDeadLetters_TriesForEverAndLetsOthersPass(t *testing.T) {
	t.Parallel()
	_, conn := started(t)
	subscribe(t, conn, refuse)
	var calls atomic.Int32
	good := make(chan uint64, 1)
	background(t, func(ctx context.Context) error {
		return conn.SubscribeDeadLetters(ctx, "collector", func(_ context.Context, dl bus.DeadLetter) error {
			if dl.StreamSeq == 1 && calls.Add(1) < 3 {
				return errors.New("database is down")
			}
			good <- dl.StreamSeq
			return nil
		})
	})
	publish(t, conn, booked(t, 1))
	publish(t, conn, booked(t, 1))
	if got := receive(t, good); got != 2 {
		t.Errorf("%d came first", got)
	}
	if got := receive(t, good); got != 1 {
		t.Errorf("then %d", got)
	}
	settled(t, conn, bus.DeadLetters, "collector")
}

func TestSubscribeDeadLetters_WhatItsReaderRefusesStaysInTheStream(t *testing.T) {
	t.Parallel()
	_, conn := started(t)
	publishRaw(t, conn, &nats.Msg{Subject: "healthmed.deadletters.x", Data: []byte(`{"id":"nonsense"}`)})
	got := make(chan bus.DeadLetter, 10)
	background(t, func(ctx context.Context) error {
		return conn.SubscribeDeadLetters(ctx, "collector", func(_ context.Context, dl bus.DeadLetter) error {
			got <- dl
			return bus.Permanent(errors.New("cannot store"))
		})
	})
	dl := receive(t, got)
	if dl.ID == uuid.Nil || !strings.HasPrefix(dl.Reason, "not a dead letter: ") || string(dl.Payload) != `{"id":"nonsense"}` || dl.Stream != bus.DeadLetters {
		t.Errorf("garbage came as %+v", dl)
	}
	settled(t, conn, bus.DeadLetters, "collector")
	if n := info(t, conn, bus.DeadLetters).State.Msgs; n != 1 {
		t.Errorf("%d messages in the stream, want 1", n)
	}
}

// Two durables read the same event, one fails. Redriving serves that one alone, with the event as it was.
func TestRedrive_HandsTheOriginalToTheOneDurableThatFailed(t *testing.T) {
	t.Parallel()
	_, conn := started(t)
	var mended atomic.Bool
	failing, other := make(chan bus.Message, 10), make(chan bus.Message, 10)
	stop := subscribe(t, conn, func(ctx context.Context, m bus.Message) error {
		if !mended.Load() {
			return refuse(ctx, m)
		}
		failing <- m
		return nil
	})
	background(t, func(ctx context.Context) error {
		return conn.Subscribe(ctx, bus.Subscription{Stream: bus.Scheduling, Durable: "other", Handle: func(_ context.Context, m bus.Message) error {
			other <- m
			return nil
		}})
	})
	env := booked(t, 1)
	seq := publish(t, conn, env)
	dl := receive(t, deadLetters(t, conn))
	original := receive(t, other)

	stop() // the service is being mended; redriving doesn't wait for it
	for _, want := range []error{nil, bus.ErrRedriven, bus.ErrRedriven} {
		if err := conn.Redrive(t.Context(), dl); !errors.Is(err, want) {
			t.Fatalf("error = %v, want %v", err, want)
		}
	}
	mended.Store(true)
	subscribe(t, conn, func(_ context.Context, m bus.Message) error { failing <- m; return nil })

	got := receive(t, failing)
	want := original
	want.Redriven = true
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if got.StreamSeq != seq {
		t.Errorf("sequence %d, want %d", got.StreamSeq, seq)
	}
	settled(t, conn, bus.Redrives, "reader")
	settled(t, conn, bus.Scheduling, "other")
	if len(failing) != 0 || len(other) != 0 {
		t.Errorf("%d more to the durable that failed, %d to the other", len(failing), len(other))
	}
	if n := info(t, conn, bus.Redrives).State.Msgs; n != 0 {
		t.Errorf("%d messages left to redrive", n)
	}
}

func TestRedrive_FailingAgainIsANewDeadLetterOfTheSameEvent(t *testing.T) {
	t.Parallel()
	_, conn := started(t)
	subscribe(t, conn, refuse)
	seq := publish(t, conn, booked(t, 1))
	letters := deadLetters(t, conn)
	first := receive(t, letters)
	if err := conn.Redrive(t.Context(), first); err != nil {
		t.Fatal(err)
	}
	second := receive(t, letters)
	if second.ID == first.ID {
		t.Error("the same id twice")
	}
	want := first
	want.ID, want.FailedAt = second.ID, second.FailedAt
	if diff := cmp.Diff(want, second); diff != "" {
		t.Error(diff)
	}
	if err := conn.Redrive(t.Context(), second); err != nil {
		t.Fatal(err)
	}
	if third := receive(t, letters); third.StreamSeq != seq || third.ID == second.ID {
		t.Errorf("third: %+v", third)
	}
}

// A dead letter must not keep a person's name and address after their erasure.
func TestRedrive_APersonsEventIsReadFromItsStreamAndGoneOnceErased(t *testing.T) {
	t.Parallel()
	_, conn := started(t)
	var mended atomic.Bool
	got := make(chan bus.Message, 2)
	background(t, func(ctx context.Context) error {
		return conn.Subscribe(ctx, bus.Subscription{Stream: bus.Users, Durable: "reader", Handle: func(ctx context.Context, m bus.Message) error {
			if !mended.Load() {
				return refuse(ctx, m)
			}
			got <- m
			return nil
		}})
	})
	letters := deadLetters(t, conn)
	var envs []events.Envelope
	var dls []bus.DeadLetter
	for i := range 2 {
		env, err := events.New(&events.UserRegistered{
			UserID: uuid.Must(uuid.NewV7()), Role: "patient", Status: "active", Name: "Maria Souza", Email: fmt.Sprintf("maria%d@example.com", i),
			Locale: "pt-BR", OccurredAt: time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC),
		}, 1)
		if err != nil {
			t.Fatal(err)
		}
		publish(t, conn, env)
		envs, dls = append(envs, env), append(dls, receive(t, letters))
	}
	stored, err := conn.JS.Stream(t.Context(), bus.DeadLetters)
	if err != nil {
		t.Fatal(err)
	}
	msg, err := stored.GetMsg(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(msg.Data, []byte("Maria")) || !dls[0].PayloadOmitted || dls[0].Payload != nil {
		t.Errorf("the dead letter names the person: %s", msg.Data)
	}

	mended.Store(true)
	users, err := conn.JS.Stream(t.Context(), bus.Users)
	if err != nil {
		t.Fatal(err)
	}
	if err := users.Purge(t.Context(), jetstream.WithPurgeSubject(dls[0].Subject)); err != nil {
		t.Fatal(err)
	}
	for _, dl := range dls {
		if err := conn.Redrive(t.Context(), dl); err != nil {
			t.Fatal(err)
		}
	}
	m := receive(t, got)
	if diff := cmp.Diff(envs[1], m.Envelope); diff != "" {
		t.Errorf("not the second person's event: %s", diff)
	}
	settled(t, conn, bus.Redrives, "reader")
	if len(got) != 0 || len(letters) != 0 {
		t.Errorf("%d more events, %d dead letters", len(got), len(letters))
	}
}

// After the loss of the stream another event has the number.
func TestRedrive_NeverHandsOverAnotherPersonsEvent(t *testing.T) {
	t.Parallel()
	_, conn := started(t)
	env, err := events.New(&events.UserErased{UserID: uuid.Must(uuid.NewV7()), Role: "patient", OccurredAt: time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)}, 2)
	if err != nil {
		t.Fatal(err)
	}
	seq := publish(t, conn, env)
	stored := info(t, conn, bus.Users).State.LastTime
	for _, dl := range []bus.DeadLetter{
		{Subject: "healthmed.users.user.erased.v1.x", StoredAt: stored},
		{Subject: env.Data.Subject(), StoredAt: stored.Add(-time.Hour)},
	} {
		dl.ID, dl.Durable, dl.Stream, dl.StreamSeq, dl.PayloadOmitted = uuid.Must(uuid.NewV7()), "reader", bus.Users, seq, true
		if err := conn.Redrive(t.Context(), dl); err != nil {
			t.Fatal(err)
		}
	}
	background(t, func(ctx context.Context) error {
		return conn.Subscribe(ctx, bus.Subscription{
			Stream: bus.Users, Durable: "reader",
			Handle: func(_ context.Context, m bus.Message) error {
				if m.Redriven {
					t.Errorf("handed over %s", m.Subject)
				}
				return nil
			},
		})
	})
	settled(t, conn, bus.Redrives, "reader")
}

func TestRedrive_ASecretIsKeptNowhere(t *testing.T) {
	t.Parallel()
	_, conn := started(t)
	background(t, func(ctx context.Context) error {
		return conn.SubscribeRaw(ctx, bus.Subscription{Stream: bus.AccountMail, Durable: "mail"}, func(context.Context, bus.RawMessage) error {
			return bus.Permanent(errors.New("no"))
		})
	})
	publishRaw(t, conn, &nats.Msg{Subject: "healthmed.users.mail.verify_email.v1.x", Data: []byte("s3cret")})
	dl := receive(t, deadLetters(t, conn))
	if !dl.PayloadOmitted || dl.Payload != nil {
		t.Errorf("payload %q", dl.Payload)
	}
	if err := conn.Redrive(t.Context(), dl); !errors.Is(err, bus.ErrNotRedrivable) {
		t.Errorf("redrive: %v", err)
	}
	eventually(t, "the queue is empty", func() bool { return info(t, conn, bus.AccountMail).State.Msgs == 0 })
}

func TestRedrive_RefusesWhatIsNotADeadLetter(t *testing.T) {
	t.Parallel()
	_, conn := started(t)
	for _, dl := range []bus.DeadLetter{{}, {Stream: bus.Users, Durable: "a.b"}, {Stream: bus.Users, Durable: ">"}, {Durable: "reader"}} {
		if err := conn.Redrive(t.Context(), dl); err == nil {
			t.Errorf("%+v was taken", dl)
		}
	}
}

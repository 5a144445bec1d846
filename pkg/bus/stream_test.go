package bus_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/healthmed/healthmed/pkg/bus"
	"github.com/healthmed/healthmed/pkg/events"
	"github.com/healthmed/healthmed/pkg/natstest"
)

// declared is what the contract fixes about a stream.
type declared struct {
	Subjects             []string
	Retention            jetstream.RetentionPolicy
	Storage              jetstream.StorageType
	Discard              jetstream.DiscardPolicy
	Replicas             int
	Duplicates, MaxAge   time.Duration
	MaxBytes             int64
	DenyDelete, MayPurge bool
}

func info(t *testing.T, conn *bus.Conn, name string) *jetstream.StreamInfo {
	t.Helper()
	stream, err := conn.JS.Stream(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	return stream.CachedInfo()
}

func TestEnsureStreams_MakesThemAsTheContractSays(t *testing.T) {
	t.Parallel()
	cfg := natstest.New(t)
	cfg.MaxAge, cfg.NotificationsMaxAge, cfg.MaxBytes = 0, 0, 0 // what an operator gets who sets nothing
	conn := connect(t, cfg, nil)
	ensure(t, conn, bus.Users, bus.Scheduling, bus.Notifications, bus.AccountMail, bus.DeadLetters)
	const day, giB = 24 * time.Hour, 1 << 30
	want := map[string]declared{
		"USERS":         {[]string{"healthmed.users.user.>"}, jetstream.LimitsPolicy, jetstream.FileStorage, jetstream.DiscardNew, 1, time.Hour, 365 * day, 10 * giB, true, true},
		"SCHEDULING":    {[]string{"healthmed.scheduling.>"}, jetstream.LimitsPolicy, jetstream.FileStorage, jetstream.DiscardNew, 1, time.Hour, 365 * day, 10 * giB, true, false},
		"NOTIFICATIONS": {[]string{"healthmed.notifier.>"}, jetstream.LimitsPolicy, jetstream.FileStorage, jetstream.DiscardNew, 1, time.Hour, 30 * day, 10 * giB, true, false},
		"ACCOUNT_MAIL":  {[]string{"healthmed.users.mail.>"}, jetstream.WorkQueuePolicy, jetstream.FileStorage, jetstream.DiscardNew, 1, time.Hour, time.Hour, giB, true, false},
		"DEAD_LETTERS":  {[]string{"healthmed.deadletters.*"}, jetstream.LimitsPolicy, jetstream.FileStorage, jetstream.DiscardNew, 1, time.Hour, 30 * day, giB, true, false},
		"REDRIVES":      {[]string{"healthmed.redrives.*"}, jetstream.WorkQueuePolicy, jetstream.FileStorage, jetstream.DiscardNew, 1, time.Hour, 30 * day, giB, true, false},
	}
	got := map[string]declared{}
	for name := range want {
		c := info(t, conn, name).Config
		got[name] = declared{c.Subjects, c.Retention, c.Storage, c.Discard, c.Replicas, c.Duplicates, c.MaxAge, c.MaxBytes, c.DenyDelete, !c.DenyPurge}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestEnsureStreams_LeaveNoWayToRemoveAMessageExceptAPersonsOwn(t *testing.T) {
	t.Parallel()
	_, conn := started(t)
	user, other := uuid.Must(uuid.NewV7()), uuid.Must(uuid.NewV7())
	for stream, subject := range map[string]string{
		bus.Users:         "healthmed.users.user.registered.v1." + user.String(),
		bus.Scheduling:    "healthmed.scheduling.availability.changed.v1." + user.String(),
		bus.Notifications: "healthmed.notifier.delivery.sent.v1." + user.String(),
		bus.AccountMail:   "healthmed.users.mail.verify_email.v1." + user.String(),
		bus.DeadLetters:   "healthmed.deadletters.x",
		bus.Redrives:      "healthmed.redrives.x",
	} {
		seq := publishRaw(t, conn, &nats.Msg{Subject: subject, Data: []byte("x")})
		s, err := conn.JS.Stream(t.Context(), stream)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.DeleteMsg(t.Context(), seq); err == nil {
			t.Errorf("%s: a message was deleted", stream)
		}
		if stream == bus.Users {
			publishRaw(t, conn, &nats.Msg{Subject: "healthmed.users.user.updated.v1." + user.String(), Data: []byte("x")})
			publishRaw(t, conn, &nats.Msg{Subject: "healthmed.users.user.updated.v1." + other.String(), Data: []byte("x")})
			if err := s.Purge(t.Context(), jetstream.WithPurgeSubject("healthmed.users.user.*.v1."+user.String())); err != nil {
				t.Errorf("erasing a person: %v", err)
			}
			if left := info(t, conn, stream).State.Msgs; left != 1 {
				t.Errorf("%d messages are left, want the other person's one", left)
			}
		} else if err := s.Purge(t.Context()); err == nil {
			t.Errorf("%s was purged", stream)
		}
	}
}

func TestEnsureStreams_AgainChangesNothing(t *testing.T) {
	t.Parallel()
	_, conn := started(t)
	publish(t, conn, booked(t, 1))
	updates := make(chan *nats.Msg, 10)
	sub, err := conn.NATS.ChanSubscribe("$JS.EVENT.ADVISORY.STREAM.UPDATED.>", updates)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = sub.Unsubscribe() }()
	ensure(t, conn, bus.Streams()...)
	// An update that does happen is then the first to be heard of.
	other := jetstream.StreamConfig{Name: "OTHER", Subjects: []string{"other"}}
	if _, err := conn.JS.CreateStream(t.Context(), other); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.JS.UpdateStream(t.Context(), other); err != nil {
		t.Fatal(err)
	}
	if m := receive(t, updates); m.Subject != "$JS.EVENT.ADVISORY.STREAM.UPDATED.OTHER" {
		t.Errorf("%s: %s", m.Subject, m.Data)
	}
}

func TestEnsureStreams_AppliesWhatLosesNothingAndKeepsTheOperatorsSettings(t *testing.T) {
	t.Parallel()
	cfg := natstest.New(t)
	conn := connect(t, cfg, nil)
	old, err := cfg.StreamConfig(bus.Scheduling)
	if err != nil {
		t.Fatal(err)
	}
	old.Subjects, old.Discard, old.DenyDelete = []string{"healthmed.scheduling.appointment.>"}, jetstream.DiscardOld, false
	old.Compression, old.Metadata = jetstream.S2Compression, map[string]string{"owner": "operations"}
	old.MaxMsgs, old.MaxBytes, old.Duplicates = 5, cfg.MaxBytes/2, time.Minute
	if _, err := conn.JS.CreateStream(t.Context(), old); err != nil {
		t.Fatal(err)
	}
	publish(t, conn, booked(t, 1))

	cfg.MaxAge *= 2
	ensure(t, connect(t, cfg, nil), bus.Scheduling)

	want, err := cfg.StreamConfig(bus.Scheduling)
	if err != nil {
		t.Fatal(err)
	}
	after := info(t, conn, bus.Scheduling)
	got := after.Config
	if got.Compression != jetstream.S2Compression || got.Metadata["owner"] != "operations" {
		t.Errorf("the operator's settings became %v, %v", got.Compression, got.Metadata)
	}
	want.Compression, want.Metadata = got.Compression, got.Metadata
	want.MaxMsgs, want.MaxMsgsPerSubject, want.MaxConsumers, want.ConsumerLimits = -1, -1, -1, got.ConsumerLimits
	want.AllowDirect = got.AllowDirect
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if after.State.Msgs != 1 {
		t.Errorf("%d messages are stored, want 1", after.State.Msgs)
	}
}

func TestEnsureStreams_RefusesAChangeThatLosesData(t *testing.T) {
	t.Parallel()
	type change struct {
		exists  func(*jetstream.StreamConfig)
		stored  int // messages of 1 MiB/4 at most
		wants   func(*bus.Config)
		message string
	}
	nothing := func(*jetstream.StreamConfig) {}
	for name, c := range map[string]change{
		"fewer bytes than stored": {nothing, 50, func(c *bus.Config) { c.MaxBytes = 10 << 20 }, "bytes are stored, MaxBytes would be 10485760"},
		"shorter age":             {nothing, 1, func(c *bus.Config) { c.MaxAge = 2 * time.Hour }, "with a MaxAge of 24h0m0s, it would be 2h0m0s"},
		"age where there was none": {func(s *jetstream.StreamConfig) { s.MaxAge = 0 }, 1, func(*bus.Config) {},
			"with a MaxAge of unlimited, it would be 24h0m0s"},
		"other retention": {func(s *jetstream.StreamConfig) { s.Retention = jetstream.InterestPolicy }, 0, func(*bus.Config) {}, "retention is Interest"},
		"other storage":   {func(s *jetstream.StreamConfig) { s.Storage = jetstream.MemoryStorage }, 0, func(*bus.Config) {}, "storage is Memory"},
		"a subject less": {func(s *jetstream.StreamConfig) { s.Subjects = append(s.Subjects, "healthmed.billing.>") }, 0, func(*bus.Config) {},
			"subject healthmed.billing.> is stored, and not declared"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := natstest.New(t)
			conn := connect(t, cfg, nil)
			exists, err := cfg.StreamConfig(bus.Scheduling)
			if err != nil {
				t.Fatal(err)
			}
			c.exists(&exists)
			if _, err := conn.JS.CreateStream(t.Context(), exists); err != nil {
				t.Fatal(err)
			}
			for range c.stored {
				publishRaw(t, conn, &nats.Msg{Subject: "healthmed.scheduling.availability.changed.v1.x", Data: make([]byte, 250<<10)})
			}
			before := info(t, conn, bus.Scheduling)
			c.wants(&cfg)
			err = connect(t, cfg, nil).EnsureStreams(t.Context(), bus.Scheduling, bus.Users)
			if !errors.Is(err, bus.ErrWouldLoseData) || !strings.Contains(err.Error(), "stream SCHEDULING") || !strings.Contains(err.Error(), c.message) {
				t.Errorf("got %v, want %q", err, c.message)
			}
			after := info(t, conn, bus.Scheduling)
			if diff := cmp.Diff(before.Config, after.Config); diff != "" {
				t.Errorf("changed all the same: %s", diff)
			}
			if after.State.Msgs != uint64(c.stored) {
				t.Errorf("%d messages are left of %d", after.State.Msgs, c.stored)
			}
			info(t, conn, bus.Users) // the one refusal kept no other stream from being made
		})
	}
}

func TestEnsureStreams_ShorterAgeIsFineWhileNothingIsStored(t *testing.T) {
	t.Parallel()
	cfg := natstest.New(t)
	ensure(t, connect(t, cfg, nil), bus.Scheduling)
	cfg.MaxAge = 2 * time.Hour
	conn := connect(t, cfg, nil)
	ensure(t, conn, bus.Scheduling)
	if got := info(t, conn, bus.Scheduling).Config.MaxAge; got != 2*time.Hour {
		t.Errorf("max age %s", got)
	}
}

func TestEnsureStreams_AFullStreamRefusesNewEventsAndKeepsTheOld(t *testing.T) {
	t.Parallel()
	cfg := natstest.New(t)
	cfg.MaxBytes = 10 << 20
	conn := connect(t, cfg, nil)
	ensure(t, conn, bus.Scheduling)
	first := publish(t, conn, booked(t, 1))
	filler := &nats.Msg{Subject: "healthmed.scheduling.availability.changed.v1.x", Data: make([]byte, 250<<10)}
	var err error
	for n := 0; err == nil; n++ {
		if _, err = conn.JS.PublishMsg(t.Context(), filler); n > 50 {
			t.Fatal("the stream took more than its MaxBytes")
		}
	}
	if !strings.Contains(err.Error(), "maximum bytes exceeded") {
		t.Errorf("refused with %v", err)
	}
	if got := info(t, conn, bus.Scheduling).State.FirstSeq; got != first {
		t.Errorf("the first message is %d, want %d", got, first)
	}
}

func TestEnsureStreams_StoresAnEventOnceHoweverOftenItIsPublished(t *testing.T) {
	t.Parallel()
	_, conn := started(t)
	env := booked(t, 1)
	for range 3 {
		publish(t, conn, env)
	}
	if got := info(t, conn, bus.Scheduling).State.Msgs; got != 1 {
		t.Errorf("stored %d times", got)
	}
}

func TestEnsureStreams_NamesAStreamThatIsNotDeclared(t *testing.T) {
	t.Parallel()
	_, conn := started(t)
	if err := conn.EnsureStreams(t.Context(), "BILLING"); err == nil || !strings.Contains(err.Error(), `"BILLING" is not declared`) {
		t.Errorf("got %v", err)
	}
}

func TestStreamOf_IsTheStreamThatTakesTheSubject(t *testing.T) {
	t.Parallel()
	_, conn := started(t)
	id := uuid.Must(uuid.NewV7())
	for want, subjects := range map[string][]string{
		bus.Users:         {(&events.UserRegistered{UserID: id}).Subject(), (&events.UserErased{UserID: id}).Subject()},
		bus.Scheduling:    {booked(t, 1).Data.Subject(), (&events.AvailabilityChanged{DoctorID: id}).Subject(), (&events.WaitlistOffered{DoctorID: id, EntryID: id}).Subject()},
		bus.Notifications: {(&events.DeliverySent{Delivery: events.Delivery{DeliveryID: id}}).Subject()},
		bus.DeadLetters:   {"healthmed.deadletters.notifier-users"},
		bus.Redrives:      {"healthmed.redrives.notifier-users"},
	} {
		for _, subject := range subjects {
			if got := bus.StreamOf(subject); got != want {
				t.Errorf("%s: %q, want %s", subject, got, want)
			}
			ack, err := conn.JS.Publish(t.Context(), subject, []byte("x"))
			if err != nil || ack.Stream != want {
				t.Errorf("%s was stored in %v (%v), want %s", subject, ack, err, want)
			}
		}
	}
	for _, subject := range []string{"", "healthmed", "healthmed.users.user.", "healthmed.billing.invoice.sent.v1.x", "xhealthmed.scheduling.a"} {
		if got := bus.StreamOf(subject); got != "" {
			t.Errorf("%q: %q, want none", subject, got)
		}
	}
}

func TestMaintainStreams_WaitsForTheServer(t *testing.T) {
	t.Parallel()
	srv := natstest.NewServer(t)
	srv.Stop()
	conn := connect(t, srv.Config(), nil)
	background(t, maintain(conn, bus.Scheduling))
	srv.Start()
	eventually(t, "the stream exists", func() bool {
		_, err := conn.JS.Stream(t.Context(), bus.Scheduling)
		return err == nil
	})
}

func TestMaintainStreams_MakesALostStreamAnew(t *testing.T) {
	t.Parallel()
	conn := connect(t, natstest.New(t), nil)
	conn.SetRecheck(10 * time.Millisecond)
	background(t, maintain(conn, bus.Scheduling))
	exists := func() bool { _, err := conn.JS.Stream(t.Context(), bus.Scheduling); return err == nil }
	eventually(t, "the stream exists", exists)
	if err := conn.JS.DeleteStream(t.Context(), bus.Scheduling); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the stream exists again", exists)
}

func TestConfig_ReportsAllFaultsAtOnce(t *testing.T) {
	t.Parallel()
	err := bus.Config{Replicas: 9, MaxAge: time.Minute, NotificationsMaxAge: time.Second, MaxBytes: 5}.Validate()
	for _, name := range []string{"NATS_REPLICAS", "NATS_MAX_AGE", "NATS_NOTIFICATIONS_MAX_AGE", "NATS_MAX_BYTES"} {
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s is not in: %v", name, err)
		}
	}
	if err := natstest.New(t).Validate(); err != nil {
		t.Errorf("a good one: %v", err)
	}
}

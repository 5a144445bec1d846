package access_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"

	"github.com/healthmed/healthmed/pkg/bus"
)

// Each thing that a partner must not do, against the configuration of deploy/nats.
func TestPartner_IsDeniedAllButTheirOwnConsumer(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.publishExamples(t)
	h.add(t, "bi", "--events", "scheduling.appointment.*")
	p := h.intrude(t, "billing", h.add(t, "billing", "--events", "scheduling.appointment.*"))
	before := h.messages(t)

	for what, subjects := range map[string][]string{
		"publish events": {
			"healthmed.scheduling.appointment.booked.v1.a.b", "healthmed.users.user.registered.v1.a", "healthmed.users.mail.reset_password.v1.a",
			"healthmed.notifier.delivery.sent.v1.a", "healthmed.deadletters.billing", "healthmed.redrives.notifier-scheduling", "healthmed.nudge.users", "anything",
		},
		"use others' consumers": {
			"$JS.API.CONSUMER.INFO.SCHEDULING.bi", "$JS.API.CONSUMER.MSG.NEXT.SCHEDULING.bi", "$JS.ACK.SCHEDULING.bi.1.1.1.1.0",
			"$JS.ACK.SCHEDULING.notifier-scheduling.1.1.1.1.0", "$JS.API.CONSUMER.MSG.NEXT.SCHEDULING.notifier-scheduling",
		},
		"read other streams": {
			"$JS.API.CONSUMER.INFO.USERS.billing", "$JS.API.CONSUMER.MSG.NEXT.USERS.billing", "$JS.API.CONSUMER.MSG.NEXT.ACCOUNT_MAIL.notifier-account-mail",
			"$JS.API.STREAM.MSG.GET.USERS", "$JS.API.DIRECT.GET.USERS", "$JS.API.STREAM.MSG.GET.SCHEDULING", "$JS.API.DIRECT.GET.SCHEDULING",
		},
		"look at streams": {
			"$JS.API.STREAM.INFO.SCHEDULING", "$JS.API.STREAM.INFO.USERS", "$JS.API.STREAM.NAMES", "$JS.API.STREAM.LIST",
			"$JS.API.CONSUMER.NAMES.SCHEDULING", "$JS.API.CONSUMER.LIST.SCHEDULING", "$JS.API.INFO",
		},
		"change streams": {
			"$JS.API.STREAM.PURGE.SCHEDULING", "$JS.API.STREAM.PURGE.USERS", "$JS.API.STREAM.DELETE.SCHEDULING", "$JS.API.STREAM.UPDATE.SCHEDULING",
			"$JS.API.STREAM.CREATE.MINE", "$JS.API.STREAM.MSG.DELETE.SCHEDULING", "$JS.API.STREAM.SNAPSHOT.USERS",
		},
		"change consumers": {
			"$JS.API.CONSUMER.CREATE.SCHEDULING.billing", "$JS.API.CONSUMER.CREATE.SCHEDULING.billing.healthmed.>", "$JS.API.CONSUMER.CREATE.SCHEDULING",
			"$JS.API.CONSUMER.DURABLE.CREATE.SCHEDULING.billing", "$JS.API.CONSUMER.DELETE.SCHEDULING.billing", "$JS.API.CONSUMER.PAUSE.SCHEDULING.billing",
			"$JS.API.CONSUMER.CREATE.USERS.billing",
		},
		"command the server": {"$SYS.REQ.SERVER.PING", "$SYS.REQ.ACCOUNT.HEALTHMED.CONNZ", "$SYS.REQ.SERVER.PING.RELOAD"},
	} {
		t.Log(what)
		p.mayNotPublish(subjects...)
	}
	p.mayNotSubscribe("healthmed.>", ">", "$JS.API.>", "$JS.>", "$SYS.>", "_INBOX.>", "_INBOX_bi.>", "_INBOX_users.>", "$JS.EVENT.>", "_R_.>")
	if diff := cmp.Diff(before, h.messages(t)); diff != "" {
		t.Errorf("the streams changed:\n%s", diff)
	}
	if got := p.fetch(bus.Scheduling, "billing"); len(got) != 7 {
		t.Errorf("and what it may read it can't: %v", got)
	}
}

// Permissions say nothing of the reply subject of a request, and the server itself publishes the reply. Asked within one
// account, it would put it wherever the asker says: into another's inbox, or into a stream as an event.
func TestPartner_CannotHaveTheServerAnswerWhereTheyMayNotPublish(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.publishExamples(t)
	h.add(t, "bi", "--events", "scheduling.appointment.*")
	p := h.intrude(t, "billing", h.add(t, "billing", "--events", "scheduling.appointment.*"))
	before := h.messages(t)
	inbox, err := h.notifier.NATS.SubscribeSync("_INBOX_notifier.>")
	if err != nil {
		t.Fatal(err)
	}
	if err := h.notifier.NATS.Flush(); err != nil {
		t.Fatal(err)
	}
	for _, reply := range []string{
		"_INBOX_notifier.x", "_INBOX_bi.x", "healthmed.scheduling.appointment.booked.v1.a.b", "healthmed.users.user.erased.v1.a",
		"healthmed.redrives.notifier-scheduling", "$JS.API.STREAM.PURGE.USERS", "$JS.API.STREAM.DELETE.SCHEDULING", "$JS.ACK.SCHEDULING.bi.1.1.1.1.0",
	} {
		for request, body := range map[string]string{
			"$JS.API.CONSUMER.INFO.SCHEDULING.billing":      "",
			"$JS.API.CONSUMER.MSG.NEXT.SCHEDULING.billing":  `{"batch":1,"expires":1000000000}`,
			"$JS.ACK.SCHEDULING.billing.1.1.1.1.1":          `+NXT {"batch":1}`,
			"$JS.ACK.A.B.SCHEDULING.billing.1.1.1.1.1":      `+ACK`,
			"$JS.ACK.SCHEDULING.billing.9.999.999.999999.0": `+TERM`,
		} {
			if err := p.conn.PublishRequest(request, reply, []byte(body)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := p.conn.Flush(); err != nil {
		t.Fatal(err)
	}
	if m, err := inbox.NextMsg(2 * time.Second); err == nil {
		t.Errorf("another's inbox got %.200s", m.Data)
	}
	if diff := cmp.Diff(before, h.messages(t)); diff != "" {
		t.Errorf("the server published events for the partner:\n%s", diff)
	}
}

func TestPartner_RevokedIsDisconnectedAndForgotten(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.publishExamples(t)
	other := h.intrude(t, "bi", h.add(t, "bi", "--events", "scheduling.appointment.*"))
	seed := h.add(t, "billing", "--events", "scheduling.appointment.*")
	p := h.intrude(t, "billing", seed)
	if _, err := h.command(t, "partner", "revoke", "billing"); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(patience); p.conn.IsConnected(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("still connected")
		}
	}
	key, err := nats.NkeyOptionFromSeed(seed)
	if err != nil {
		t.Fatal(err)
	}
	if c, err := nats.Connect(h.Access.URL, key); err == nil {
		c.Close()
		t.Error("the revoked key still works")
	}
	if _, err := h.command(t, "partner", "revoke", "billing"); err == nil {
		t.Error("revoked twice")
	}
	if got := other.fetch(bus.Scheduling, "bi"); len(got) != 7 {
		t.Errorf("another partner now reads %d events", len(got))
	}
	h.add(t, "billing", "--events", "scheduling.*.*") // the name is free again
}

// A service may do its own work, and not another's.
func TestServices_AreDeniedOneAnothersWork(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	for service, subjects := range map[string][]string{
		"users": {
			"healthmed.scheduling.appointment.booked.v1.a.b", "healthmed.notifier.delivery.sent.v1.a", "healthmed.redrives.users-scheduling",
			"$JS.API.STREAM.PURGE.SCHEDULING", "$JS.API.STREAM.DELETE.USERS", "$JS.API.STREAM.UPDATE.SCHEDULING", "$JS.API.CONSUMER.MSG.NEXT.SCHEDULING.notifier-scheduling",
		},
		"scheduling": {
			"healthmed.users.user.erased.v1.a", "healthmed.users.mail.reset_password.v1.a", "$JS.API.STREAM.PURGE.USERS", "$JS.API.STREAM.PURGE.SCHEDULING",
			"$JS.API.STREAM.DELETE.SCHEDULING", "$JS.API.CONSUMER.DELETE.USERS.notifier-users", "$JS.API.CONSUMER.CREATE.ACCOUNT_MAIL.scheduling-users",
			"$JS.API.STREAM.MSG.GET.ACCOUNT_MAIL",
		},
		"notifier": {
			"healthmed.scheduling.appointment.cancelled.v1.a.b", "healthmed.users.user.updated.v1.a", "$JS.API.STREAM.PURGE.USERS", "$JS.API.STREAM.DELETE.DEAD_LETTERS",
			"$JS.API.STREAM.UPDATE.USERS", "$SYS.REQ.SERVER.PING",
		},
		"admin": {"healthmed.users.user.updated.v1.a", "$JS.API.STREAM.PURGE.USERS", "$JS.API.CONSUMER.CREATE.ACCOUNT_MAIL.x", "$JS.API.STREAM.MSG.GET.USERS"},
	} {
		i := h.intrude(t, service, h.As(service).NKeyFile)
		i.mayNotPublish(subjects...)
		i.mayNotSubscribe("healthmed.>", "_INBOX_x.>", "$JS.EVENT.>")
	}
}

func TestServer_RefusesWhoHasNoKey(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	if c, err := nats.Connect(h.Access.URL); err == nil {
		c.Close()
		t.Error("connected without a key")
	}
}

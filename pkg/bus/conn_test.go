package bus_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nkeys"

	"github.com/healthmed/healthmed/pkg/bus"
	"github.com/healthmed/healthmed/pkg/natstest"
)

// user makes an nkey: its public part, and a file with its seed.
func user(t *testing.T) (public, seedFile string) {
	t.Helper()
	pair, err := nkeys.CreateUser()
	if err != nil {
		t.Fatal(err)
	}
	seed, err := pair.Seed()
	if err != nil {
		t.Fatal(err)
	}
	if public, err = pair.PublicKey(); err != nil {
		t.Fatal(err)
	}
	seedFile = filepath.Join(t.TempDir(), "user.nk")
	if err := os.WriteFile(seedFile, seed, 0o600); err != nil {
		t.Fatal(err)
	}
	return public, seedFile
}

func configFile(t *testing.T, text string) natstest.Option {
	t.Helper()
	path := filepath.Join(t.TempDir(), "nats.conf")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return natstest.WithConfigFile(path)
}

// twoUsers starts a server with an owner who may do anything, and a reader with the permissions that the package
// comment promises are enough for an existing consumer. The names of their connections are "test".
func twoUsers(t *testing.T) (owner, reader bus.Config) {
	t.Helper()
	ownerKey, ownerSeed := user(t)
	readerKey, readerSeed := user(t)
	srv := natstest.NewServer(t, configFile(t, fmt.Sprintf(`
		accounts { HEALTHMED {
			jetstream: enabled
			users: [
				{ nkey: %s }
				{ nkey: %s, permissions: {
					publish: [ "$JS.API.CONSUMER.INFO.SCHEDULING.reader", "$JS.API.CONSUMER.MSG.NEXT.SCHEDULING.reader",
						"$JS.ACK.SCHEDULING.reader.>", "$JS.ACK.*.*.SCHEDULING.reader.>", "healthmed.deadletters.reader",
						"$JS.API.CONSUMER.INFO.REDRIVES.reader", "$JS.API.CONSUMER.MSG.NEXT.REDRIVES.reader",
						"$JS.ACK.REDRIVES.reader.>", "$JS.ACK.*.*.REDRIVES.reader.>" ]
					subscribe: [ "_INBOX_test.>" ]
				} }
			]
		} }`, ownerKey, readerKey)))
	owner, reader = srv.Config(), srv.Config()
	owner.NKeyFile, reader.NKeyFile = ownerSeed, readerSeed
	return owner, reader
}

func TestSubscribe_AUserWhoMayOnlyReadUsesTheConsumerMadeForThem(t *testing.T) {
	t.Parallel()
	ownerCfg, readerCfg := twoUsers(t)
	owner, conn := connect(t, ownerCfg, nil), connect(t, readerCfg, nil)
	ensure(t, owner, bus.Streams()...)
	for stream, cfg := range map[string]jetstream.ConsumerConfig{
		// What differs from what the subscription would declare stays: the reader may not change it.
		bus.Scheduling: {Durable: "reader", AckPolicy: jetstream.AckExplicitPolicy, AckWait: time.Minute, MaxDeliver: 2},
		bus.Redrives:   {Durable: "reader", AckPolicy: jetstream.AckExplicitPolicy, FilterSubject: "healthmed.redrives.reader"},
	} {
		if _, err := owner.JS.CreateConsumer(t.Context(), stream, cfg); err != nil {
			t.Fatal(err)
		}
	}
	got := make(chan bus.Message, 10)
	subscribe(t, conn, func(ctx context.Context, m bus.Message) error {
		if !m.Redriven && m.StreamSeq == 2 {
			return context.Canceled
		}
		got <- m
		return nil
	})
	good, bad := booked(t, 1), booked(t, 1)
	publish(t, owner, good)
	publish(t, owner, bad)
	if m := receive(t, got); m.ID != good.ID {
		t.Errorf("got %s", m.ID)
	}
	dl := receive(t, deadLetters(t, owner))
	if dl.Attempts != 2 { // the server would have dropped the message after its own limit
		t.Errorf("dead-lettered after %d attempts", dl.Attempts)
	}
	if err := owner.Redrive(t.Context(), dl); err != nil {
		t.Fatal(err)
	}
	if m := receive(t, got); m.ID != bad.ID || !m.Redriven {
		t.Errorf("redriven: %s", m.ID)
	}
	settled(t, owner, bus.Scheduling, "reader")
	cons, err := owner.JS.Consumer(t.Context(), bus.Scheduling, "reader")
	if err != nil {
		t.Fatal(err)
	}
	if c := cons.CachedInfo().Config; c.AckWait != time.Minute || c.MaxDeliver != 2 {
		t.Errorf("the consumer was changed: %+v", c)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if _, err := conn.JS.CreateConsumer(ctx, bus.Scheduling, jetstream.ConsumerConfig{Durable: "thief"}); err == nil {
		t.Error("the reader made a consumer: the test's permissions are not what it thinks")
	}
}

func TestSubscribe_BringsItsOwnConsumerUpToDate(t *testing.T) {
	t.Parallel()
	_, conn := started(t)
	if _, err := conn.JS.CreateConsumer(t.Context(), bus.Scheduling, jetstream.ConsumerConfig{
		Durable: "reader", AckPolicy: jetstream.AckExplicitPolicy, MaxDeliver: 1, BackOff: []time.Duration{time.Hour}, FilterSubject: "healthmed.scheduling.waitlist.>",
	}); err != nil {
		t.Fatal(err)
	}
	ids := reader(t, conn, func(s *bus.Subscription) {
		s.Subjects, s.AckWait = []string{"healthmed.scheduling.waitlist.>", "healthmed.scheduling.appointment.>"}, time.Minute
	})
	env := booked(t, 1)
	eventually(t, "updated", func() bool {
		cons, err := conn.JS.Consumer(t.Context(), bus.Scheduling, "reader")
		return err == nil && cons.CachedInfo().Config.AckWait == time.Minute
	})
	publish(t, conn, env)
	wantNext(t, ids, env.ID)
	cons, err := conn.JS.Consumer(t.Context(), bus.Scheduling, "reader")
	if err != nil {
		t.Fatal(err)
	}
	c := cons.CachedInfo().Config
	if c.MaxDeliver != -1 || len(c.BackOff) != 0 || c.MaxAckPending != 1 || len(c.FilterSubjects) != 2 {
		t.Errorf("%+v", c)
	}
}

func TestConnect_AKeyThatIsNotKnownYetWorksOnceItIs(t *testing.T) {
	t.Parallel()
	known, knownSeed := user(t)
	unknown, unknownSeed := user(t)
	allowed := []*server.NkeyUser{{Nkey: known}}
	srv := natstest.NewServer(t, natstest.WithOptions(func(o *server.Options) { o.Nkeys = allowed }))
	cfg := srv.Config()
	cfg.NKeyFile = knownSeed
	ensure(t, connect(t, cfg, nil), bus.Scheduling)
	cfg.NKeyFile = unknownSeed
	conn := connect(t, cfg, nil)
	tried := srv.Connections()
	eventually(t, "refused several times", func() bool { return srv.Connections() > tried+3 })
	if conn.NATS.IsConnected() {
		t.Fatal("connected with a key that the server doesn't know")
	}
	allowed = append(allowed, &server.NkeyUser{Nkey: unknown})
	srv.Restart()
	eventually(t, "connected", conn.NATS.IsConnected)
}

func TestConnect_ReportsWhatWaitingCannotMend(t *testing.T) {
	t.Parallel()
	good := natstest.New(t)
	missing := filepath.Join(t.TempDir(), "missing")
	garbage := filepath.Join(t.TempDir(), "garbage")
	if err := os.WriteFile(garbage, []byte("not a key"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		change func(*bus.Config)
		name   string
		want   string
	}{
		"no key file":    {func(c *bus.Config) { c.NKeyFile = missing }, "test", "NATS_NKEY_FILE"},
		"bad key file":   {func(c *bus.Config) { c.NKeyFile = garbage }, "test", "NATS_NKEY_FILE"},
		"no CA file":     {func(c *bus.Config) { c.CAFile = missing }, "test", "rootCA"},
		"bad CA file":    {func(c *bus.Config) { c.CAFile = garbage }, "test", "root certificate"},
		"bad address":    {func(c *bus.Config) { c.URL = "nats://127.0.0.1:none" }, "test", "none"},
		"bad limits":     {func(c *bus.Config) { c.Replicas = 9 }, "test", "NATS_REPLICAS"},
		"bad name":       {func(*bus.Config) {}, "a.b", "one subject token"},
		"no name at all": {func(*bus.Config) {}, "", "one subject token"},
	} {
		cfg := good
		c.change(&cfg)
		conn, err := bus.Connect(t.Context(), cfg, c.name, nil, nil)
		if err == nil {
			conn.Close()
		}
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestConnect_TrustsOnlyTheConfiguredAuthority(t *testing.T) {
	t.Parallel()
	certificate, caFile := authority(t)
	srv := natstest.NewServer(t, natstest.WithOptions(func(o *server.Options) {
		o.TLS, o.TLSConfig = true, &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12}
	}))
	cfg := srv.Config()
	cfg.CAFile = caFile
	conn := connect(t, cfg, nil)
	eventually(t, "connected", conn.NATS.IsConnected)
	if _, err := conn.NATS.TLSConnectionState(); err != nil {
		t.Errorf("not over TLS: %v", err)
	}
	_, cfg.CAFile = authority(t)
	stranger := connect(t, cfg, nil)
	eventually(t, "refused", func() bool { return stranger.NATS.LastError() != nil })
	if stranger.NATS.IsConnected() {
		t.Error("connected to a server that another authority vouches for")
	}
}

// authority makes a CA file, and a certificate of 127.0.0.1 that it signed.
func authority(t *testing.T) (tls.Certificate, string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, file
}

func TestConnect_InProcessNeedsNoSocket(t *testing.T) {
	t.Parallel()
	srv, err := server.NewServer(&server.Options{DontListen: true, NoSigs: true, NoLog: true, JetStream: true, StoreDir: t.TempDir(), JetStreamMaxStore: 64 << 30})
	if err != nil {
		t.Fatal(err)
	}
	srv.Start()
	defer srv.WaitForShutdown()
	defer srv.Shutdown()
	conn := connect(t, bus.Config{InProcess: srv}, nil)
	ensure(t, conn, bus.Scheduling)
	ids := reader(t, conn)
	env := booked(t, 1)
	publish(t, conn, env)
	wantNext(t, ids, env.ID)
}

func TestClose_SendsWhatWasPublished(t *testing.T) {
	t.Parallel()
	srv, conn := started(t)
	second := connect(t, srv.Config(), nil)
	got := make(chan *nats.Msg, 1000)
	if _, err := conn.NATS.ChanSubscribe("core", got); err != nil {
		t.Fatal(err)
	}
	if err := conn.NATS.Flush(); err != nil {
		t.Fatal(err)
	}
	for range 1000 {
		if err := second.NATS.Publish("core", make([]byte, 100)); err != nil {
			t.Fatal(err)
		}
	}
	second.Close()
	for range 1000 {
		receive(t, got)
	}
	second.Close() // a second time does no harm
	if !second.NATS.IsClosed() {
		t.Error("not closed")
	}
}

// The server answers a refused publish apart from it, so it would look like a time-out.
func TestRedrive_WithoutPermissionSaysSoAtOnce(t *testing.T) {
	t.Parallel()
	ownerCfg, readerCfg := twoUsers(t)
	ensure(t, connect(t, ownerCfg, nil), bus.Streams()...)
	conn := connect(t, readerCfg, nil)
	began := time.Now()
	err := conn.Redrive(t.Context(), bus.DeadLetter{Stream: bus.Scheduling, Durable: "other"})
	if !errors.Is(err, nats.ErrPermissionViolation) || !strings.Contains(err.Error(), "healthmed.redrives.other") {
		t.Errorf("got %v", err)
	}
	if took := time.Since(began); took > 2*time.Second {
		t.Errorf("it took %s", took)
	}
}

func TestEnsureStreams_WithoutPermissionSaysSoAtOnce(t *testing.T) {
	t.Parallel()
	_, readerCfg := twoUsers(t)
	err := connect(t, readerCfg, nil).EnsureStreams(t.Context(), bus.Users)
	if !errors.Is(err, nats.ErrPermissionViolation) || !strings.Contains(err.Error(), "stream USERS: info") {
		t.Errorf("got %v", err)
	}
}

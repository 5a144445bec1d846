package natstest_test

import (
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/healthmed/healthmed/pkg/natstest"
)

func TestRestart_KeepsAddressAndData(t *testing.T) {
	t.Parallel()
	srv := natstest.NewServer(t)
	address := srv.Config().URL
	conn, err := nats.Connect(address, nats.MaxReconnects(-1), nats.ReconnectWait(10*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	js, err := jetstream.New(conn)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "S", Subjects: []string{"s"}}); err != nil {
		t.Fatal(err)
	}
	if _, err := js.Publish(t.Context(), "s", []byte("x")); err != nil {
		t.Fatal(err)
	}
	reconnected := conn.StatusChanged(nats.CONNECTED)
	srv.Restart()
	select {
	case <-reconnected:
	case <-time.After(10 * time.Second):
		t.Fatal("not reconnected")
	}
	if got := srv.Config().URL; got != address {
		t.Errorf("moved from %s to %s", address, got)
	}
	stream, err := js.Stream(t.Context(), "S")
	if err != nil {
		t.Fatal(err)
	}
	if n := stream.CachedInfo().State.Msgs; n != 1 {
		t.Errorf("%d messages, want 1", n)
	}
}

func TestStop_LeavesNobodyListening(t *testing.T) {
	t.Parallel()
	srv := natstest.NewServer(t)
	srv.Stop()
	srv.Stop() // a second time does no harm
	if conn, err := nats.Connect(srv.Config().URL, nats.Timeout(time.Second)); err == nil {
		conn.Close()
		t.Error("connected to a stopped server")
	}
}

func TestNew_GivesEachTestItsOwnServer(t *testing.T) {
	t.Parallel()
	if a, b := natstest.New(t), natstest.New(t); a.URL == b.URL {
		t.Errorf("both at %s", a.URL)
	}
}

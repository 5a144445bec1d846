package bus_test

import (
	"crypto/tls"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/healthmed/healthmed/pkg/bus"
	"github.com/healthmed/healthmed/pkg/config"
	"github.com/healthmed/healthmed/pkg/natstest"
)

// A platform such as ECS hands secrets out as variables, and the container's files can't be written.
func TestConnect_TakesKeyAndAuthorityAsValues(t *testing.T) {
	t.Parallel()
	certificate, caFile := authority(t)
	public, seedFile := user(t)
	srv := natstest.NewServer(t, configFile(t, fmt.Sprintf(`authorization { users: [ { nkey: %s } ] }`, public)),
		natstest.WithOptions(func(o *server.Options) {
			o.TLS, o.TLSConfig = true, &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12}
		}))
	cfg := srv.Config()
	cfg.CA, cfg.NKey = content(t, caFile), config.Secret(content(t, seedFile)+"\n")
	conn := connect(t, cfg, nil)
	eventually(t, "connected", conn.NATS.IsConnected)
	if _, err := conn.NATS.TLSConnectionState(); err != nil {
		t.Errorf("not over TLS: %v", err)
	}
	_, other := authority(t)
	cfg.CA = content(t, other)
	stranger := connect(t, cfg, nil)
	eventually(t, "refused", func() bool { return stranger.NATS.LastError() != nil })
	if stranger.NATS.IsConnected() {
		t.Error("connected to a server that another authority vouches for")
	}
}

func TestConnect_RefusesValuesThatCannotWork(t *testing.T) {
	t.Parallel()
	for want, cfg := range map[string]bus.Config{
		"NATS_NKEY is not":                     {NKey: "hunter2"},
		"NATS_CA is no":                        {CA: "hunter2"},
		"NATS_NKEY_FILE and NATS_NKEY exclude": {NKeyFile: "nats.nk", NKey: "hunter2"},
		"NATS_CA_FILE and NATS_CA exclude":     {CAFile: "ca.pem", CA: "hunter2"},
	} {
		conn, err := bus.Connect(t.Context(), cfg, "test", nil, nil)
		if err == nil {
			conn.Close()
		}
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v", want, err)
		}
	}
}

func content(t *testing.T, file string) string {
	t.Helper()
	body, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

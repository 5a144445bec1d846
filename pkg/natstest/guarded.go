package natstest

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/healthmed/healthmed/pkg/access"
	"github.com/healthmed/healthmed/pkg/bus"
)

// Guarded is a server with the accounts and permissions of deploy/nats, as in production.
type Guarded struct {
	*Server
	Access access.Config // to add partners with
}

// NewGuarded starts a server with the configuration of deploy/nats and fresh keys. extra is added to the configuration.
func NewGuarded(t testing.TB, extra ...string) *Guarded {
	t.Helper()
	dir := t.TempDir()
	auth, seeds, store := filepath.Join(dir, "auth"), filepath.Join(dir, "seeds"), filepath.Join(dir, "store")
	if _, err := access.MakeKeys(auth, seeds); err != nil {
		t.Fatal(err)
	}
	_, here, _, _ := runtime.Caller(0)
	body, err := os.ReadFile(filepath.Join(filepath.Dir(here), "../../deploy/nats/accounts.conf"))
	if err != nil {
		t.Fatalf("natstest: %v", err)
	}
	conf := fmt.Sprintf("listen: \"127.0.0.1:-1\"\njetstream { store_dir: %q, max_file_store: 64GB }\ninclude ./accounts.conf\n", store)
	conf += strings.Join(extra, "\n")
	for name, text := range map[string]string{"accounts.conf": string(body), "nats.conf": conf} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatalf("natstest: %v", err)
		}
	}
	s := NewServer(t, WithConfigFile(filepath.Join(dir, "nats.conf")))
	g := &Guarded{Server: s, Access: access.Config{URL: s.Config().URL, Auth: auth, Seeds: seeds}}
	return g
}

// As is the configuration of a service: users, scheduling or notifier.
func (g *Guarded) As(service string) bus.Config {
	cfg := g.Config()
	cfg.NKeyFile = filepath.Join(g.Access.Seeds, service, access.SeedFile)
	return cfg
}

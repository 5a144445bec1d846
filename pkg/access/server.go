package access

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	dialTimeout = 5 * time.Second
	apiTimeout  = 5 * time.Second
	// A first server has time to answer, the others of a cluster a little after that.
	firstAnswerIn   = 2 * time.Second
	nextAnswerIn    = 300 * time.Millisecond
	ackWait         = 30 * time.Second
	metadataPartner = "healthmed.partner"
)

// Config tells where the server and its configuration are.
type Config struct {
	URL    string `env:"NATS_URL" envDefault:"nats://127.0.0.1:4222"` // a server; it is also what partners are told to connect to
	CAFile string `env:"NATS_CA_FILE"`                                // PEM of the CA that signed the server's certificate
	// Auth is the folder of keys.conf and partners.conf, which the server's configuration includes.
	Auth string `env:"NATS_AUTH_DIR" envDefault:"deploy/nats/auth"`
	// Seeds is the folder with a folder for each holder of a key.
	Seeds string `env:"NATS_SEEDS_DIR" envDefault:"deploy/nats/seeds"`
}

func (c Config) connect(holder string, key nats.Option) (*nats.Conn, error) {
	opts := []nats.Option{nats.Name(holder), nats.CustomInboxPrefix("_INBOX_" + holder), nats.Timeout(dialTimeout), nats.NoReconnect(), key}
	if c.CAFile != "" {
		opts = append(opts, nats.RootCAs(c.CAFile))
	}
	nc, err := nats.Connect(c.URL, opts...)
	if err != nil {
		return nil, fmt.Errorf("access: connect to %s as %s: %w", c.URL, holder, err)
	}
	return nc, nil
}

// connectAs connects as a holder whose seed is in the seeds' folder.
func (c Config) connectAs(holder string) (*nats.Conn, error) {
	key, err := nats.NkeyOptionFromSeed(filepath.Join(c.Seeds, holder, SeedFile))
	if err != nil {
		return nil, fmt.Errorf("access: %w", err)
	}
	return c.connect(holder, key)
}

// withAdmin does something with the streams' account.
func (c Config) withAdmin(do func(jetstream.JetStream) error) error {
	nc, err := c.connectAs(admin)
	if err != nil {
		return err
	}
	defer nc.Close()
	js, err := jetstream.New(nc, jetstream.WithDefaultTimeout(apiTimeout))
	if err != nil {
		return fmt.Errorf("access: %w", err)
	}
	return do(js)
}

// Reload has every server that answers read its configuration anew, and returns how many did. In a cluster the files must
// be on each server first.
func (c Config) Reload(ctx context.Context) (int, error) {
	nc, err := c.connectAs(operator)
	if err != nil {
		return 0, err
	}
	defer nc.Close()
	ids, err := servers(ctx, nc)
	if err != nil {
		return 0, err
	}
	// Twice: on the first reading nats-server (2.15.2) makes a new account, on the second it connects its imports.
	for range 2 {
		if n, err := reload(ctx, nc, ids); err != nil {
			return n, err
		}
	}
	return len(ids), nil
}

func reload(ctx context.Context, nc *nats.Conn, ids []string) (int, error) {
	for n, id := range ids {
		ctx, cancel := context.WithTimeout(ctx, apiTimeout)
		reply, err := nc.RequestWithContext(ctx, "$SYS.REQ.SERVER."+id+".RELOAD", nil)
		cancel()
		if err != nil {
			return n, fmt.Errorf("access: server %s: reload: %w", id, err)
		}
		var answer struct {
			Error *struct {
				Description string `json:"description"`
			} `json:"error"`
		}
		if err := json.Unmarshal(reply.Data, &answer); err != nil {
			return n, fmt.Errorf("access: server %s: reload: %w", id, err)
		}
		if answer.Error != nil {
			return n, fmt.Errorf("access: server %s refuses its configuration, and keeps the one before: %s", id, answer.Error.Description)
		}
	}
	return len(ids), nil
}

// servers gives the ids of all servers of the cluster.
func servers(ctx context.Context, nc *nats.Conn) ([]string, error) {
	inbox := nc.NewRespInbox()
	sub, err := nc.SubscribeSync(inbox)
	if err != nil {
		return nil, fmt.Errorf("access: %w", err)
	}
	if err := nc.PublishRequest("$SYS.REQ.SERVER.PING", inbox, nil); err != nil {
		return nil, fmt.Errorf("access: %w", err)
	}
	var ids []string
	for wait := firstAnswerIn; ; wait = nextAnswerIn {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		m, err := sub.NextMsg(wait)
		if errors.Is(err, nats.ErrTimeout) && len(ids) > 0 {
			return ids, nil
		}
		if err != nil {
			return nil, fmt.Errorf("access: no server answered: %w", err)
		}
		var about struct {
			Server struct {
				ID string `json:"id"`
			} `json:"server"`
		}
		if err := json.Unmarshal(m.Data, &about); err != nil || about.Server.ID == "" {
			return nil, fmt.Errorf("access: a server answered %.80q", m.Data)
		}
		ids = append(ids, about.Server.ID)
	}
}

// makeConsumers makes the partner's durables.
func makeConsumers(ctx context.Context, js jetstream.JetStream, r Request, filters map[string][]string) (made []string, err error) {
	for stream, subjects := range filters {
		cfg := jetstream.ConsumerConfig{
			Durable: r.Name, Description: "Partner " + r.Name, FilterSubjects: subjects, Metadata: map[string]string{metadataPartner: r.Name},
			AckPolicy: jetstream.AckExplicitPolicy, AckWait: ackWait, MaxDeliver: -1, MaxAckPending: 1000, MaxWaiting: 64,
		}
		if r.From != nil {
			cfg.DeliverPolicy, cfg.OptStartTime = jetstream.DeliverByStartTimePolicy, r.From
		}
		_, err := js.CreateConsumer(ctx, stream, cfg)
		if errors.Is(err, jetstream.ErrConsumerExists) {
			return made, fmt.Errorf("access: stream %s has another consumer %s: choose another name", stream, r.Name)
		}
		if err != nil {
			return made, fmt.Errorf("access: consumer on %s: %w", stream, err)
		}
		made = append(made, stream)
	}
	return made, nil
}

func removeConsumers(ctx context.Context, js jetstream.JetStream, name string, streams []string) error {
	var faults []error
	for _, stream := range streams {
		err := js.DeleteConsumer(ctx, stream, name)
		if err != nil && !errors.Is(err, jetstream.ErrConsumerNotFound) && !errors.Is(err, jetstream.ErrStreamNotFound) {
			faults = append(faults, fmt.Errorf("access: remove consumer from %s: %w", stream, err))
		}
	}
	return errors.Join(faults...)
}

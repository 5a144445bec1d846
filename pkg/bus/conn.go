package bus

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nkeys"
	"github.com/prometheus/client_golang/prometheus"
)

const (
	dialTimeout    = 2 * time.Second
	apiTimeout     = 5 * time.Second
	reconnectWait  = 500 * time.Millisecond
	drainTimeout   = 5 * time.Second
	publishTimeout = 10 * time.Second // of an asynchronous publish
	maxUnacked     = 4096             // asynchronous publishes
)

// Conn is a connection that reconnects for ever.
type Conn struct {
	NATS *nats.Conn
	JS   jetstream.JetStream

	cfg     Config
	log     *slog.Logger
	metrics *metrics
	denied  *denials
	recheck time.Duration // of MaintainStreams
}

// Connect returns at once, connected or not: NATS being down never stops a service from starting.
// name shows in the server's monitoring, and the connection's replies arrive under _INBOX_<name>. The error is one
// that waiting can't mend: a bad address, an unreadable key or CA file.
func Connect(ctx context.Context, cfg Config, name string, log *slog.Logger, metrics prometheus.Registerer) (*Conn, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg = cfg.withDefaults()
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	log = log.With("connection", name)
	denied := &denials{}
	opts, err := cfg.options(name, log, denied)
	if err != nil {
		return nil, fmt.Errorf("bus: %w", err)
	}
	nc, err := nats.Connect(cfg.URL, opts...)
	if err != nil {
		return nil, fmt.Errorf("bus: connect: %w", err)
	}
	js, err := jetstream.New(nc,
		jetstream.WithDefaultTimeout(apiTimeout),
		jetstream.WithPublishAsyncMaxPending(maxUnacked),
		jetstream.WithPublishAsyncTimeout(publishTimeout))
	if err != nil {
		nc.Close()
		return nil, fmt.Errorf("bus: jetstream: %w", err)
	}
	m, err := newMetrics(metrics, name, nc)
	if err != nil {
		nc.Close()
		return nil, fmt.Errorf("bus: metrics: %w", err)
	}
	return &Conn{NATS: nc, JS: js, cfg: cfg, log: log, metrics: m, denied: denied, recheck: maintainEvery}, nil
}

func (c Config) options(name string, log *slog.Logger, denied *denials) ([]nats.Option, error) {
	if name == "" || strings.ContainsAny(name, " .*>\t\r\n") {
		return nil, fmt.Errorf("connection name %q: it must be one subject token", name)
	}
	opts := []nats.Option{
		nats.Name(name),
		nats.Timeout(dialTimeout),
		nats.RetryOnFailedConnect(true),
		nats.MaxReconnects(-1),
		nats.IgnoreAuthErrorAbort(), // a key that is being rotated must not end the connection for good
		nats.ReconnectWait(reconnectWait),
		nats.DrainTimeout(drainTimeout),
		nats.CustomInboxPrefix("_INBOX_" + name), // a shared _INBOX.> would let users read each other's replies
		nats.ErrorHandler(func(_ *nats.Conn, sub *nats.Subscription, err error) {
			attrs := []any{"error", err}
			if sub != nil {
				attrs = append(attrs, "subject", sub.Subject)
			}
			// A refused publish looks like a time-out to its caller; here is where the reason shows.
			log.Error("nats", attrs...)
			if errors.Is(err, nats.ErrPermissionViolation) {
				denied.report(err)
			}
		}),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			if err != nil {
				log.Warn("nats disconnected", "error", err)
			}
		}),
		nats.ReconnectHandler(func(nc *nats.Conn) { log.Info("nats reconnected", "server", nc.ConnectedServerName()) }),
		nats.ConnectHandler(func(nc *nats.Conn) { log.Info("nats connected", "server", nc.ConnectedServerName()) }),
	}
	if c.InProcess != nil {
		opts = append(opts, nats.InProcessServer(c.InProcess))
	}
	credentials, err := c.credentials()
	return append(opts, credentials...), err
}

// credentials say who the service is and which servers it believes.
func (c Config) credentials() ([]nats.Option, error) {
	var opts []nats.Option
	switch {
	case c.NKeyFile != "":
		nkey, err := nats.NkeyOptionFromSeed(c.NKeyFile)
		if err != nil {
			return nil, fmt.Errorf("NATS_NKEY_FILE: %w", err)
		}
		opts = append(opts, nkey)
	case c.NKey != "":
		pair, err := nkeys.ParseDecoratedUserNKey([]byte(c.NKey.Reveal()))
		if err != nil {
			return nil, errors.New("NATS_NKEY is not the seed of a user")
		}
		public, err := pair.PublicKey()
		if err != nil {
			return nil, errors.New("NATS_NKEY is not the seed of a user")
		}
		opts = append(opts, nats.Nkey(public, pair.Sign))
	}
	switch {
	case c.CAFile != "":
		opts = append(opts, nats.RootCAs(c.CAFile))
	case c.CA != "":
		roots := x509.NewCertPool()
		if !roots.AppendCertsFromPEM([]byte(c.CA)) {
			return nil, errors.New("NATS_CA is no PEM of certificates")
		}
		opts = append(opts, nats.ClientTLSConfig(nil, func() (*x509.CertPool, error) { return roots, nil }))
	}
	return opts, nil
}

// Close drains and closes: what was published is on its way before it returns, for at most 5 seconds.
func (c *Conn) Close() {
	closed := c.NATS.StatusChanged(nats.CLOSED)
	if err := c.NATS.Drain(); err != nil {
		if !errors.Is(err, nats.ErrConnectionClosed) {
			c.NATS.Close()
		}
		return
	}
	select {
	case <-closed:
	case <-time.After(drainTimeout + time.Second):
		c.NATS.Close()
	}
}

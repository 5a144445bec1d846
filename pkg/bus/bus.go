package bus

import (
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"go.opentelemetry.io/otel/trace"

	"github.com/healthmed/healthmed/pkg/config"
)

// Names of the streams.
const (
	Users         = "USERS"
	Scheduling    = "SCHEDULING"
	Notifications = "NOTIFICATIONS"
	// AccountMail is a short-lived work queue from users to notifier: messages that carry a secret link
	// (e-mail verification, password reset). No other system can read it.
	AccountMail = "ACCOUNT_MAIL"
	DeadLetters = "DEAD_LETTERS"
	// Redrives is a work queue of dead letters on their way back to the one durable that failed. It comes with
	// DeadLetters: whoever ensures that stream ensures this one.
	Redrives = "REDRIVES"
)

// Config of a connection. Embed it in a service's Config.
type Config struct {
	URL      string `env:"NATS_URL" envDefault:"nats://127.0.0.1:4222"` // servers, by commas
	NKeyFile string `env:"NATS_NKEY_FILE"`                              // seed file of this service's user
	// NKey is the seed itself, where a platform hands secrets out as variables: instead of NKeyFile.
	NKey   config.Secret `env:"NATS_NKEY"`
	CAFile string        `env:"NATS_CA_FILE"` // PEM of the authority that signed the server's certificate
	CA     string        `env:"NATS_CA"`      // the PEM itself, instead of CAFile
	// Replicas are the copies of each stream: 1, or 3 on a cluster of three servers.
	Replicas int           `env:"NATS_REPLICAS" envDefault:"1"`
	MaxAge   time.Duration `env:"NATS_MAX_AGE" envDefault:"8760h"` // how long USERS and SCHEDULING keep an event
	// MaxBytes bounds each of USERS, SCHEDULING and NOTIFICATIONS, and a tenth of it each of the rest. The server
	// reserves it, so the sum must fit the server's max_file_store.
	MaxBytes  int64                      `env:"NATS_MAX_BYTES" envDefault:"10737418240"`
	InProcess nats.InProcessConnProvider `env:"-"` // standalone: no socket

	// NotificationsMaxAge is the MaxAge of NOTIFICATIONS.
	NotificationsMaxAge time.Duration `env:"NATS_NOTIFICATIONS_MAX_AGE" envDefault:"720h"`
	// Tracer makes the span around each handled message; nil leaves the publisher's span as the handler's parent.
	Tracer trace.TracerProvider `env:"-"`
}

// Validate reports every fault at once.
func (c Config) Validate() error {
	var faults []error
	if c.Replicas < 0 || c.Replicas > 5 {
		faults = append(faults, fmt.Errorf("NATS_REPLICAS is %d: 1 to 5 copies are possible", c.Replicas))
	}
	if c.NKeyFile != "" && c.NKey != "" {
		faults = append(faults, errors.New("NATS_NKEY_FILE and NATS_NKEY exclude one another"))
	}
	if c.CAFile != "" && c.CA != "" {
		faults = append(faults, errors.New("NATS_CA_FILE and NATS_CA exclude one another"))
	}
	atLeastWindow := func(name string, age time.Duration) {
		if age != 0 && age < duplicateWindow {
			faults = append(faults, fmt.Errorf("%s is %s: it must be at least the duplicate window, %s", name, age, duplicateWindow))
		}
	}
	atLeastWindow("NATS_MAX_AGE", c.MaxAge)
	atLeastWindow("NATS_NOTIFICATIONS_MAX_AGE", c.NotificationsMaxAge)
	if c.MaxBytes != 0 && c.MaxBytes < minMaxBytes {
		faults = append(faults, fmt.Errorf("NATS_MAX_BYTES is %d: it must be at least %d", c.MaxBytes, minMaxBytes))
	}
	return errors.Join(faults...)
}

// withDefaults fills what a Config that didn't come from the environment left zero.
func (c Config) withDefaults() Config {
	if c.URL == "" {
		c.URL = nats.DefaultURL
	}
	if c.Replicas == 0 {
		c.Replicas = 1
	}
	if c.MaxAge == 0 {
		c.MaxAge = 365 * 24 * time.Hour
	}
	if c.MaxBytes == 0 {
		c.MaxBytes = 10 << 30
	}
	if c.NotificationsMaxAge == 0 {
		c.NotificationsMaxAge = 30 * 24 * time.Hour
	}
	return c
}

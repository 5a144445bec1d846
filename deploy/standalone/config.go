package main

import (
	"errors"
	"fmt"
	"net"
	"net/mail"
	"net/url"

	"github.com/healthmed/healthmed/pkg/config"
)

// Config of the standalone program. Everything has a default that suits a laptop.
type Config struct {
	// HTTPAddr is the public origin.
	HTTPAddr string `env:"HTTP_ADDR" envDefault:"127.0.0.1:8080"`
	// InboxAddr is the local SES endpoint with its inbox page.
	InboxAddr string `env:"INBOX_ADDR" envDefault:"127.0.0.1:8025"`
	// NATSAddr is where other systems subscribe: programs of this machine alone, since nobody has to say who they are.
	NATSAddr string `env:"NATS_ADDR" envDefault:"127.0.0.1:4222"`
	// OpsAddr serves /users/metrics, /scheduling/metrics and /notifier/metrics for Prometheus, and each service's /readyz
	// with its reasons in the same place; empty serves none of it.
	OpsAddr string `env:"OPS_ADDR"`
	// DataDir holds the database, the streams, the e-mails and the generated secrets.
	DataDir string `env:"DATA_DIR" envDefault:".data"`
	// DatabaseURL is a PostgreSQL server on which databases may be created; empty runs a private one.
	DatabaseURL config.Secret `env:"DATABASE_URL"`
	// SESEndpoint is another SES v2 endpoint; empty sends to the inbox page. One behind plain http is a stand-in for
	// SES and needs no AWS credentials; one behind https gets those of the environment, as everywhere with AWS.
	SESEndpoint string `env:"AWS_ENDPOINT_URL_SESV2"`
	// AdminEmail and AdminPassword are the first administrator's.
	AdminEmail    string        `env:"ADMIN_EMAIL" envDefault:"admin@healthmed.example"`
	AdminPassword config.Secret `env:"ADMIN_PASSWORD" envDefault:"Adm1n#demo"`
	// Demo makes the demo accounts at start.
	Demo bool `env:"DEMO" envDefault:"true"`
	// LogFile receives the services' logs; empty is logs/healthmed.log in DataDir, "-" is standard error.
	LogFile string `env:"LOG_FILE"`
}

// Validate implements the check that config.Load calls.
func (c Config) Validate() error {
	var faults []error
	for name, addr := range map[string]string{"HTTP_ADDR": c.HTTPAddr, "INBOX_ADDR": c.InboxAddr, "NATS_ADDR": c.NATSAddr, "OPS_ADDR": c.OpsAddr} {
		if name == "OPS_ADDR" && addr == "" {
			continue
		}
		if _, _, err := net.SplitHostPort(addr); err != nil {
			faults = append(faults, fmt.Errorf("%s: want host:port, such as 127.0.0.1:8080", name))
		}
	}
	if host, _, err := net.SplitHostPort(c.NATSAddr); err == nil && host != "localhost" && !net.ParseIP(host).IsLoopback() {
		faults = append(faults, errors.New("NATS_ADDR: want a loopback address: this server asks nobody who they are (deploy/nats has one that does)"))
	}
	if c.DataDir == "" {
		faults = append(faults, errors.New("DATA_DIR: must not be empty"))
	}
	if _, err := mail.ParseAddress(c.AdminEmail); err != nil {
		faults = append(faults, errors.New("ADMIN_EMAIL: not an e-mail address"))
	}
	if c.DatabaseURL != "" {
		if u, err := url.Parse(c.DatabaseURL.Reveal()); err != nil || u.Scheme != "postgres" && u.Scheme != "postgresql" || u.Host == "" {
			faults = append(faults, errors.New("DATABASE_URL: want postgres://user:password@host:port/"))
		}
	}
	if c.SESEndpoint != "" {
		if u, err := url.Parse(c.SESEndpoint); err != nil || u.Host == "" {
			faults = append(faults, errors.New("AWS_ENDPOINT_URL_SESV2: want a URL, such as http://127.0.0.1:8025"))
		}
	}
	return errors.Join(faults...)
}

// defaultAdminPassword is ADMIN_PASSWORD's default. The users service refuses it outside this program.
const defaultAdminPassword config.Secret = "Adm1n#demo"

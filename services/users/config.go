package users

import (
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/healthmed/healthmed/pkg/auth"
	"github.com/healthmed/healthmed/pkg/bus"
	"github.com/healthmed/healthmed/pkg/clock"
	"github.com/healthmed/healthmed/pkg/config"
	"github.com/healthmed/healthmed/pkg/postgres"
	"github.com/healthmed/healthmed/pkg/telemetry"
	"github.com/healthmed/healthmed/services/users/internal/account"
	"github.com/healthmed/healthmed/services/users/internal/keyring"
)

// Config of the service. Each key is 32 random bytes in standard base64 (`openssl rand -base64 32`); a ring of keys is
// written "id:base64,id:base64", the current one first.
type Config struct {
	Postgres postgres.Config
	Bus      bus.Config
	Auth     auth.Config // the issuer and client id are also what local identity writes into its tokens
	Logs     telemetry.Config
	Clock    clock.Config

	HTTPAddr string `env:"HTTP_ADDR" envDefault:":8080"` // the API
	OpsAddr  string `env:"OPS_ADDR" envDefault:":9090"`  // /livez, /startupz, /readyz, /metrics
	// TrustedProxies may say the caller's address in X-Forwarded-For: addresses or CIDRs.
	TrustedProxies []string `env:"TRUSTED_PROXIES"`

	KeysCPF     config.Secret `env:"KEYS_CPF,required"`      // ring: CPFs at rest
	KeyCPFIndex config.Secret `env:"KEY_CPF_INDEX,required"` // one key: finds CPFs; changing it loses them
	KeysToken   config.Secret `env:"KEYS_TOKEN"`             // ring: token signing keys at rest; local identity alone needs it

	Identity string `env:"IDENTITY" envDefault:"local"` // who keeps passwords and issues tokens: local, or cognito
	// For IDENTITY=cognito. AUTH_ISSUER, AUTH_CLIENT_ID and AUTH_JWKS_URL, by which every service verifies tokens, must be the same pool's and client's.
	CognitoUserPoolID   string        `env:"COGNITO_USER_POOL_ID"`
	CognitoClientID     string        `env:"COGNITO_CLIENT_ID"`                          // of the app client
	CognitoClientSecret config.Secret `env:"COGNITO_CLIENT_SECRET"`                      // if the app client has one, as it should
	CognitoEndpoint     string        `env:"AWS_ENDPOINT_URL_COGNITO_IDENTITY_PROVIDER"` // instead of the region's
	AWSRegion           string        `env:"AWS_REGION"`                                 // of the user pool; default: as the AWS SDK finds it
	AWSAccessKeyID      string        `env:"AWS_ACCESS_KEY_ID"`                          // default: as the AWS SDK finds it
	AWSSecretAccessKey  config.Secret `env:"AWS_SECRET_ACCESS_KEY"`                      // of AWS_ACCESS_KEY_ID
	AWSSessionToken     config.Secret `env:"AWS_SESSION_TOKEN"`                          // of temporary credentials

	AccessTokenTTL  time.Duration `env:"ACCESS_TOKEN_TTL" envDefault:"15m"`   // of an access token
	RefreshTokenTTL time.Duration `env:"REFRESH_TOKEN_TTL" envDefault:"720h"` // of a sign-in, however often refreshed
	SigningKeyAge   time.Duration `env:"SIGNING_KEY_AGE" envDefault:"2160h"`  // age at which a signing key gets a successor
	PasswordWorkers int           `env:"PASSWORD_WORKERS"`                    // hashes at once; default: processors less one, at least one
	DoctorApproval  string        `env:"DOCTOR_APPROVAL" envDefault:"auto"`   // auto, or manual: doctors wait for an administrator
	AdminEmail      string        `env:"ADMIN_EMAIL"`                         // the first administrator, made at start if missing
	AdminPassword   config.Secret `env:"ADMIN_PASSWORD"`                      // the first administrator's; it is not changed once the account exists

	// Failed attempts that may follow one another at once, AttemptsPerAccount and AttemptsPerAddress. An account is then
	// granted one more a minute, an address one more every 5 seconds. What succeeds costs nothing.
	AttemptsPerAccount int `env:"ATTEMPTS_PER_ACCOUNT" envDefault:"10"`
	AttemptsPerAddress int `env:"ATTEMPTS_PER_ADDRESS" envDefault:"100"`

	// What follows is for programs that run the service inside themselves.
	HTTPListener net.Listener         `env:"-"` // instead of HTTPAddr
	OpsListener  net.Listener         `env:"-"` // instead of OpsAddr
	Telemetry    *telemetry.Telemetry `env:"-"` // instead of Logs
	Now          func() time.Time     `env:"-"`
	Standalone   bool                 `env:"-"` // a laptop: the published demo password is allowed
}

// demoPassword is published in the README, so it is refused wherever real people's data may be.
const demoPassword = "Adm1n#demo"

// Validate reports all faults together.
func (c Config) Validate() error {
	faults := []error{c.Clock.Validate(), config.RefuseKnown(c.Clock.Environment, map[string]config.Secret{
		"DATABASE_URL": c.Postgres.URL, "KEYS_CPF": c.KeysCPF, "KEYS_TOKEN": c.KeysToken, "KEY_CPF_INDEX": c.KeyCPFIndex,
	})}
	if _, err := c.parseKeys(); err != nil {
		faults = append(faults, err)
	}
	switch c.Identity {
	case "local":
	case "cognito":
		faults = append(faults, c.checkCognito())
	default:
		faults = append(faults, errors.New("IDENTITY: want local or cognito"))
	}
	if c.DoctorApproval != "auto" && c.DoctorApproval != "manual" {
		faults = append(faults, errors.New("DOCTOR_APPROVAL: want auto or manual"))
	}
	if (c.AdminEmail == "") != (c.AdminPassword == "") {
		faults = append(faults, errors.New("ADMIN_EMAIL and ADMIN_PASSWORD go together"))
	}
	if c.AdminEmail != "" {
		if _, err := account.ParseEmail(c.AdminEmail); err != nil {
			faults = append(faults, errors.New("ADMIN_EMAIL: not an e-mail address"))
		}
		if err := account.CheckPassword(c.AdminPassword.Reveal()); err != nil {
			faults = append(faults, errors.New("ADMIN_PASSWORD: want 8 or more characters with lower and upper case, digit and symbol"))
		}
		if c.AdminPassword == demoPassword && !c.Standalone && c.Clock.Environment != config.Development {
			faults = append(faults, errors.New("ADMIN_PASSWORD: the demo password is public; choose another"))
		}
	}
	if c.AttemptsPerAccount < 1 || c.AttemptsPerAddress < 1 {
		faults = append(faults, errors.New("ATTEMPTS_PER_ACCOUNT, ATTEMPTS_PER_ADDRESS: want 1 or more"))
	}
	for name, ttl := range map[string]time.Duration{
		"ACCESS_TOKEN_TTL": c.AccessTokenTTL, "REFRESH_TOKEN_TTL": c.RefreshTokenTTL, "SIGNING_KEY_AGE": c.SigningKeyAge,
	} {
		if ttl <= 0 {
			faults = append(faults, fmt.Errorf("%s: want more than nothing", name))
		}
	}
	return errors.Join(faults...)
}

type keys struct {
	cpf, signing *keyring.Ring
	index        keyring.Index
}

func (c Config) parseKeys() (keys, error) {
	var k keys
	var faults [3]error
	if k.cpf, faults[0] = keyring.Parse(c.KeysCPF.Reveal()); faults[0] != nil {
		faults[0] = fmt.Errorf("KEYS_CPF: %w", faults[0])
	}
	if c.Identity == "local" {
		if k.signing, faults[1] = keyring.Parse(c.KeysToken.Reveal()); faults[1] != nil {
			faults[1] = fmt.Errorf("KEYS_TOKEN: %w", faults[1])
		}
	}
	if k.index, faults[2] = keyring.ParseIndex(c.KeyCPFIndex.Reveal()); faults[2] != nil {
		faults[2] = fmt.Errorf("KEY_CPF_INDEX: %w", faults[2])
	}
	return k, errors.Join(faults[:]...)
}

func (c Config) now() func() time.Time {
	return c.Clock.Or(c.Now)
}

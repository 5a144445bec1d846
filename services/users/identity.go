package users

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws/retry"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	awsconfig "github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	idp "github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider"

	"github.com/healthmed/healthmed/services/users/internal/identity"
	"github.com/healthmed/healthmed/services/users/internal/identity/cognito"
	"github.com/healthmed/healthmed/services/users/internal/identity/local"
	"github.com/healthmed/healthmed/services/users/internal/password"
	"github.com/healthmed/healthmed/services/users/internal/postgres"
)

// checkCognito reports all faults of the settings for IDENTITY=cognito.
func (c Config) checkCognito() error {
	var faults []error
	if c.CognitoUserPoolID == "" {
		faults = append(faults, errors.New("COGNITO_USER_POOL_ID: needed with IDENTITY=cognito"))
	}
	if c.CognitoClientID == "" {
		faults = append(faults, errors.New("COGNITO_CLIENT_ID: needed with IDENTITY=cognito"))
	}
	if c.CognitoClientID != c.Auth.ClientID {
		faults = append(faults, errors.New("COGNITO_CLIENT_ID and AUTH_CLIENT_ID differ: no token would be accepted"))
	}
	if !strings.HasSuffix(c.Auth.Issuer, "/"+c.CognitoUserPoolID) {
		faults = append(faults, errors.New("AUTH_ISSUER is not the pool's: want https://cognito-idp.<region>.amazonaws.com/<pool id>"))
	}
	return errors.Join(faults...)
}

// cognito makes the SDK's client. Region, credentials and endpoint default to the SDK's own chain.
func (c Config) cognito(ctx context.Context) (*idp.Client, error) {
	var given []func(*awsconfig.LoadOptions) error
	if c.AWSRegion != "" {
		given = append(given, awsconfig.WithRegion(c.AWSRegion))
	}
	if c.AWSAccessKeyID != "" {
		given = append(given, awsconfig.WithCredentialsProvider(credentials.NewStaticCredentialsProvider(
			c.AWSAccessKeyID, c.AWSSecretAccessKey.Reveal(), c.AWSSessionToken.Reveal())))
	}
	cfg, err := awsconfig.LoadDefaultConfig(ctx, given...)
	if err != nil {
		return nil, fmt.Errorf("AWS configuration: %w", err)
	}
	if cfg.Region == "" {
		return nil, errors.New("AWS_REGION: needed with IDENTITY=cognito")
	}
	return idp.NewFromConfig(cfg, func(o *idp.Options) {
		o.HTTPClient = awshttp.NewBuildableClient().WithTimeout(5 * time.Second)
		// Somebody is waiting for the answer.
		o.Retryer = retry.NewStandard(func(r *retry.StandardOptions) { r.MaxBackoff = 300 * time.Millisecond })
		if c.CognitoEndpoint != "" {
			o.BaseEndpoint = &c.CognitoEndpoint
		}
	}), nil
}

// identities is who keeps passwords and issues tokens, as far as it is to be run.
type identities struct {
	provider  identity.Provider
	keys      *local.Keys                 // local alone
	reconcile func(context.Context) error // cognito alone
}

// identify makes the identity provider that is configured.
func (c Config) identify(ctx context.Context, store *postgres.Store, k keys, log *slog.Logger) (identities, error) {
	manual, now := c.DoctorApproval == "manual", c.now()
	if c.Identity == "cognito" {
		client, err := c.cognito(ctx)
		if err != nil {
			return identities{}, err
		}
		provider := cognito.New(cognito.Config{
			Client: client, Store: store, Log: log, Now: now, PoolID: c.CognitoUserPoolID, ClientID: c.CognitoClientID,
			ClientSecret: c.CognitoClientSecret.Reveal(), ManualApproval: manual,
		})
		return identities{provider: provider, reconcile: provider.Reconcile}, nil
	}
	signing := local.NewKeys(local.KeysConfig{
		Store: store, Ring: k.signing, Now: now, Log: log, RotateEvery: c.SigningKeyAge, AccessTTL: c.AccessTokenTTL,
	})
	return identities{keys: signing, provider: local.New(local.Config{
		Store: store, Keys: signing, Hasher: password.New(password.Config{Workers: c.PasswordWorkers}), Log: log, Now: now,
		Issuer: c.Auth.Issuer, ClientID: c.Auth.ClientID, AccessTTL: c.AccessTokenTTL, RefreshTTL: c.RefreshTokenTTL,
		ManualApproval: manual,
	})}, nil
}

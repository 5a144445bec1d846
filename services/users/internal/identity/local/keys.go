package local

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/uuid"

	"github.com/healthmed/healthmed/services/users/internal/account"
	"github.com/healthmed/healthmed/services/users/internal/keyring"
	"github.com/healthmed/healthmed/services/users/internal/postgres"
)

const (
	// publishLead is how long a new key is published before it signs, so that every replica and verifier knows it in time.
	publishLead = 5 * time.Minute
	// reloadEvery is how old a replica's view of the keys may be; far under publishLead.
	reloadEvery = 30 * time.Second
	// retireAfter is how much longer than an access token's life a key stays published once its successor signs.
	retireAfter = time.Hour
)

// KeysConfig of a Keys.
type KeysConfig struct {
	Store       *postgres.Store
	Ring        *keyring.Ring // seals private keys
	Now         func() time.Time
	Log         *slog.Logger
	RotateEvery time.Duration // age at which a signing key gets a successor
	AccessTTL   time.Duration
}

// Keys are the keys that sign access tokens. Replicas share them through the database.
type Keys struct {
	KeysConfig
	mu     sync.Mutex
	loaded time.Time
	keys   []signingKey // oldest first
}

type signingKey struct {
	kid       string
	public    ed25519.PublicKey
	private   ed25519.PrivateKey
	signsFrom time.Time
}

// NewKeys makes a Keys; nothing is loaded before it is needed.
func NewKeys(cfg KeysConfig) *Keys { return &Keys{KeysConfig: cfg} }

// JWK is a public key as RFC 7517 and RFC 8037 write it.
type JWK struct {
	KeyType   string `json:"kty"`
	Curve     string `json:"crv"`
	X         string `json:"x"`
	KeyID     string `json:"kid"`
	Use       string `json:"use"`
	Algorithm string `json:"alg"`
}

// Public are the keys that verifiers should accept now, or soon.
func (k *Keys) Public(ctx context.Context) ([]JWK, error) {
	keys, err := k.current(ctx)
	if err != nil {
		return nil, err
	}
	jwks := make([]JWK, 0, len(keys))
	for _, key := range keys {
		jwks = append(jwks, JWK{
			KeyType: "OKP", Curve: "Ed25519", X: base64.RawURLEncoding.EncodeToString(key.public),
			KeyID: key.kid, Use: "sig", Algorithm: jwt.SigningMethodEdDSA.Alg(),
		})
	}
	return jwks, nil
}

// signer is the youngest key that may sign.
func (k *Keys) signer(ctx context.Context) (signingKey, error) {
	keys, err := k.current(ctx)
	if err != nil {
		return signingKey{}, err
	}
	now := k.Now()
	for i := len(keys) - 1; i >= 0; i-- {
		if !keys[i].signsFrom.After(now) {
			return keys[i], nil
		}
	}
	return signingKey{}, errors.New("local: no signing key")
}

// current returns the keys, loaded anew when the view is old. A database that is away for a moment doesn't stop
// signing: an old view serves until it is back.
func (k *Keys) current(ctx context.Context) ([]signingKey, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	now := k.Now()
	if len(k.keys) > 0 && now.Sub(k.loaded) < reloadEvery {
		return k.keys, nil
	}
	keys, err := k.load(ctx, false)
	switch {
	case err == nil:
		k.keys, k.loaded = keys, now
	case len(k.keys) == 0:
		return nil, err
	default:
		k.Log.WarnContext(ctx, "signing keys not reloaded", "error", err)
	}
	return k.keys, nil
}

// Rotate brings the keys up to date: makes the first one, a successor for one that has signed long enough (or at once, with
// force), and removes those that no valid token needs. Replicas may call it together.
func (k *Keys) Rotate(ctx context.Context, force bool) error {
	keys, err := k.load(ctx, force)
	if err != nil {
		return err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.keys, k.loaded = keys, k.Now()
	return nil
}

// load reads the keys and rotates them where that is due, in one transaction.
func (k *Keys) load(ctx context.Context, force bool) ([]signingKey, error) {
	rows, err := k.Store.SigningKeys(ctx, func(rows []postgres.SigningKey) (add *postgres.SigningKey, retired []string, err error) {
		now := k.Now().UTC()
		if len(rows) == 0 {
			add, err = k.generate(now, now)
			return add, nil, err
		}
		youngest := rows[len(rows)-1]
		if youngest.SignsFrom.Before(now.Add(-k.RotateEvery)) || (force && !youngest.SignsFrom.After(now)) {
			if add, err = k.generate(now, now.Add(publishLead)); err != nil {
				return nil, nil, err
			}
		}
		for i := range len(rows) - 1 {
			if rows[i+1].SignsFrom.Before(now.Add(-k.AccessTTL - retireAfter)) {
				retired = append(retired, rows[i].KID)
			}
		}
		return add, retired, nil
	})
	if err != nil {
		return nil, err
	}
	keys := make([]signingKey, 0, len(rows))
	for _, row := range rows {
		seed, err := k.Ring.Open(row.Private, signingContext(row.KID))
		if err != nil {
			return nil, fmt.Errorf("signing key %s: %w", row.KID, err)
		}
		keys = append(keys, signingKey{
			kid: row.KID, public: row.Public, private: ed25519.NewKeyFromSeed(seed), signsFrom: row.SignsFrom,
		})
	}
	return keys, nil
}

// Reseal encrypts the private halves anew, under the ring's current key, and says how many lay under another one.
func (k *Keys) Reseal(ctx context.Context) (int, error) {
	return k.Store.ResealSigningKeys(ctx, func(row postgres.SigningKey) (keyring.Sealed, error) {
		if row.Private.KeyID == k.Ring.Current() {
			return row.Private, nil
		}
		seed, err := k.Ring.Open(row.Private, signingContext(row.KID))
		if err != nil {
			return keyring.Sealed{}, fmt.Errorf("signing key %s: %w", row.KID, err)
		}
		return k.Ring.Seal(seed, signingContext(row.KID)), nil
	})
}

func (k *Keys) generate(now, signsFrom time.Time) (*postgres.SigningKey, error) {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	id, err := uuid.NewV7()
	if err != nil {
		return nil, err
	}
	kid := id.String()
	return &postgres.SigningKey{
		KID: kid, Public: public, Private: k.Ring.Seal(private.Seed(), signingContext(kid)), CreatedAt: now, SignsFrom: signsFrom,
	}, nil
}

func signingContext(kid string) string { return "signing-key:" + kid }

// accessToken signs an access token of the shape that Amazon Cognito gives its own, so that one verifier reads both.
func (p *Provider) accessToken(ctx context.Context, u account.User) (string, error) {
	key, err := p.Keys.signer(ctx)
	if err != nil {
		return "", err
	}
	jti, err := uuid.NewV7()
	if err != nil {
		return "", err
	}
	now := p.Now()
	token := jwt.NewWithClaims(jwt.SigningMethodEdDSA, jwt.MapClaims{
		"iss": p.Issuer, "client_id": p.ClientID, "token_use": "access", "sub": u.ID.String(), "username": u.ID.String(),
		"cognito:groups": []string{string(u.Role) + "s"}, "jti": jti.String(),
		"iat": now.Unix(), "exp": now.Add(p.AccessTTL).Unix(),
	})
	token.Header["kid"] = key.kid
	return token.SignedString(key.private)
}

package bench

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"
	"golang.org/x/sync/errgroup"

	"github.com/healthmed/healthmed/tests/load/fill"
)

// Tokens are access tokens of the people who were filled in. They are signed here with the users service's own signing
// key, read from its database and opened with the key that this program gave it, so that each of 200,000 people can
// have a token of their own without 200,000 sign-ins. The services verify them as any other.
type Tokens struct {
	kid string
	key ed25519.PrivateKey

	mu   sync.RWMutex
	made map[uuid.UUID]string
}

func newTokens(ctx context.Context, users *pgxpool.Pool, tokenKey string) (*Tokens, error) {
	t := &Tokens{made: map[uuid.UUID]string{}}
	var sealed []byte
	err := users.QueryRow(ctx, `SELECT kid, private_sealed FROM signing_keys WHERE signs_from <= now() ORDER BY signs_from DESC LIMIT 1`).
		Scan(&t.kid, &sealed)
	if err != nil {
		return nil, err
	}
	key, err := base64.StdEncoding.DecodeString(tokenKey)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return nil, err
	}
	if len(sealed) < aead.NonceSize() {
		return nil, errors.New("the signing key is too short")
	}
	seed, err := aead.Open(nil, sealed[:aead.NonceSize()], sealed[aead.NonceSize():], []byte("signing-key:"+t.kid))
	if err != nil || len(seed) != ed25519.SeedSize {
		return nil, errors.New("the signing key does not open")
	}
	t.key = ed25519.NewKeyFromSeed(seed)
	return t, nil
}

// Make signs the tokens of many, so that signing is not measured with what they do.
func (t *Tokens) Make(people []fill.Person) {
	var group errgroup.Group
	for part := range slices.Chunk(people, len(people)/runtime.GOMAXPROCS(0)+1) {
		group.Go(func() error {
			for _, p := range part {
				t.Of(p)
			}
			return nil
		})
	}
	_ = group.Wait() // nothing in it fails
}

// Of is a person's token, the same at every call.
func (t *Tokens) Of(p fill.Person) string {
	t.mu.RLock()
	token, ok := t.made[p.ID]
	t.mu.RUnlock()
	if ok {
		return token
	}
	now := time.Now()
	claims := jwt.NewWithClaims(jwt.SigningMethodEdDSA, jwt.MapClaims{
		"iss": "http://healthmed.test", "client_id": "healthmed", "token_use": "access", "sub": p.ID.String(), "username": p.ID.String(),
		"cognito:groups": []string{p.Role + "s"}, "jti": uuid.NewString(), "iat": now.Unix(), "exp": now.Add(tokenTTL).Unix(),
	})
	claims.Header["kid"] = t.kid
	token, err := claims.SignedString(t.key)
	if err != nil {
		return "" // an Ed25519 key signs whatever it is given; without a token every call would show as an error
	}
	t.mu.Lock()
	t.made[p.ID] = token
	t.mu.Unlock()
	return token
}

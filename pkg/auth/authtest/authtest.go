// Package authtest is an issuer for tests: it publishes a JWKS over HTTP and signs access tokens, so that tests go
// through the same verification as production.
package authtest

import (
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/MicahParks/jwkset"
	"github.com/golang-jwt/jwt/v5"
	"github.com/google/uuid"

	"github.com/healthmed/healthmed/pkg/auth"
)

// ClientID that tokens of an Issuer carry.
const ClientID = "healthmed-test"

// Issuer signs tokens with one key at a time, which Rotate changes.
type Issuer struct {
	// Now is the issuer's clock; time.Now by default.
	Now func() time.Time

	t      testing.TB
	server *httptest.Server

	mu      sync.Mutex
	current Key
	keys    []Key
	down    bool
	fetches int
}

// Key of an issuer.
type Key struct {
	ID      string
	Private crypto.Signer
	Method  jwt.SigningMethod
}

// New starts an issuer with one Ed25519 key; it stops with the test.
func New(t testing.TB) *Issuer {
	t.Helper()
	i := &Issuer{Now: time.Now, t: t}
	i.Rotate()
	i.server = httptest.NewServer(http.HandlerFunc(i.serveJWKS))
	t.Cleanup(i.server.Close)
	return i
}

// Config of verifiers that trust the issuer.
func (i *Issuer) Config() auth.Config {
	return auth.Config{Issuer: i.server.URL, ClientID: ClientID, JWKSURL: i.server.URL + "/.well-known/jwks.json"}
}

// Verifier that trusts the issuer, with its clock.
func (i *Issuer) Verifier() *auth.Verifier {
	i.t.Helper()
	v, err := auth.NewVerifier(i.Config(), auth.Options{Now: func() time.Time { return i.Now() }})
	if err != nil {
		i.t.Fatalf("authtest: %v", err)
	}
	return v
}

// Token signs an access token for the caller. What is zero is made up: an id, role patient, 15 minutes of life.
func (i *Issuer) Token(p auth.Principal) string {
	i.t.Helper()
	return i.Sign(i.Claims(p))
}

// Bearer is Token as the value of an Authorization header.
func (i *Issuer) Bearer(p auth.Principal) string {
	i.t.Helper()
	return "Bearer " + i.Token(p)
}

// Claims of a good token for the caller, for tests that spoil one of them and Sign.
func (i *Issuer) Claims(p auth.Principal) jwt.MapClaims {
	i.t.Helper()
	if p.ID == uuid.Nil {
		p.ID = i.newID()
	}
	if p.Role == "" {
		p.Role = auth.Patient
	}
	if p.TokenID == "" {
		p.TokenID = i.newID().String()
	}
	if p.ExpiresAt.IsZero() {
		p.ExpiresAt = i.Now().Add(15 * time.Minute)
	}
	return jwt.MapClaims{
		"iss": i.server.URL, "sub": p.ID.String(), "token_use": "access", "client_id": ClientID,
		"cognito:groups": []string{p.Role.Group()}, "jti": p.TokenID,
		"iat": i.Now().Unix(), "exp": p.ExpiresAt.Unix(),
	}
}

// Sign makes a token of the claims with the current key.
func (i *Issuer) Sign(claims jwt.Claims) string {
	i.t.Helper()
	return i.SignWith(i.Key(), claims)
}

// SignWith makes a token of the claims with any key.
func (i *Issuer) SignWith(key Key, claims jwt.Claims) string {
	i.t.Helper()
	token := jwt.NewWithClaims(key.Method, claims)
	token.Header["kid"] = key.ID
	text, err := token.SignedString(key.Private)
	if err != nil {
		i.t.Fatalf("authtest: sign: %v", err)
	}
	return text
}

// Key that signs now.
func (i *Issuer) Key() Key {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.current
}

// Rotate makes a new Ed25519 key and signs with it. Older keys are still published.
func (i *Issuer) Rotate() Key {
	i.t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		i.t.Fatalf("authtest: key: %v", err)
	}
	key := Key{ID: i.newID().String(), Private: private, Method: jwt.SigningMethodEdDSA}
	i.Use(key)
	return key
}

// Use publishes the key and signs with it.
func (i *Issuer) Use(key Key) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.current, i.keys = key, append(i.keys, key)
}

// Withdraw stops publishing every key but the current one.
func (i *Issuer) Withdraw() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.keys = []Key{i.current}
}

// SetDown makes the JWKS address answer 503, or work again.
func (i *Issuer) SetDown(down bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.down = down
}

// Fetches counts how often the JWKS was asked for.
func (i *Issuer) Fetches() int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.fetches
}

func (i *Issuer) serveJWKS(w http.ResponseWriter, _ *http.Request) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.fetches++
	if i.down {
		http.Error(w, "down", http.StatusServiceUnavailable)
		return
	}
	var set jwkset.JWKSMarshal
	for _, key := range i.keys {
		jwk, err := jwkset.NewJWKFromKey(key.Private.Public(), jwkset.JWKOptions{
			Metadata: jwkset.JWKMetadataOptions{KID: key.ID, ALG: jwkset.ALG(key.Method.Alg()), USE: jwkset.UseSig},
		})
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		set.Keys = append(set.Keys, jwk.Marshal())
	}
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(set); err != nil {
		i.t.Errorf("authtest: write JWKS: %v", err)
	}
}

func (i *Issuer) newID() uuid.UUID {
	id, err := uuid.NewV7()
	if err != nil {
		i.t.Fatalf("authtest: id: %v", err)
	}
	return id
}

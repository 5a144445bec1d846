// Package cognitotest is an Amazon Cognito user pool for tests: it speaks the service's wire protocol (JSON 1.1 over
// HTTP) to the real SDK client, signs real tokens and publishes their key, and fails on demand.
//
// The pool is as package cognito wants it: e-mail addresses as user names, sub as the inner name, refresh tokens that
// rotate, unknown users not told from wrong passwords.
package cognitotest

import (
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
)

// Identifiers of the pool.
const (
	PoolID       = "sa-east-1_Test00000"
	ClientID     = "testclient0000000000000000"
	ClientSecret = "not a secret outside tests"
	kid          = "cognito-1"
)

// Pool is a running user pool.
type Pool struct {
	URL string
	// AccessTTL is the life of an access token, an hour by default.
	AccessTTL time.Duration

	t   testing.TB
	key *rsa.PrivateKey

	mu     sync.Mutex
	users  map[string]*User // by sub
	tokens map[string]*refresh
	faults map[string]Fault
	calls  map[string]int
	policy func(password string) bool
}

// User is an account of the pool.
type User struct {
	Sub       string
	Email     string
	Verified  bool
	Confirmed bool
	Groups    []string

	password string
	code     string // of confirmation or reset
	pending  bool   // the code is for a reset
}

type refresh struct {
	sub, family string
	used        bool
}

// Fault is how calls fail.
type Fault int

// Faults.
const (
	None     Fault = iota
	Before         // answers 500, having done nothing
	After          // does it, and drops the connection instead of answering
	Throttle       // answers TooManyRequestsException
)

// New starts a pool without accounts; it stops with the test.
func New(t testing.TB) *Pool {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	p := &Pool{
		t: t, key: key, AccessTTL: time.Hour, users: map[string]*User{}, tokens: map[string]*refresh{}, faults: map[string]Fault{},
		calls: map[string]int{}, policy: func(string) bool { return true },
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /{$}", p.serve)
	mux.HandleFunc("GET /"+PoolID+"/.well-known/jwks.json", p.jwks)
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	p.URL = server.URL
	return p
}

// Issuer is iss of the pool's tokens.
func (p *Pool) Issuer() string { return p.URL + "/" + PoolID }

// Fail makes an operation fail until it is made to work with None.
func (p *Pool) Fail(operation string, f Fault) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.faults[operation] = f
}

// Policy is what passwords the pool takes, beside the API's own policy.
func (p *Pool) Policy(ok func(password string) bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.policy = ok
}

// Calls counts how often an operation was asked for.
func (p *Pool) Calls(operation string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.calls[operation]
}

// User is the account with an e-mail address; nil if there is none.
func (p *Pool) User(email string) *User {
	p.mu.Lock()
	defer p.mu.Unlock()
	u := p.find(email)
	if u == nil {
		return nil
	}
	c := *u
	return &c
}

// Code is the last code that was sent to an address.
func (p *Pool) Code(email string) string {
	p.t.Helper()
	u := p.User(email)
	if u == nil || u.code == "" {
		p.t.Fatal("cognitotest: no code was sent")
	}
	return u.code
}

// Edit changes an account as an operator does in the console.
func (p *Pool) Edit(email string, change func(*User)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if u := p.find(email); u != nil {
		change(u)
	}
}

// Lose deletes an account behind everybody's back.
func (p *Pool) Lose(email string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if u := p.find(email); u != nil {
		delete(p.users, u.Sub)
	}
}

// find an account by sub or e-mail.
func (p *Pool) find(name string) *User {
	if u := p.users[name]; u != nil {
		return u
	}
	for _, u := range p.users {
		if u.Email == name {
			return u
		}
	}
	return nil
}

// problem is an error of the service.
type problem struct{ code, message string }

func (e *problem) Error() string { return e.code }

func fail(code string) error { return &problem{code: code, message: "as the test wants it"} }

func (p *Pool) serve(w http.ResponseWriter, r *http.Request) {
	operation, ok := strings.CutPrefix(r.Header.Get("X-Amz-Target"), "AWSCognitoIdentityProviderService.")
	handle := p.operations()[operation]
	if !ok || handle == nil {
		p.t.Errorf("cognitotest: unknown operation %q", r.Header.Get("X-Amz-Target"))
		answer(w, http.StatusBadRequest, map[string]string{"__type": "UnknownOperationException"})
		return
	}
	if strings.HasPrefix(operation, "Admin") && !strings.HasPrefix(r.Header.Get("Authorization"), "AWS4-HMAC-SHA256 ") {
		answer(w, http.StatusBadRequest, map[string]string{"__type": "MissingAuthenticationTokenException"})
		return
	}
	var in request
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
		answer(w, http.StatusBadRequest, map[string]string{"__type": "SerializationException"})
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.calls[operation]++
	switch p.faults[operation] {
	case Before:
		answer(w, http.StatusInternalServerError, map[string]string{"__type": "InternalErrorException"})
		return
	case Throttle:
		answer(w, http.StatusBadRequest, map[string]string{"__type": "TooManyRequestsException"})
		return
	}
	out, err := handle(in)
	if p.faults[operation] == After {
		panic(http.ErrAbortHandler)
	}
	if err != nil {
		e := err.(*problem) //nolint:errorlint // handlers return nothing else
		answer(w, http.StatusBadRequest, map[string]string{"__type": e.code, "message": e.message})
		return
	}
	answer(w, http.StatusOK, out)
}

func answer(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/x-amz-json-1.1")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body)
}

func (p *Pool) jwks(w http.ResponseWriter, _ *http.Request) {
	b64 := base64.RawURLEncoding
	answer(w, http.StatusOK, map[string]any{"keys": []map[string]string{{
		"kty": "RSA", "use": "sig", "alg": "RS256", "kid": kid,
		"n": b64.EncodeToString(p.key.N.Bytes()), "e": b64.EncodeToString(big.NewInt(int64(p.key.E)).Bytes()),
	}}})
}

// digits makes a code.
func digits() string {
	n, err := rand.Int(rand.Reader, big.NewInt(1_000_000))
	if err != nil {
		panic(err) // never fails (crypto/rand)
	}
	return fmt.Sprintf("%06d", n)
}

func newSub() string { return uuid.NewString() }

package auth

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/MicahParks/jwkset"
	"golang.org/x/sync/singleflight"
)

const (
	algRS256 = "RS256"
	algEdDSA = "EdDSA"

	// refetchEvery is how often an unknown kid may make us ask the issuer, however many there are.
	refetchEvery = 10 * time.Second
	// retryEvery is the same as long as no key was ever had, when nobody can be let in.
	retryEvery = time.Second
	// refreshAfter is the age at which keys are fetched again, so that a withdrawn key stops working.
	refreshAfter = 5 * time.Minute
	fetchTimeout = 3 * time.Second
	maxJWKS      = 1 << 20 // bytes
	minRSABits   = 2048
)

// key is a public key of the issuer. Its address is its identity: a key that is fetched again unchanged keeps it.
type key struct {
	kid, alg string
	public   interface { // ed25519.PublicKey or *rsa.PublicKey
		Equal(x crypto.PublicKey) bool
	}
}

// keySet holds the issuer's keys. They are had on first use; keys once had are kept while the issuer is down.
type keySet struct {
	url    string
	now    func() time.Time
	client *http.Client
	flight singleflight.Group

	mu        sync.RWMutex
	keys      map[string]*key // by kid
	fetched   time.Time       // of the last success
	attempted time.Time       // of the last attempt
	failure   error           // of the last attempt
}

func newKeySet(url string, now func() time.Time) *keySet {
	return &keySet{url: url, now: now, client: &http.Client{Timeout: fetchTimeout}}
}

// holds tells whether the key is still one of the issuer's, as far as we know.
func (s *keySet) holds(k *key) bool {
	return s.have(k.kid) == k
}

// find returns the key, asking the issuer if it is unknown and the issuer was not asked just now.
func (s *keySet) find(ctx context.Context, kid string) (*key, error) {
	if kid == "" {
		return nil, errors.New("no kid")
	}
	if k := s.have(kid); k != nil {
		return k, nil
	}
	wait := refetchEvery
	if s.empty() {
		wait = retryEvery
	}
	if s.due(wait) {
		select {
		case <-s.refetch(wait):
		case <-ctx.Done():
			return nil, fmt.Errorf("%w: %w", ErrUnavailable, ctx.Err())
		}
	}
	if k := s.have(kid); k != nil {
		return k, nil
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	if len(s.keys) == 0 {
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, s.failure)
	}
	return nil, errors.New("unknown kid")
}

// have returns the key at hand, nil if there is none. Old keys are fetched again meanwhile; nobody waits for that.
func (s *keySet) have(kid string) *key {
	s.mu.RLock()
	k, old := s.keys[kid], s.now().Sub(s.fetched) > refreshAfter
	s.mu.RUnlock()
	if k != nil && old && s.due(refetchEvery) {
		s.refetch(refetchEvery)
	}
	return k
}

func (s *keySet) empty() bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return len(s.keys) == 0
}

// due tells whether the last attempt ended long enough ago. While one is under way it is still due: callers join it.
func (s *keySet) due(wait time.Duration) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.attempted.IsZero() || s.now().Sub(s.attempted) >= wait
}

// refetch asks the issuer in the background, once for all callers, unless somebody else just has.
func (s *keySet) refetch(wait time.Duration) <-chan singleflight.Result {
	return s.flight.DoChan("", func() (any, error) {
		if !s.due(wait) {
			return nil, nil
		}
		ctx, cancel := context.WithTimeout(context.Background(), fetchTimeout)
		defer cancel()
		keys, err := s.fetch(ctx)
		s.mu.Lock()
		defer s.mu.Unlock()
		s.attempted, s.failure = s.now(), err
		if err != nil {
			return nil, err
		}
		for kid, fresh := range keys {
			if old := s.keys[kid]; old != nil && old.alg == fresh.alg && old.public.Equal(fresh.public) {
				keys[kid] = old
			}
		}
		s.keys, s.fetched = keys, s.attempted
		return nil, nil
	})
}

// fetch reads the JWKS (RFC 7517). Keys of other kinds are passed over; a set without any usable key is an error, so
// that an issuer's bad day doesn't take away what we have.
func (s *keySet) fetch(ctx context.Context) (map[string]*key, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url, nil)
	if err != nil {
		return nil, fmt.Errorf("auth: JWKS: %w", err)
	}
	res, err := s.client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("auth: JWKS: %w", err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("auth: JWKS: status %d", res.StatusCode)
	}
	var set jwkset.JWKSMarshal
	if err := json.NewDecoder(io.LimitReader(res.Body, maxJWKS)).Decode(&set); err != nil {
		return nil, fmt.Errorf("auth: JWKS: %w", err)
	}
	keys := make(map[string]*key)
	for _, marshalled := range set.Keys {
		if k := usable(marshalled); k != nil {
			keys[k.kid] = k
		}
	}
	if len(keys) == 0 {
		return nil, errors.New("auth: JWKS: no usable key")
	}
	return keys, nil
}

// usable reads one public signature key; nil for what we don't use: no kid, encryption keys, other algorithms, small RSA
// keys, symmetric keys.
func usable(marshalled jwkset.JWKMarshal) *key {
	if marshalled.KID == "" || marshalled.USE != "" && marshalled.USE != jwkset.UseSig {
		return nil
	}
	jwk, err := jwkset.NewJWKFromMarshal(marshalled, jwkset.JWKMarshalOptions{}, jwkset.JWKValidateOptions{})
	if err != nil {
		return nil
	}
	k := &key{kid: marshalled.KID}
	switch public := jwk.Key().(type) {
	case ed25519.PublicKey:
		k.alg, k.public = algEdDSA, public
	case *rsa.PublicKey:
		if public.N.BitLen() < minRSABits {
			return nil
		}
		k.alg, k.public = algRS256, public
	default:
		return nil
	}
	if alg := marshalled.ALG.String(); alg != "" && alg != k.alg {
		return nil
	}
	return k
}

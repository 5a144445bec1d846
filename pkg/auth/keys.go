package auth

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/MicahParks/jwkset"
	"golang.org/x/sync/singleflight"

	"github.com/healthmed/healthmed/pkg/auth/keystore"
)

const (
	algRS256 = "RS256"
	algEdDSA = "EdDSA"

	// refetchEvery is how often an unknown kid may make us ask the issuer, however many there are.
	refetchEvery = 10 * time.Second
	// retryEvery is the same as long as no key is at hand, when nobody can be let in.
	retryEvery = time.Second
	// refreshAfter is the age at which keys are fetched again, so that a withdrawn key stops working.
	refreshAfter = 5 * time.Minute
	fetchTimeout = 3 * time.Second
	// storeTimeout bounds each use of the store.
	storeTimeout = time.Second
	// keptFor is the age to which stored keys are taken when the issuer can't be asked. No access token lives longer:
	// Cognito's limit is a day.
	keptFor    = 24 * time.Hour
	maxJWKS    = 1 << 20 // bytes
	minRSABits = 2048
)

// key is a public key of the issuer. Its address is its identity: a key that is fetched again unchanged keeps it.
type key struct {
	kid, alg string
	public   interface { // ed25519.PublicKey or *rsa.PublicKey
		Equal(x crypto.PublicKey) bool
	}
}

// errNoKey: the issuer publishes a key set, but no key that we use.
var errNoKey = errors.New("auth: JWKS: no usable key")

// keySet holds the issuer's keys. They are had on first use, or soon after the start; while the issuer is away, those
// are used that were had last, by this replica or by another that kept them in the store.
type keySet struct {
	url    string
	now    func() time.Time
	client *http.Client
	store  *keystore.Store // may be nil
	log    *slog.Logger
	flight singleflight.Group
	fresh  chan struct{} // holds a token when there are keys to be saved

	mu        sync.RWMutex
	keys      map[string]*key // by kid; never changed, only replaced
	fetched   time.Time       // when the issuer was asked for them
	attempted time.Time       // of the last attempt
	failure   error           // of the last attempt
	saved     time.Time       // what fetched was when the keys were last saved
}

func newKeySet(url string, o Options) *keySet {
	return &keySet{
		url: url, now: o.Now, client: &http.Client{Timeout: fetchTimeout}, store: o.Keys, log: o.Log, fresh: make(chan struct{}, 1),
	}
}

// run fetches keys though nobody uses them, and saves what is fetched. It leaves a start its time: those who start with
// it may include the issuer.
func (s *keySet) run(ctx context.Context) {
	tick := time.NewTicker(refetchEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if s.old() {
				s.refetch(refetchEvery)
			}
		case <-s.fresh:
		}
		s.save(ctx)
	}
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
	// It may be a key that the issuer has had since.
	if s.failure != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, s.failure)
	}
	return nil, errors.New("unknown kid")
}

// have returns the key at hand, nil if there is none. Old keys are fetched again meanwhile; nobody waits for that.
func (s *keySet) have(kid string) *key {
	s.mu.RLock()
	k := s.keys[kid]
	s.mu.RUnlock()
	if k != nil && s.old() && s.due(refetchEvery) {
		s.refetch(refetchEvery)
	}
	return k
}

// old tells whether the keys are to be fetched again. What seems to come from the future was dated by another clock.
func (s *keySet) old() bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	age := s.now().Sub(s.fetched)
	return age < 0 || age > refreshAfter
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
	since := s.now().Sub(s.attempted)
	return since < 0 || since >= wait
}

// refetch asks the issuer in the background, once for all callers, unless somebody else just has.
func (s *keySet) refetch(wait time.Duration) <-chan singleflight.Result {
	return s.flight.DoChan("", func() (any, error) {
		if !s.due(wait) {
			return nil, nil
		}
		asked := s.now()
		keys, err := s.fetch()
		// A set without a usable key is an answer. What was kept may be what it has withdrawn.
		if err != nil && !errors.Is(err, errNoKey) {
			var lost error
			keys, asked, lost = s.load()
			err = errors.Join(err, lost)
		}
		switch taken := s.take(keys, asked, err); {
		case taken && err != nil:
			s.log.Warn("the issuer of tokens can't be asked for its keys: verifying by those kept", "error", err, "fetched", asked)
		case taken:
			select {
			case s.fresh <- struct{}{}:
			default:
			}
		}
		return nil, nil
	})
}

// take notes an attempt, and has the keys take the place of those at hand; after a failure only if they are newer.
func (s *keySet) take(keys map[string]*key, fetched time.Time, failure error) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.attempted, s.failure = s.now(), failure
	// Saving and loading date keys later by as long as they take.
	if len(keys) == 0 || failure != nil && fetched.Sub(s.fetched) <= 2*storeTimeout {
		return false
	}
	for kid, fresh := range keys {
		if old := s.keys[kid]; old != nil && old.alg == fresh.alg && old.public.Equal(fresh.public) {
			keys[kid] = old
		}
	}
	s.keys, s.fetched = keys, fetched
	if failure != nil {
		s.saved = fetched
	}
	return true
}

// fetch reads the issuer's JWKS. A set without any usable key is an error, so that an issuer's bad day doesn't take away
// what we have.
func (s *keySet) fetch() (map[string]*key, error) {
	ctx, cancel := context.WithTimeout(context.Background(), fetchTimeout)
	defer cancel()
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
	return parse(io.LimitReader(res.Body, maxJWKS))
}

// save keeps the keys at hand for the next start, unless they are kept. What fails is done again a while later.
func (s *keySet) save(ctx context.Context) {
	s.mu.RLock()
	keys, fetched, done := s.keys, s.fetched, s.fetched.Equal(s.saved)
	s.mu.RUnlock()
	if s.store == nil || done {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	jwks, err := marshal(keys)
	if err == nil {
		err = s.store.Save(ctx, s.url, jwks, s.now().Sub(fetched))
	}
	if err != nil {
		s.log.WarnContext(ctx, "the issuer's keys are not kept for the next start", "error", err)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.saved = fetched
}

// load reads the keys that this replica or another had last, and when. None if that is too long ago.
func (s *keySet) load() (keys map[string]*key, fetched time.Time, err error) {
	if s.store == nil {
		return nil, time.Time{}, nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), storeTimeout)
	defer cancel()
	jwks, age, err := s.store.Load(ctx, s.url)
	if err != nil || jwks == nil {
		return nil, time.Time{}, err
	}
	if age > keptFor {
		return nil, time.Time{}, fmt.Errorf("auth: the keys kept are %v old", age.Round(time.Minute))
	}
	keys, err = parse(bytes.NewReader(jwks))
	return keys, s.now().Add(-age), err
}

// marshal is the JWKS of the keys, without anything else that their issuer may have published.
func marshal(keys map[string]*key) ([]byte, error) {
	var set jwkset.JWKSMarshal
	for _, k := range keys {
		jwk, err := jwkset.NewJWKFromKey(k.public, jwkset.JWKOptions{
			Metadata: jwkset.JWKMetadataOptions{KID: k.kid, ALG: jwkset.ALG(k.alg), USE: jwkset.UseSig},
		})
		if err != nil {
			return nil, fmt.Errorf("auth: JWKS: %w", err)
		}
		set.Keys = append(set.Keys, jwk.Marshal())
	}
	return json.Marshal(set)
}

// parse reads a JWKS (RFC 7517). Keys of other kinds are passed over; none that is usable is an error.
func parse(r io.Reader) (map[string]*key, error) {
	var set jwkset.JWKSMarshal
	if err := json.NewDecoder(r).Decode(&set); err != nil {
		return nil, fmt.Errorf("auth: JWKS: %w", err)
	}
	keys := make(map[string]*key)
	for _, marshalled := range set.Keys {
		if k := usable(marshalled); k != nil {
			keys[k.kid] = k
		}
	}
	if len(keys) == 0 {
		return nil, errNoKey
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

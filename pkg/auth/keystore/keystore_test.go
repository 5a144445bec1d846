package keystore_test

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/healthmed/healthmed/pkg/auth"
	"github.com/healthmed/healthmed/pkg/auth/authtest"
	"github.com/healthmed/healthmed/pkg/auth/keystore"
	"github.com/healthmed/healthmed/pkg/pgtest"
	"github.com/healthmed/healthmed/pkg/postgres"
)

// world is an issuer and a database, whose replicas have a clock that may be ahead.
type world struct {
	t      *testing.T
	issuer *authtest.Issuer
	pool   *pgxpool.Pool
	store  *keystore.Store
	cfg    auth.Config
	ahead  atomic.Int64 // nanoseconds
}

func newWorld(t *testing.T) *world {
	pool, err := postgres.Open(t.Context(), pgtest.New(t, keystore.Migrations()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	w := &world{t: t, issuer: authtest.New(t), pool: pool, store: keystore.New(pool)}
	w.cfg = w.issuer.Config()
	return w
}

func (w *world) now() time.Time { return time.Now().Add(time.Duration(w.ahead.Load())) }

// replica is a verifier that has just started, and runs until the test ends.
func (w *world) replica() *auth.Verifier {
	w.t.Helper()
	v, err := auth.NewVerifier(w.cfg, auth.Options{Keys: w.store, Now: w.now})
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- v.Run(ctx) }()
	w.t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			w.t.Errorf("Run: %v", err)
		}
	})
	return v
}

func (w *world) verify(v *auth.Verifier, token string) error {
	_, err := v.Verify(w.t.Context(), token)
	return err
}

// token by the issuer's present key, good for a week.
func (w *world) token() string {
	return w.issuer.Token(auth.Principal{ExpiresAt: time.Now().AddDate(0, 0, 7)})
}

// kids of the keys that are kept.
func (w *world) kids() (kids []string) {
	w.t.Helper()
	jwks, _, err := w.store.Load(w.t.Context(), w.cfg.JWKSURL)
	if err != nil {
		w.t.Fatal(err)
	}
	var set struct{ Keys []struct{ KID string } }
	if jwks != nil {
		if err := json.Unmarshal(jwks, &set); err != nil {
			w.t.Fatal(err)
		}
	}
	for _, k := range set.Keys {
		kids = append(kids, k.KID)
	}
	slices.Sort(kids)
	return kids
}

// keep has a replica fetch the issuer's keys, and waits until they are kept.
func (w *world) keep(kids ...string) *auth.Verifier {
	w.t.Helper()
	v := w.replica()
	if err := w.verify(v, w.token()); err != nil {
		w.t.Fatal(err)
	}
	w.kept(kids...)
	return v
}

func (w *world) kept(kids ...string) {
	w.t.Helper()
	slices.Sort(kids)
	w.eventually("the keys are kept", func() bool { return slices.Equal(w.kids(), kids) })
}

func (w *world) eventually(what string, ok func() bool) {
	w.t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			w.t.Fatalf("never: %s", what)
		}
	}
}

// aged makes what is kept older.
func (w *world) aged(by time.Duration) {
	w.t.Helper()
	if _, err := w.pool.Exec(w.t.Context(), `UPDATE issuer_keys SET fetched_at = fetched_at - $1::interval`, by); err != nil {
		w.t.Fatal(err)
	}
}

// publishes has the verifiers ask an address that answers so, instead of the issuer's.
func (w *world) publishes(answer func() (status int, body string)) {
	page := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		status, body := answer()
		rw.WriteHeader(status)
		if _, err := rw.Write([]byte(body)); err != nil {
			w.t.Errorf("answer: %v", err)
		}
	}))
	w.t.Cleanup(page.Close)
	w.cfg.JWKSURL = page.URL
}

func TestVerify_StartedWhileTheIssuerIsAway(t *testing.T) {
	w := newWorld(t)
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	rs256 := authtest.Key{ID: uuid.NewString(), Private: private, Method: jwt.SigningMethodRS256}
	w.issuer.SetDown(true)
	if err := w.verify(w.replica(), w.token()); !errors.Is(err, auth.ErrUnavailable) {
		t.Fatalf("no key was ever had: %v, want ErrUnavailable", err)
	}
	w.issuer.SetDown(false)
	eddsa := w.issuer.Key()
	w.issuer.Use(rs256)
	w.keep(eddsa.ID, rs256.ID)

	w.issuer.SetDown(true)
	started := w.replica()
	for _, key := range []authtest.Key{eddsa, rs256} {
		if err := w.verify(started, w.issuer.SignWith(key, w.issuer.Claims(auth.Principal{}))); err != nil {
			t.Errorf("%s by the keys kept: %v", key.Method.Alg(), err)
		}
	}
	forged := w.issuer.SignWith(authtest.Key{ID: eddsa.ID, Private: authtest.New(t).Key().Private, Method: eddsa.Method}, w.issuer.Claims(auth.Principal{}))
	if err := w.verify(started, forged); !errors.Is(err, auth.ErrUnauthenticated) {
		t.Errorf("another's signature: %v", err)
	}
	w.issuer.Rotate()
	if err := w.verify(started, w.token()); !errors.Is(err, auth.ErrUnavailable) {
		t.Errorf("a key that the issuer may have had since: %v, want ErrUnavailable", err)
	}
	w.cfg.JWKSURL += "?another"
	if err := w.verify(w.replica(), w.token()); !errors.Is(err, auth.ErrUnavailable) {
		t.Errorf("the keys are of another address: %v, want ErrUnavailable", err)
	}
}

// A key that its issuer has withdrawn stops working where it was kept, too.
func TestVerify_WithdrawnKeysThatWereKept(t *testing.T) {
	w := newWorld(t)
	token := w.token()
	running := w.keep(w.issuer.Key().ID)
	w.aged(6 * time.Minute)
	w.issuer.SetDown(true)
	startedMeanwhile := w.replica()
	if err := w.verify(startedMeanwhile, token); err != nil {
		t.Fatalf("by the keys kept: %v", err)
	}
	w.issuer.Rotate()
	w.issuer.Withdraw()
	w.issuer.SetDown(false)

	if err := w.verify(w.replica(), token); !errors.Is(err, auth.ErrUnauthenticated) {
		t.Errorf("the issuer can be asked, and no longer has the key: %v", err)
	}
	w.kept(w.issuer.Key().ID)
	w.issuer.SetDown(true)
	if err := w.verify(w.replica(), token); !errors.Is(err, auth.ErrUnavailable) {
		t.Errorf("what is kept is what the issuer had last: %v, want ErrUnavailable", err)
	}
	// Who runs with older keys looks at what others have kept since.
	w.ahead.Store(int64(6 * time.Minute))
	for _, v := range []*auth.Verifier{running, startedMeanwhile} {
		w.eventually("the key that was kept since is used", func() bool { return w.verify(v, w.token()) == nil })
		if err := w.verify(v, token); !errors.Is(err, auth.ErrUnavailable) {
			t.Errorf("a withdrawn key: %v, want ErrUnavailable", err)
		}
	}
}

func TestVerify_KeptKeysAreAskedForAgain(t *testing.T) {
	w := newWorld(t)
	token := w.token()
	w.keep(w.issuer.Key().ID)
	for name, age := range map[string]time.Duration{"over five minutes old": 6 * time.Minute, "of a database whose clock was ahead": -48 * time.Hour} {
		w.aged(age)
		w.issuer.SetDown(true)
		v := w.replica()
		if err := w.verify(v, token); err != nil {
			t.Fatalf("%s: by the keys kept: %v", name, err)
		}
		w.issuer.SetDown(false)
		before := w.issuer.Fetches()
		w.ahead.Add(int64(11 * time.Second))
		w.eventually(name+": the issuer is asked", func() bool { return w.verify(v, token) == nil && w.issuer.Fetches() > before })
		w.eventually(name+": the new date is kept", func() bool {
			_, age, err := w.store.Load(t.Context(), w.cfg.JWKSURL)
			return err == nil && age >= 0 && age < time.Minute
		})
	}
}

func TestVerify_KeysKeptForLongerThanADay(t *testing.T) {
	w := newWorld(t)
	w.keep(w.issuer.Key().ID)
	w.issuer.SetDown(true)
	w.aged(23*time.Hour + 59*time.Minute)
	if err := w.verify(w.replica(), w.token()); err != nil {
		t.Errorf("just under a day: %v", err)
	}
	w.aged(2 * time.Minute)
	if err := w.verify(w.replica(), w.token()); !errors.Is(err, auth.ErrUnavailable) {
		t.Errorf("over a day: %v, want ErrUnavailable", err)
	}
}

// A set without a key for us is the issuer's word; that it can't be read is not.
func TestVerify_StartedWhileTheIssuerAnswersOddly(t *testing.T) {
	w := newWorld(t)
	key := w.issuer.Key()
	good := jwks(t, key, nil)
	status, body := http.StatusOK, good
	w.publishes(func() (int, string) { return status, body })
	w.keep(key.ID)
	for _, c := range []struct {
		name   string
		status int
		body   string
		want   error
	}{
		{"as before", 200, good, nil},
		{"an empty set", 200, `{"keys":[]}`, auth.ErrUnavailable},
		{"a set of other keys", 200, `{"keys":[{"kty":"oct","kid":"a","k":"AAAA"}]}`, auth.ErrUnavailable},
		{"no JSON", 200, `<html>`, nil},
		{"half a set", 200, good[:len(good)/2], nil},
		{"nothing found", 404, good, nil},
	} {
		status, body = c.status, c.body
		if err := w.verify(w.replica(), w.token()); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
	}
}

func TestVerify_WithoutTheTable(t *testing.T) {
	w := newWorld(t)
	if _, err := w.pool.Exec(t.Context(), `DROP TABLE issuer_keys`); err != nil {
		t.Fatal(err)
	}
	if err := w.verify(w.replica(), w.token()); err != nil {
		t.Errorf("the issuer is enough: %v", err)
	}
	w.issuer.SetDown(true)
	if err := w.verify(w.replica(), w.token()); !errors.Is(err, auth.ErrUnavailable) {
		t.Errorf("neither is there: %v, want ErrUnavailable", err)
	}
}

func TestVerify_NobodyWaitsForTheStore(t *testing.T) {
	w := newWorld(t)
	tx, err := w.pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback(context.WithoutCancel(t.Context())) //nolint:errcheck // it has no changes
	if _, err := tx.Exec(t.Context(), `LOCK TABLE issuer_keys`); err != nil {
		t.Fatal(err)
	}
	// The limit of each use of the store is a second.
	ctx, cancel := context.WithTimeout(t.Context(), 900*time.Millisecond)
	defer cancel()
	if _, err := w.replica().Verify(ctx, w.token()); err != nil {
		t.Errorf("the issuer answers, the store doesn't: %v", err)
	}
	w.issuer.SetDown(true)
	ctx, cancel = context.WithTimeout(t.Context(), 9*time.Second)
	defer cancel()
	if _, err := w.replica().Verify(ctx, w.token()); !errors.Is(err, auth.ErrUnavailable) || ctx.Err() != nil {
		t.Errorf("neither answers: %v, want ErrUnavailable before time is up (%v)", err, ctx.Err())
	}
}

// Whoever asked earlier may save later.
func TestSave_KeepsWhatWasFetchedLast(t *testing.T) {
	w := newWorld(t)
	save := func(jwks string, age time.Duration) {
		t.Helper()
		if err := w.store.Save(t.Context(), "https://issuer.example", []byte(jwks), age); err != nil {
			t.Fatal(err)
		}
	}
	want := func(jwks string, oldest time.Duration) {
		t.Helper()
		got, age, err := w.store.Load(t.Context(), "https://issuer.example")
		if err != nil || string(got) != jwks || age < oldest || age > oldest+time.Minute {
			t.Errorf("kept: %s of %v ago (%v), want %s of %v ago", got, age, err, jwks, oldest)
		}
	}
	save(`{"a":1}`, 2*time.Hour)
	save(`{"b":1}`, time.Hour)
	save(`{"c":1}`, 90*time.Minute)
	want(`{"b":1}`, time.Hour)
	save(`{"d":1}`, -time.Hour)
	save(`{"e":1}`, time.Minute)
	want(`{"e":1}`, time.Minute)
}

// Public parts of keys for us are kept, whatever else an issuer may publish.
func TestVerify_KeepsNoSecret(t *testing.T) {
	w := newWorld(t)
	key := w.issuer.Key()
	spoilt := jwks(t, key, map[string]string{"d": "c2VjcmV0", "note": "c2VjcmV0"})
	w.publishes(func() (int, string) { return http.StatusOK, spoilt })
	w.keep(key.ID)
	kept, _, err := w.store.Load(t.Context(), w.cfg.JWKSURL)
	if err != nil {
		t.Fatal(err)
	}
	var set struct{ Keys []map[string]string }
	if err := json.Unmarshal(kept, &set); err != nil {
		t.Fatal(err)
	}
	for field := range set.Keys[0] {
		if !slices.Contains([]string{"kty", "crv", "x", "kid", "alg", "use"}, field) {
			t.Errorf("kept: %s", kept)
		}
	}
}

// jwks of the issuer's key, with more fields.
func jwks(t *testing.T, key authtest.Key, more map[string]string) string {
	t.Helper()
	public, ok := key.Private.Public().(ed25519.PublicKey)
	if !ok {
		t.Fatalf("got a %T", key.Private.Public())
	}
	jwk := map[string]string{"kty": "OKP", "crv": "Ed25519", "kid": key.ID, "x": base64.RawURLEncoding.EncodeToString(public)}
	maps.Copy(jwk, more)
	set, err := json.Marshal(map[string]any{"keys": []any{jwk}})
	if err != nil {
		t.Fatal(err)
	}
	return string(set)
}

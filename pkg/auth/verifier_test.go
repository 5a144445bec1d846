package auth_test

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/healthmed/healthmed/pkg/auth"
	"github.com/healthmed/healthmed/pkg/auth/authtest"
)

// clock can be moved while others read it.
type clock struct{ nanos atomic.Int64 }

func newClock() *clock {
	c := &clock{}
	c.nanos.Store(time.Date(2026, 12, 1, 12, 0, 0, 0, time.UTC).UnixNano())
	return c
}

func (c *clock) Now() time.Time          { return time.Unix(0, c.nanos.Load()).UTC() }
func (c *clock) Advance(d time.Duration) { c.nanos.Add(int64(d)) }

func newIssuer(t testing.TB) (*authtest.Issuer, *clock) {
	c := newClock()
	issuer := authtest.New(t)
	issuer.Now = c.Now
	return issuer, c
}

func TestVerify_SaysWhoCalls(t *testing.T) {
	issuer, c := newIssuer(t)
	want := auth.Principal{ID: uuid.New(), Role: auth.Doctor, TokenID: "token-1", ExpiresAt: c.Now().Add(time.Minute)}
	got, err := issuer.Verifier().Verify(t.Context(), issuer.Token(want))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got, cmp.Transformer("UTC", time.Time.UTC)); diff != "" {
		t.Errorf("principal (-want +got):\n%s", diff)
	}
}

func TestVerify_Claims(t *testing.T) {
	issuer, c := newIssuer(t)
	set := func(name string, value any) func(jwt.MapClaims) {
		return func(m jwt.MapClaims) { m[name] = value }
	}
	cases := map[string]struct {
		spoil func(jwt.MapClaims)
		role  auth.Role // "" is refused
	}{
		"untouched":                        {func(jwt.MapClaims) {}, auth.Patient},
		"other issuer":                     {set("iss", "https://evil.example"), ""},
		"issuer with a slash more":         {set("iss", issuer.Config().Issuer+"/"), ""},
		"no issuer":                        {func(m jwt.MapClaims) { delete(m, "iss") }, ""},
		"identity token":                   {set("token_use", "id"), ""},
		"no token_use":                     {func(m jwt.MapClaims) { delete(m, "token_use") }, ""},
		"other client":                     {set("client_id", "other"), ""},
		"no client":                        {func(m jwt.MapClaims) { delete(m, "client_id") }, ""},
		"expired":                          {set("exp", c.Now().Add(-31*time.Second).Unix()), ""},
		"expired within the leeway":        {set("exp", c.Now().Add(-29*time.Second).Unix()), auth.Patient},
		"never expires":                    {func(m jwt.MapClaims) { delete(m, "exp") }, ""},
		"exp is a text":                    {set("exp", "tomorrow"), ""},
		"not yet valid":                    {set("nbf", c.Now().Add(31*time.Second).Unix()), ""},
		"not yet valid within the leeway":  {set("nbf", c.Now().Add(29*time.Second).Unix()), auth.Patient},
		"sub is no UUID":                   {set("sub", "admin"), ""},
		"sub in another UUID form":         {set("sub", "urn:uuid:0193e1d2-7c1a-7b3e-9f10-123456789012"), ""},
		"sub is the nil UUID":              {set("sub", uuid.Nil.String()), ""},
		"no sub":                           {func(m jwt.MapClaims) { delete(m, "sub") }, ""},
		"no group":                         {set("cognito:groups", []string{}), ""},
		"unknown group":                    {set("cognito:groups", []string{"nurses"}), ""},
		"singular is no group":             {set("cognito:groups", []string{"admin"}), ""},
		"unknown groups are passed over":   {set("cognito:groups", []string{"beta", "doctors"}), auth.Doctor},
		"doctor and patient is doctor":     {set("cognito:groups", []string{"patients", "doctors"}), auth.Doctor},
		"everything is admin":              {set("cognito:groups", []string{"patients", "doctors", "admins"}), auth.Admin},
		"groups is a text":                 {set("cognito:groups", "admins"), ""},
		"one audience":                     {set("aud", "https://api.example"), auth.Patient},
		"several audiences are no concern": {set("aud", []string{"a", "b"}), auth.Patient},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			claims := issuer.Claims(auth.Principal{})
			tc.spoil(claims)
			got, err := issuer.Verifier().Verify(t.Context(), issuer.Sign(claims))
			if tc.role == "" && !errors.Is(err, auth.ErrUnauthenticated) {
				t.Errorf("got %+v, %v, want ErrUnauthenticated", got, err)
			}
			if tc.role != "" && (err != nil || got.Role != tc.role) {
				t.Errorf("got %+v, %v, want role %s", got, err, tc.role)
			}
			if err != nil && got != (auth.Principal{}) {
				t.Errorf("an error with a principal: %+v", got)
			}
		})
	}
}

func TestVerify_Forgeries(t *testing.T) {
	issuer, _ := newIssuer(t)
	rsaKey := newRSAKey(t, 2048, "rsa")
	issuer.Use(rsaKey)
	small := newRSAKey(t, 1024, "small")
	issuer.Use(small)
	ed := issuer.Rotate()
	stranger := authtest.New(t).Key()
	good := issuer.Claims(auth.Principal{Role: auth.Admin})
	goodToken := issuer.Sign(good)
	parts := strings.Split(goodToken, ".")

	hmac := func(kid string, secret []byte) string {
		token := jwt.NewWithClaims(jwt.SigningMethodHS256, good)
		token.Header["kid"] = kid
		text, err := token.SignedString(secret)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	none := jwt.NewWithClaims(jwt.SigningMethodNone, good)
	none.Header["kid"] = ed.ID
	unsigned, err := none.SignedString(jwt.UnsafeAllowNoneSignatureType)
	if err != nil {
		t.Fatal(err)
	}
	public, err := x509.MarshalPKIXPublicKey(rsaKey.Private.Public())
	if err != nil {
		t.Fatal(err)
	}
	critical := jwt.NewWithClaims(jwt.SigningMethodEdDSA, good)
	critical.Header["kid"], critical.Header["crit"] = ed.ID, []string{"exp"}
	withCrit, err := critical.SignedString(ed.Private)
	if err != nil {
		t.Fatal(err)
	}
	b64 := base64.RawURLEncoding.EncodeToString
	cases := map[string]string{
		"empty":                           "",
		"alg none":                        unsigned,
		"alg None, spelt otherwise":       b64([]byte(`{"alg":"nOnE","kid":"`+ed.ID+`"}`)) + "." + parts[1] + ".",
		"HS256 with the public key (PEM)": hmac("rsa", pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public})),
		"HS256 with the public key (DER)": hmac("rsa", public),
		"HS256 with the Ed25519 key":      hmac(ed.ID, ed.Private.Public().(ed25519.PublicKey)),
		"signed by a stranger":            issuer.SignWith(authtest.Key{ID: ed.ID, Private: stranger.Private, Method: stranger.Method}, good),
		"kid of a key of another kind":    issuer.SignWith(authtest.Key{ID: "rsa", Private: ed.Private, Method: ed.Method}, good),
		"RS384 is not on the list":        issuer.SignWith(authtest.Key{ID: "rsa", Private: rsaKey.Private, Method: jwt.SigningMethodRS384}, good),
		"PS256 is not on the list":        issuer.SignWith(authtest.Key{ID: "rsa", Private: rsaKey.Private, Method: jwt.SigningMethodPS256}, good),
		"RSA key of 1024 bits":            issuer.SignWith(small, good),
		"no kid":                          issuer.SignWith(authtest.Key{Private: ed.Private, Method: ed.Method}, good),
		"unknown critical header":         withCrit,
		"claims exchanged":                parts[0] + "." + b64([]byte(`{"sub":"x"}`)) + "." + parts[2],
		"signature cut off":               parts[0] + "." + parts[1] + ".",
		"two parts":                       parts[0] + "." + parts[1],
		"four parts":                      goodToken + ".x",
		"five parts (JWE)":                goodToken + ".x.y",
		"padding":                         parts[0] + "=." + parts[1] + "." + parts[2],
		"line break inside":               parts[0] + ".\n" + parts[1] + "." + parts[2],
		"garbage":                         "\xff\x00.\xfe.\x01",
		"huge":                            strings.Repeat("A", 1<<20),
		"huge but signed": issuer.Sign(func() jwt.MapClaims {
			c := issuer.Claims(auth.Principal{})
			c["x"] = strings.Repeat("y", 9000)
			return c
		}()),
	}
	v := issuer.Verifier()
	if _, err := v.Verify(t.Context(), goodToken); err != nil {
		t.Fatalf("the good one: %v", err)
	}
	if _, err := v.Verify(t.Context(), issuer.SignWith(rsaKey, good)); err != nil {
		t.Fatalf("the good RS256 one: %v", err)
	}
	for name, token := range cases {
		if got, err := v.Verify(t.Context(), token); !errors.Is(err, auth.ErrUnauthenticated) || got != (auth.Principal{}) {
			t.Errorf("%s: got %+v, %v", name, got, err)
		}
	}
}

func newRSAKey(t *testing.T, bits int, kid string) authtest.Key {
	t.Helper()
	t.Setenv("GODEBUG", "rsa1024min=0")
	private, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		t.Fatal(err)
	}
	return authtest.Key{ID: kid, Private: private, Method: jwt.SigningMethodRS256}
}

func TestVerify_RememberedTokenStillExpires(t *testing.T) {
	issuer, c := newIssuer(t)
	v := issuer.Verifier()
	token := issuer.Token(auth.Principal{ExpiresAt: c.Now().Add(time.Minute)})
	for range 3 {
		if _, err := v.Verify(t.Context(), token); err != nil {
			t.Fatal(err)
		}
	}
	c.Advance(91 * time.Second)
	if _, err := v.Verify(t.Context(), token); !errors.Is(err, auth.ErrUnauthenticated) {
		t.Errorf("after its end: %v", err)
	}
}

func TestNewVerifier_RefusesIncompleteConfiguration(t *testing.T) {
	full := auth.Config{Issuer: "i", ClientID: "c", JWKSURL: "http://127.0.0.1/jwks.json"}
	for name, spoil := range map[string]func(*auth.Config){
		"no issuer":  func(c *auth.Config) { c.Issuer = "" },
		"no client":  func(c *auth.Config) { c.ClientID = "" },
		"no address": func(c *auth.Config) { c.JWKSURL = "" },
		"file":       func(c *auth.Config) { c.JWKSURL = "file:///etc/passwd" },
	} {
		cfg := full
		spoil(&cfg)
		if _, err := auth.NewVerifier(cfg, auth.Options{}); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if _, err := auth.NewVerifier(full, auth.Options{}); err != nil {
		t.Errorf("full: %v", err)
	}
}

func FuzzVerify(f *testing.F) {
	issuer, _ := newIssuer(f)
	v := issuer.Verifier()
	good := issuer.Token(auth.Principal{})
	parts := strings.Split(good, ".")
	f.Add(good + "x")
	f.Add(parts[0] + "." + parts[1] + ".")
	f.Add("a.b.c")
	f.Add("..")
	f.Fuzz(func(t *testing.T, token string) {
		got, err := v.Verify(context.Background(), token)
		if token == good {
			return
		}
		if !errors.Is(err, auth.ErrUnauthenticated) || got != (auth.Principal{}) {
			t.Errorf("%q: got %+v, %v", token, got, err)
		}
	})
}

func BenchmarkVerify(b *testing.B) {
	issuer := authtest.New(b)
	token := issuer.Token(auth.Principal{})
	b.Run("known token", func(b *testing.B) {
		v := issuer.Verifier()
		for b.Loop() {
			if _, err := v.Verify(b.Context(), token); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("new token", func(b *testing.B) {
		v := issuer.Verifier()
		tokens := make([]string, 5000)
		for i := range tokens {
			tokens[i] = issuer.Token(auth.Principal{})
		}
		i := 0
		for b.Loop() {
			if i == len(tokens) {
				b.StopTimer()
				v, i = issuer.Verifier(), 0
				_, _ = v.Verify(b.Context(), token)
				b.StartTimer()
			}
			if _, err := v.Verify(b.Context(), tokens[i]); err != nil {
				b.Fatal(err)
			}
			i++
		}
	})
}

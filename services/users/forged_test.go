package users_test

import (
	"crypto/ed25519"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/uuid"

	"github.com/healthmed/healthmed/pkg/auth"
	"github.com/healthmed/healthmed/pkg/auth/authtest"
	"github.com/healthmed/healthmed/services/users"
	"github.com/healthmed/healthmed/services/users/internal/userstest"
)

// Tokens that anybody could make are refused by the running service, on routes that need one and on those that merely look at one.
func TestForgedTokens(t *testing.T) {
	t.Parallel()
	issuer := authtest.New(t)
	s := userstest.Start(t, generous, func(c *users.Config) { c.Auth = issuer.Config() })
	made := s.Do("POST", "/v1/patients", "", patientBody(1, nil)).Want(201)
	good := func() jwt.MapClaims {
		return issuer.Claims(auth.Principal{ID: uuid.MustParse(made.Text("id")), Role: auth.Patient})
	}
	with := func(name string, value any) string {
		claims := good()
		claims[name] = value
		return issuer.Sign(claims)
	}
	now, key, stranger := time.Now(), issuer.Key(), authtest.New(t).Key()
	public := key.Private.Public().(ed25519.PublicKey)
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	symmetric := func(secret []byte) string {
		token := jwt.NewWithClaims(jwt.SigningMethodHS256, good())
		token.Header["kid"] = key.ID
		text, err := token.SignedString(secret)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	none := jwt.NewWithClaims(jwt.SigningMethodNone, good())
	none.Header["kid"] = key.ID
	unsigned, err := none.SignedString(jwt.UnsafeAllowNoneSignatureType)
	if err != nil {
		t.Fatal(err)
	}
	s.Do("GET", "/v1/me", issuer.Sign(good()), nil).Want(200)
	for name, token := range map[string]string{
		"alg none":                     unsigned,
		"HS256 with the public key":    symmetric(public),
		"HS256 with it as PEM":         symmetric(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})),
		"a stranger's key, our kid":    issuer.SignWith(authtest.Key{ID: key.ID, Private: stranger.Private, Method: stranger.Method}, good()),
		"wrong iss":                    with("iss", "https://evil.example"),
		"an identity token":            with("token_use", "id"),
		"another client's":             with("client_id", "other"),
		"expired":                      with("exp", now.Add(-time.Minute).Unix()),
		"not valid yet":                with("nbf", now.Add(time.Minute).Unix()),
		"no role":                      with("cognito:groups", []string{"nurses"}),
		"sub of nobody":                with("sub", uuid.NewString()),
		"sub that is no id":            with("sub", "1 OR 1=1"),
		"an e-mail verification token": "b2YgYSBtYWlsYm94IG5vdCBvZiBhbiBhY2Nlc3M",
	} {
		res := s.Do("GET", "/v1/me", token, nil)
		if res.Status != 401 || res.Text("type") != "/problems/unauthenticated" {
			t.Errorf("%s: got %d: %s", name, res.Status, res.Body)
		}
		if name != "sub of nobody" { // good for nothing of its own, but a token
			s.Do("GET", "/v1/doctors/"+made.Text("id"), token, nil).Problem(401, "unauthenticated")
		}
	}
	before := issuer.Fetches()
	var wg sync.WaitGroup
	for i := range 64 {
		wg.Go(func() {
			token := issuer.SignWith(authtest.Key{ID: fmt.Sprintf("unknown-%d", i), Private: stranger.Private, Method: stranger.Method}, good())
			s.Do("GET", "/v1/me", token, nil).Problem(401, "unauthenticated")
		})
	}
	wg.Wait()
	// At most once in ten seconds, however many there are and however slow this machine is.
	if asked, most := issuer.Fetches()-before, 1+int(time.Since(now)/(10*time.Second)); asked > most {
		t.Errorf("64 unknown kids asked for the keys %d times, want at most %d", asked, most)
	}
}

func TestReplicaStartsWhileTheIssuerIsAway(t *testing.T) {
	t.Parallel()
	issuer := authtest.New(t)
	s := userstest.Start(t, generous, func(c *users.Config) { c.Auth = issuer.Config() })
	made := s.Do("POST", "/v1/patients", "", patientBody(1, nil)).Want(201)
	token := issuer.Token(auth.Principal{ID: uuid.MustParse(made.Text("id")), Role: auth.Patient})
	s.Do("GET", "/v1/me", token, nil).Want(200)
	userstest.Eventually(t, "the keys are kept", func() bool { return userstest.Count(t, s, `SELECT count(*) FROM issuer_keys`) == 1 })
	issuer.SetDown(true)
	userstest.Run(t, s.Config).Do("GET", "/v1/me", token, nil).Want(200)
}

package auth_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/healthmed/healthmed/pkg/auth"
	"github.com/healthmed/healthmed/pkg/auth/authtest"
)

func TestVerify_RotatedKeys(t *testing.T) {
	issuer, c := newIssuer(t)
	v := issuer.Verifier()
	verify := func(token string) error {
		t.Helper()
		_, err := v.Verify(t.Context(), token)
		return err
	}
	before := issuer.Token(auth.Principal{ExpiresAt: c.Now().Add(time.Hour)})
	if err := verify(before); err != nil {
		t.Fatal(err)
	}
	issuer.Rotate()
	after := issuer.Token(auth.Principal{ExpiresAt: c.Now().Add(time.Hour)})
	if err := verify(after); !errors.Is(err, auth.ErrUnauthenticated) {
		t.Errorf("a new key within 10 s of the last fetch: %v", err)
	}
	c.Advance(10 * time.Second)
	if err := verify(after); err != nil {
		t.Errorf("a new key after 10 s: %v", err)
	}
	if err := verify(before); err != nil {
		t.Errorf("the old key is still published: %v", err)
	}

	// A withdrawn key stops working once the keys are fetched again, also for tokens that were found good before.
	issuer.Withdraw()
	c.Advance(10 * time.Second)
	issuer.Rotate()
	if err := verify(issuer.Token(auth.Principal{})); err != nil {
		t.Errorf("a third key: %v", err)
	}
	if err := verify(before); !errors.Is(err, auth.ErrUnauthenticated) {
		t.Errorf("a withdrawn key: %v", err)
	}
	if err := verify(after); err != nil {
		t.Errorf("a key that stayed: %v", err)
	}
	if got := issuer.Fetches(); got != 3 {
		t.Errorf("%d fetches, want 3", got)
	}
}

func TestVerify_OldKeysAreRefreshedInTheBackground(t *testing.T) {
	issuer, c := newIssuer(t)
	v := issuer.Verifier()
	token := issuer.Token(auth.Principal{ExpiresAt: c.Now().Add(time.Hour)})
	if _, err := v.Verify(t.Context(), token); err != nil {
		t.Fatal(err)
	}
	issuer.Rotate()
	issuer.Withdraw()
	c.Advance(6 * time.Minute)
	// Nobody asks for an unknown kid; ordinary use of the withdrawn key leads to its end.
	deadline := time.Now().Add(5 * time.Second)
	for {
		if _, err := v.Verify(t.Context(), token); errors.Is(err, auth.ErrUnauthenticated) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("the withdrawn key still works")
		}
	}
}

func TestVerify_IssuerDown(t *testing.T) {
	issuer, c := newIssuer(t)
	v := issuer.Verifier()
	token := issuer.Token(auth.Principal{ExpiresAt: c.Now().Add(time.Hour)})

	issuer.SetDown(true)
	for range 50 {
		if _, err := v.Verify(t.Context(), token); !errors.Is(err, auth.ErrUnavailable) || errors.Is(err, auth.ErrUnauthenticated) {
			t.Fatalf("no key was ever had: %v, want ErrUnavailable", err)
		}
	}
	if got := issuer.Fetches(); got != 1 {
		t.Errorf("%d fetches in one second, want 1", got)
	}
	issuer.SetDown(false)
	c.Advance(time.Second)
	if _, err := v.Verify(t.Context(), token); err != nil {
		t.Errorf("the issuer is back: %v", err)
	}
	issuer.SetDown(true)
	c.Advance(30 * time.Minute)
	second := issuer.Token(auth.Principal{})
	if _, err := v.Verify(t.Context(), second); err != nil {
		t.Errorf("keys once had are kept: %v", err)
	}
	issuer.Rotate()
	if _, err := v.Verify(t.Context(), issuer.Token(auth.Principal{})); !errors.Is(err, auth.ErrUnavailable) {
		t.Errorf("a kid that may be new while the issuer is down: %v, want ErrUnavailable", err)
	}
	issuer.SetDown(false)
	c.Advance(10 * time.Second)
	unknown := issuer.SignWith(authtest.Key{ID: uuid.NewString(), Private: issuer.Key().Private, Method: issuer.Key().Method}, issuer.Claims(auth.Principal{}))
	if _, err := v.Verify(t.Context(), unknown); !errors.Is(err, auth.ErrUnauthenticated) {
		t.Errorf("a kid that the issuer doesn't know: %v", err)
	}
}

func TestVerify_ClockSetBack(t *testing.T) {
	issuer, c := newIssuer(t)
	v := issuer.Verifier()
	issuer.SetDown(true)
	if _, err := v.Verify(t.Context(), issuer.Token(auth.Principal{})); !errors.Is(err, auth.ErrUnavailable) {
		t.Fatalf("no key was ever had: %v, want ErrUnavailable", err)
	}
	issuer.SetDown(false)
	c.Advance(-time.Hour)
	if _, err := v.Verify(t.Context(), issuer.Token(auth.Principal{})); err != nil {
		t.Errorf("the last attempt seems to lie ahead: %v", err)
	}
}

func TestVerify_FloodOfUnknownKidsAsksOnce(t *testing.T) {
	issuer, c := newIssuer(t)
	v := issuer.Verifier()
	if _, err := v.Verify(t.Context(), issuer.Token(auth.Principal{})); err != nil {
		t.Fatal(err)
	}
	c.Advance(10 * time.Second)
	key := issuer.Key()
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			for range 200 {
				token := issuer.SignWith(authtest.Key{ID: uuid.NewString(), Private: key.Private, Method: key.Method}, issuer.Claims(auth.Principal{}))
				if _, err := v.Verify(context.Background(), token); !errors.Is(err, auth.ErrUnauthenticated) {
					t.Errorf("got %v", err)
				}
			}
		})
	}
	wg.Wait()
	if got := issuer.Fetches(); got != 2 {
		t.Errorf("%d fetches, want 2", got)
	}
}

func TestVerify_ConcurrentFirstUseFetchesOnce(t *testing.T) {
	issuer, _ := newIssuer(t)
	v := issuer.Verifier()
	var wg sync.WaitGroup
	for range 64 {
		wg.Go(func() {
			if _, err := v.Verify(context.Background(), issuer.Token(auth.Principal{})); err != nil {
				t.Errorf("got %v", err)
			}
		})
	}
	wg.Wait()
	if got := issuer.Fetches(); got != 1 {
		t.Errorf("%d fetches, want 1", got)
	}
}

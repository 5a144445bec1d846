package password_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/healthmed/healthmed/services/users/internal/password"
)

func TestHasher_KnowsItsOwnHashes(t *testing.T) {
	h := password.New(password.Config{})
	phc, err := h.Hash(t.Context(), "Correta-1")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(phc, "$argon2id$v=19$m=19456,t=2,p=1$") {
		t.Errorf("got %s, want OWASP's parameters", phc)
	}
	for candidate, want := range map[string]bool{"Correta-1": true, "correta-1": false, "": false} {
		ok, rehash, err := h.Verify(t.Context(), phc, candidate)
		if err != nil || ok != want || rehash {
			t.Errorf("%q: got %v, rehash %v, %v", candidate, ok, rehash, err)
		}
	}
	again, err := h.Hash(t.Context(), "Correta-1")
	if err != nil || again == phc {
		t.Errorf("two hashes are equal, or %v", err)
	}
}

func TestHasher_WantsANewHashWhenParametersChange(t *testing.T) {
	weak := password.New(password.Config{Params: password.Params{MemoryKiB: 64, Iterations: 1, Parallelism: 1}})
	phc, err := weak.Hash(t.Context(), "Correta-1")
	if err != nil {
		t.Fatal(err)
	}
	ok, rehash, err := password.New(password.Config{}).Verify(t.Context(), phc, "Correta-1")
	if !ok || !rehash || err != nil {
		t.Errorf("got %v, rehash %v, %v", ok, rehash, err)
	}
}

func TestHasher_TakesAsLongWhenNobodyHasTheAddress(t *testing.T) {
	h := password.New(password.Config{})
	phc, err := h.Hash(t.Context(), "Correta-1")
	if err != nil {
		t.Fatal(err)
	}
	fastest := func(hash string) time.Duration {
		best := time.Hour
		for range 5 {
			began := time.Now()
			if ok, _, err := h.Verify(t.Context(), hash, "Errada-1"); ok || err != nil {
				t.Fatalf("got %v, %v", ok, err)
			}
			best = min(best, time.Since(began))
		}
		return best
	}
	known, unknown := fastest(phc), fastest("")
	if unknown < known/2 || unknown > known*2 {
		t.Errorf("known %v, unknown %v", known, unknown)
	}
}

func TestHasher_RefusesBeyondItsQueue(t *testing.T) {
	h := password.New(password.Config{Workers: 1, Queue: 2})
	var wg sync.WaitGroup
	results := make(chan error, 50)
	for range 50 {
		wg.Go(func() { _, err := h.Hash(t.Context(), "Correta-1"); results <- err })
	}
	wg.Wait()
	close(results)
	done, busy := 0, 0
	for err := range results {
		switch {
		case err == nil:
			done++
		case errors.Is(err, password.ErrBusy):
			busy++
		default:
			t.Errorf("got %v", err)
		}
	}
	if done < 3 || busy == 0 || done+busy != 50 {
		t.Errorf("%d done and %d refused of 50", done, busy)
	}
}

func TestHasher_LeavesTheQueueWhenTheCallerGoes(t *testing.T) {
	h := password.New(password.Config{Workers: 1, Queue: 1, Params: password.Params{MemoryKiB: 64, Iterations: 1, Parallelism: 1}})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for range 20 {
		if _, err := h.Hash(ctx, "x"); err != nil && !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
	}
	if _, err := h.Hash(t.Context(), "x"); err != nil {
		t.Errorf("the queue is not free again: %v", err)
	}
}

func FuzzVerify_NeverPanicsOnAStoredHash(f *testing.F) {
	h := password.New(password.Config{Params: password.Params{MemoryKiB: 8, Iterations: 1, Parallelism: 1}})
	f.Add("$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHQ$aGFzaGhhc2hoYXNoaGFzaA")
	f.Add("$argon2id$v=19$m=4294967295,t=4294967295,p=255$$")
	f.Add("$2a$10$abc")
	f.Fuzz(func(t *testing.T, phc string) {
		if strings.Contains(phc, "m=") && len(phc) > 60 {
			return // big but permitted parameters only burn time
		}
		_, _, _ = h.Verify(t.Context(), phc, "x")
	})
}

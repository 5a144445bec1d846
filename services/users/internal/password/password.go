// Package password hashes and checks passwords with argon2id, a few at a time, so that a flood of sign-ins can
// exhaust neither memory nor the processors.
package password

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"runtime"
	"time"

	"golang.org/x/crypto/argon2"
)

// Params of argon2id. They are written into every hash, and a hash with others is made anew at the next sign-in.
type Params struct {
	MemoryKiB   uint32
	Iterations  uint32
	Parallelism uint8
}

// OWASP is the minimum of OWASP's Password Storage Cheat Sheet (November 2026): 19 MiB, two passes, one lane.
func OWASP() Params { return Params{MemoryKiB: 19 * 1024, Iterations: 2, Parallelism: 1} }

const (
	saltBytes = 16
	keyBytes  = 32
)

// ErrBusy says that the queue is full, or that a place in it did not come up in time: try again shortly.
var ErrBusy = errors.New("password: too many at once")

// Config of a Hasher. Zero values mean the documented defaults.
type Config struct {
	Params  Params
	Workers int           // hashes at the same time; default: one less than the processors, at least one, so that the API keeps one
	Queue   int           // callers that may wait, default 256
	MaxWait time.Duration // of a caller in the queue, default 8 s
}

// Hasher hashes with bounded concurrency.
type Hasher struct {
	params  Params
	slots   chan struct{}
	waiting chan struct{}
	maxWait time.Duration
	dummy   string
}

// New makes a Hasher.
func New(cfg Config) *Hasher {
	if cfg.Params == (Params{}) {
		cfg.Params = OWASP()
	}
	if cfg.Workers <= 0 {
		cfg.Workers = max(1, runtime.GOMAXPROCS(0)-1)
	}
	if cfg.Queue <= 0 {
		cfg.Queue = 256
	}
	if cfg.MaxWait <= 0 {
		cfg.MaxWait = 8 * time.Second
	}
	h := &Hasher{
		params: cfg.Params, slots: make(chan struct{}, cfg.Workers),
		waiting: make(chan struct{}, cfg.Workers+cfg.Queue), maxWait: cfg.MaxWait,
	}
	h.dummy = h.hash(rand.Text())
	return h
}

// Hash makes a PHC string ($argon2id$v=19$m=…,t=…,p=…$salt$hash).
func (h *Hasher) Hash(ctx context.Context, password string) (string, error) {
	var phc string
	err := h.bounded(ctx, func() { phc = h.hash(password) })
	return phc, err
}

// Verify says whether the password is the hash's, and whether the hash should be made anew because parameters have
// changed. An empty hash costs the same time as any other and never matches, so that nobody learns who has an account.
func (h *Hasher) Verify(ctx context.Context, phc, password string) (ok, rehash bool, err error) {
	stored := phc
	if stored == "" {
		stored = h.dummy
	}
	params, salt, want, err := parse(stored)
	if err != nil {
		return false, false, err
	}
	err = h.bounded(ctx, func() {
		got := argon2.IDKey([]byte(password), salt, params.Iterations, params.MemoryKiB, params.Parallelism, uint32(len(want)))
		ok = subtle.ConstantTimeCompare(got, want) == 1 && phc != ""
	})
	return ok, ok && params != h.params, err
}

// bounded runs f when one of the slots is free.
func (h *Hasher) bounded(ctx context.Context, f func()) error {
	select {
	case h.waiting <- struct{}{}:
		defer func() { <-h.waiting }()
	default:
		return ErrBusy
	}
	timer := time.NewTimer(h.maxWait)
	defer timer.Stop()
	select {
	case h.slots <- struct{}{}:
		defer func() { <-h.slots }()
		f()
		return nil
	case <-timer.C:
		return ErrBusy
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (h *Hasher) hash(password string) string {
	salt := make([]byte, saltBytes)
	rand.Read(salt) // never fails (crypto/rand)
	key := argon2.IDKey([]byte(password), salt, h.params.Iterations, h.params.MemoryKiB, h.params.Parallelism, keyBytes)
	b64 := base64.RawStdEncoding
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version,
		h.params.MemoryKiB, h.params.Iterations, h.params.Parallelism, b64.EncodeToString(salt), b64.EncodeToString(key))
}

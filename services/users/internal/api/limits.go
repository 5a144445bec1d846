package api

import (
	"context"
	"errors"
	"net/netip"
	"time"

	"github.com/healthmed/healthmed/pkg/web"
	"github.com/healthmed/healthmed/services/users/internal/account"
	"github.com/healthmed/healthmed/services/users/internal/postgres"
)

// Limits are budgets of attempts. Those that succeed cost nothing in the end, so that an office behind one address, or
// a person with many devices, is never in the way of itself.
type Limits struct {
	Account postgres.Budget // failed sign-ins per account
	Address postgres.Budget // failed attempts of every kind per client address
	Mail    postgres.Budget // password resets asked for per account
}

// What a budget is of.
const (
	perAccount = "sign-in"
	perAddress = "address"
	perMailbox = "forgot"
)

// spend takes an attempt from the caller's address. done gives it back when the attempt succeeded.
func (s *Server) spend(ctx context.Context) (done func(error), err error) {
	key := addressKey(web.ClientAddr(ctx))
	if err := s.take(ctx, perAddress, key, s.Limits.Address); err != nil {
		return nil, err
	}
	return func(result error) {
		if result != nil && counts(result) {
			return
		}
		// A caller who has gone has succeeded all the same.
		if err := s.Store.GiveBack(context.WithoutCancel(ctx), perAddress, key, s.Limits.Address); err != nil {
			s.Log.WarnContext(ctx, "attempt not given back", "error", err)
		}
	}, nil
}

// counts says whether a failure is the caller's: one of ours must not use up their budget.
func counts(err error) bool {
	return errors.Is(err, account.ErrInvalidCredentials) || errors.Is(err, account.ErrAlreadyRegistered) ||
		errors.Is(err, account.ErrInvalidToken)
}

// take spends from one budget, or answers 429.
func (s *Server) take(ctx context.Context, purpose, key string, b postgres.Budget) error {
	wait, err := s.Store.Spend(ctx, purpose, key, b)
	if err == nil && wait > 0 {
		return web.RateLimited(wait)
	}
	return err
}

// addressKey is what shares a budget: an IPv4 address, or the /64 that one IPv6 customer has.
func addressKey(addr netip.Addr) string {
	addr = addr.Unmap()
	if addr.Is6() {
		if prefix, err := addr.WithZone("").Prefix(64); err == nil {
			return prefix.String()
		}
	}
	return addr.String()
}

// sameTime waits until a fixed time after began, so that how long an answer takes tells nothing.
func sameTime(ctx context.Context, began time.Time, total time.Duration) {
	timer := time.NewTimer(total - time.Since(began))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

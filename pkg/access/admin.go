package access

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nkeys"
)

// ErrUnknownPartner is returned for a name that no partner has.
var ErrUnknownPartner = errors.New("access: no such partner")

// Add makes the partner's durables and account, has the server take them up, and connects once with the new key. It
// returns the partner and their seed, which is kept nowhere. If anything fails, nothing of it stays.
func (c Config) Add(ctx context.Context, r Request, now time.Time) (p Partner, seed []byte, err error) {
	filters, err := r.filters()
	if err != nil {
		return p, nil, fmt.Errorf("access: %w", err)
	}
	unlock, err := lock(c.Auth)
	if err != nil {
		return p, nil, err
	}
	defer func() { err = errors.Join(err, unlock()) }()
	partners, err := load(c.Auth)
	if err != nil {
		return p, nil, err
	}
	if partners.find(r.Name) >= 0 {
		return p, nil, fmt.Errorf("access: there is a partner %s already: revoke them first", r.Name)
	}
	p = Partner{Name: r.Name, Events: r.Events, Doctor: r.Doctor, Streams: slices.Sorted(maps.Keys(filters)), Added: now.UTC().Truncate(time.Second)}
	if p.Key, seed, err = newKey(); err != nil {
		return p, nil, err
	}
	return p, seed, c.withAdmin(func(js jetstream.JetStream) error {
		made, err := makeConsumers(ctx, js, r, filters)
		if err == nil {
			err = c.apply(ctx, partners, partners.with(p), func() error { return c.try(ctx, p, seed) })
		}
		if err != nil {
			err = errors.Join(err, removeConsumers(context.WithoutCancel(ctx), js, r.Name, made))
		}
		return err
	})
}

// apply writes the list, has the servers read it, and checks. After a failure the list is again what it was.
func (c Config) apply(ctx context.Context, before, after registry, check func() error) error {
	err := after.save(c.Auth)
	if err == nil {
		_, err = c.Reload(ctx)
	}
	if err == nil {
		err = check()
	}
	if err == nil {
		return nil
	}
	back := before.save(c.Auth)
	if _, reloadErr := c.Reload(context.WithoutCancel(ctx)); reloadErr != nil && back == nil {
		back = fmt.Errorf("the server was not told that nothing changed: %w", reloadErr)
	}
	return errors.Join(err, back)
}

// try connects as the partner and looks at their durables. The key is put into no file for it: in a container there may be
// no place for one.
func (c Config) try(ctx context.Context, p Partner, seed []byte) error {
	pair, err := nkeys.FromSeed(seed)
	if err != nil {
		return fmt.Errorf("access: %w", err)
	}
	nc, err := c.connect(p.Name, nats.Nkey(p.Key, pair.Sign))
	if err != nil {
		return fmt.Errorf("the new key does not work; does the server's configuration include %s? %w", partnersConf, err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc, jetstream.WithDefaultTimeout(apiTimeout))
	if err != nil {
		return fmt.Errorf("access: %w", err)
	}
	for _, stream := range p.Streams {
		if _, err := js.Consumer(ctx, stream, p.Name); err != nil {
			return fmt.Errorf("access: the new key can't use its consumer on %s: %w", stream, err)
		}
	}
	return nil
}

// Partners lists them, in the order in which they were added.
func (c Config) Partners() ([]Partner, error) {
	r, err := load(c.Auth)
	return r.Partners, err
}

// Revoke takes the partner's account away, which ends their connections at once, and then their durables: what they had
// not read is forgotten. After a failure it may be asked again; until then the partner is listed as revoked.
func (c Config) Revoke(ctx context.Context, name string) (err error) {
	unlock, err := lock(c.Auth)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, unlock()) }()
	partners, err := load(c.Auth)
	if err != nil {
		return err
	}
	i := partners.find(name)
	if i < 0 {
		return fmt.Errorf("%w: %s", ErrUnknownPartner, name)
	}
	partners.Partners[i].Revoked = true
	if err := partners.save(c.Auth); err != nil {
		return err
	}
	if _, err := c.Reload(ctx); err != nil {
		return fmt.Errorf("%s can still connect, until the server reads its configuration: %w", name, err)
	}
	if err := c.withAdmin(func(js jetstream.JetStream) error {
		return removeConsumers(ctx, js, name, partners.Partners[i].Streams)
	}); err != nil {
		return err
	}
	return partners.without(name).save(c.Auth)
}

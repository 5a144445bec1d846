package web

import (
	"context"
	"fmt"
	"net/netip"
	"strings"

	"github.com/gofiber/fiber/v2"
)

// ClientAddr is the address of the client of the context's request: the peer's, or, when the peer is a trusted proxy,
// the last address in X-Forwarded-For that isn't one. The zero Addr when there is none.
func ClientAddr(ctx context.Context) netip.Addr {
	if r, ok := ctx.Value(requestKey{}).(*request); ok {
		return r.client
	}
	return netip.Addr{}
}

// Locale is the language that the context's reader asked for by Accept-Language: pt-BR (default) or en.
func Locale(ctx context.Context) string {
	if r, ok := ctx.Value(requestKey{}).(*request); ok {
		return r.lang.tag()
	}
	return portuguese.tag()
}

// parseProxies reads CIDRs and addresses.
func parseProxies(list []string) ([]netip.Prefix, error) {
	prefixes := make([]netip.Prefix, 0, len(list))
	for _, text := range list {
		if addr, err := netip.ParseAddr(text); err == nil {
			prefixes = append(prefixes, netip.PrefixFrom(addr, addr.BitLen()))
			continue
		}
		prefix, err := netip.ParsePrefix(text)
		if err != nil {
			return nil, fmt.Errorf("web: trusted proxy %q is no address or CIDR", text)
		}
		prefixes = append(prefixes, prefix)
	}
	return prefixes, nil
}

func (a *App) trusted(addr netip.Addr) bool {
	for _, p := range a.proxies {
		if p.Contains(addr) {
			return true
		}
	}
	return false
}

// clientAddr walks X-Forwarded-For from the right, where our own proxies have written: what stands further left was sent
// by the client and may be made up.
func (a *App) clientAddr(c *fiber.Ctx) netip.Addr {
	peer, ok := netip.AddrFromSlice(c.Context().RemoteIP())
	if !ok {
		return netip.Addr{}
	}
	addr := peer.Unmap()
	if !a.trusted(addr) {
		return addr
	}
	var hops []string
	for _, line := range c.Request().Header.PeekAll(fiber.HeaderXForwardedFor) {
		hops = append(hops, strings.Split(string(line), ",")...)
	}
	for i := len(hops) - 1; i >= 0; i-- {
		hop, err := netip.ParseAddr(strings.TrimSpace(hops[i]))
		if err != nil {
			break
		}
		addr = hop.Unmap()
		if !a.trusted(addr) {
			break
		}
	}
	return addr
}

package auth

import (
	"crypto/sha256"
	"sync"
	"time"
)

// cacheSize is how many tokens one generation of the cache holds; about 200 bytes each.
const cacheSize = 8192

// verified is a token whose signature and claims were found good.
type verified struct {
	principal Principal
	notBefore time.Time
	key       *key
}

type digest = [sha256.Size]byte

// cache remembers good tokens by their digest. It is bounded by two generations: when the young one is full, it becomes
// the old one, and what was in the old one is forgotten.
type cache struct {
	mu         sync.RWMutex
	young, old map[digest]verified
}

func newCache() *cache {
	return &cache{young: make(map[digest]verified)}
}

func (c *cache) get(d digest) (verified, bool) {
	c.mu.RLock()
	v, ok := c.young[d]
	if ok {
		c.mu.RUnlock()
		return v, true
	}
	v, ok = c.old[d]
	c.mu.RUnlock()
	if ok {
		c.put(d, v)
	}
	return v, ok
}

func (c *cache) put(d digest, v verified) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.young) >= cacheSize {
		c.old, c.young = c.young, make(map[digest]verified, cacheSize/4)
	}
	c.young[d] = v
}

// Package keyring encrypts what must not lie open in the database (CPFs, token signing keys) and finds CPFs without
// storing them in the clear. Keys come from configuration and never touch the database.
package keyring

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
)

// Ring is a set of AES-256-GCM keys with ids. The first one encrypts; all of them decrypt, so that a new key is put
// in front, what is stored is encrypted anew, and the old one is then removed.
type Ring struct {
	current string
	aeads   map[string]cipher.AEAD
}

// Sealed is an encrypted value as it is stored.
type Sealed struct {
	KeyID      string
	Ciphertext []byte // nonce, then ciphertext and tag
}

// Errors of a ring.
var (
	// ErrUnknownKey: the value was sealed with a key that the ring no longer has.
	ErrUnknownKey = errors.New("keyring: unknown key id")
	// ErrForged: the value was changed, or belongs to another row.
	ErrForged = errors.New("keyring: value does not authenticate")
)

// Parse reads "id:base64,id:base64", each key 32 bytes in standard base64, the current one first. Errors name key
// ids, never keys.
func Parse(s string) (*Ring, error) {
	r := &Ring{aeads: map[string]cipher.AEAD{}}
	for part := range strings.SplitSeq(s, ",") {
		id, encoded, ok := strings.Cut(strings.TrimSpace(part), ":")
		if !ok || id == "" || len(id) > 64 {
			return nil, errors.New("keyring: want id:base64,id:base64")
		}
		key, err := base64.StdEncoding.DecodeString(encoded)
		if err != nil || len(key) != 32 {
			return nil, fmt.Errorf("keyring: key %q is not 32 bytes in base64", id)
		}
		if _, twice := r.aeads[id]; twice {
			return nil, fmt.Errorf("keyring: key %q is there twice", id)
		}
		block, err := aes.NewCipher(key)
		if err != nil {
			return nil, fmt.Errorf("keyring: key %q: %w", id, err)
		}
		if r.aeads[id], err = cipher.NewGCM(block); err != nil {
			return nil, fmt.Errorf("keyring: key %q: %w", id, err)
		}
		if r.current == "" {
			r.current = id
		}
	}
	return r, nil
}

// Current is the id of the key that encrypts.
func (r *Ring) Current() string { return r.current }

// Seal encrypts under the current key. context (say "cpf:" and the user's id) is authenticated with it, so that a
// value copied into another row does not open.
func (r *Ring) Seal(plain []byte, context string) Sealed {
	aead := r.aeads[r.current]
	nonce := make([]byte, aead.NonceSize(), aead.NonceSize()+len(plain)+aead.Overhead())
	rand.Read(nonce) // never fails (crypto/rand)
	return Sealed{KeyID: r.current, Ciphertext: aead.Seal(nonce, nonce, plain, []byte(context))}
}

// Open decrypts what Seal made with the same context.
func (r *Ring) Open(s Sealed, context string) ([]byte, error) {
	aead, ok := r.aeads[s.KeyID]
	if !ok {
		return nil, fmt.Errorf("%w: %q", ErrUnknownKey, s.KeyID)
	}
	if len(s.Ciphertext) < aead.NonceSize() {
		return nil, ErrForged
	}
	plain, err := aead.Open(nil, s.Ciphertext[:aead.NonceSize()], s.Ciphertext[aead.NonceSize():], []byte(context))
	if err != nil {
		return nil, ErrForged
	}
	return plain, nil
}

// Index makes blind indexes: HMAC-SHA-256 under a key of its own. An unkeyed hash of a CPF is reversed in minutes, there being
// only 10⁹ of them; this one tells nothing to a thief of the database alone.
type Index struct{ key []byte }

// ParseIndex reads a key of 32 bytes in standard base64.
func ParseIndex(s string) (Index, error) {
	key, err := base64.StdEncoding.DecodeString(strings.TrimSpace(s))
	if err != nil || len(key) != 32 {
		return Index{}, errors.New("keyring: the index key is not 32 bytes in base64")
	}
	return Index{key: key}, nil
}

// Of is the index of a value. purpose separates the indexes of different things.
func (i Index) Of(purpose, value string) []byte {
	mac := hmac.New(sha256.New, i.key)
	mac.Write([]byte(purpose))
	mac.Write([]byte{0})
	mac.Write([]byte(value))
	return mac.Sum(nil)
}

package keyring_test

import (
	"bytes"
	"encoding/base64"
	"errors"
	"strings"
	"testing"

	"github.com/healthmed/healthmed/services/users/internal/keyring"
)

func key(fill byte) string { return base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{fill}, 32)) }

func parse(t *testing.T, s string) *keyring.Ring {
	t.Helper()
	r, err := keyring.Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestRing_ANewKeyEncryptsAndTheOldOneStillDecrypts(t *testing.T) {
	old := parse(t, "a:"+key(1))
	both := parse(t, "b:"+key(2)+", a:"+key(1))
	sealed := old.Seal([]byte("52998224725"), "cpf:1")
	if plain, err := both.Open(sealed, "cpf:1"); err != nil || string(plain) != "52998224725" {
		t.Fatalf("got %q, %v", plain, err)
	}
	if got := both.Seal(nil, "").KeyID; got != "b" {
		t.Errorf("got key %q, want b", got)
	}
	if _, err := parse(t, "b:"+key(2)).Open(sealed, "cpf:1"); !errors.Is(err, keyring.ErrUnknownKey) {
		t.Errorf("got %v", err)
	}
}

func TestRing_RefusesWhatWasMovedOrChanged(t *testing.T) {
	r := parse(t, "a:"+key(1))
	sealed := r.Seal([]byte("52998224725"), "cpf:1")
	if _, err := r.Open(sealed, "cpf:2"); !errors.Is(err, keyring.ErrForged) {
		t.Errorf("moved to another row: got %v", err)
	}
	for i := range sealed.Ciphertext {
		changed := keyring.Sealed{KeyID: "a", Ciphertext: bytes.Clone(sealed.Ciphertext)}
		changed.Ciphertext[i] ^= 1
		if _, err := r.Open(changed, "cpf:1"); !errors.Is(err, keyring.ErrForged) {
			t.Fatalf("byte %d changed: got %v", i, err)
		}
	}
	if _, err := r.Open(keyring.Sealed{KeyID: "a"}, "cpf:1"); !errors.Is(err, keyring.ErrForged) {
		t.Errorf("empty: got %v", err)
	}
	if bytes.Equal(sealed.Ciphertext, r.Seal([]byte("52998224725"), "cpf:1").Ciphertext) {
		t.Error("two seals of one value are equal")
	}
}

func TestParse_SaysWhatIsWrong_NeverTheKey(t *testing.T) {
	short := base64.StdEncoding.EncodeToString([]byte("short-secret"))
	for _, s := range []string{"", "a", ":" + key(1), "a:" + short, "a:***", "a:" + key(1) + ",a:" + key(2), "a:" + key(1) + ","} {
		_, err := keyring.Parse(s)
		if err == nil {
			t.Errorf("%q is accepted", s)
			continue
		}
		if strings.Contains(err.Error(), short) || strings.Contains(err.Error(), key(1)) {
			t.Errorf("the key is in %q", err)
		}
	}
}

func TestIndex_SeparatesKeysAndPurposes(t *testing.T) {
	a, err := keyring.ParseIndex(key(1))
	if err != nil {
		t.Fatal(err)
	}
	b, err := keyring.ParseIndex(key(2))
	if err != nil {
		t.Fatal(err)
	}
	same := a.Of("cpf", "1")
	if !bytes.Equal(same, a.Of("cpf", "1")) {
		t.Error("one value has two indexes")
	}
	for what, other := range map[string][]byte{"value": a.Of("cpf", "2"), "purpose": a.Of("email", "1"), "key": b.Of("cpf", "1")} {
		if bytes.Equal(same, other) {
			t.Errorf("another %s has the same index", what)
		}
	}
}

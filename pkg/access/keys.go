package access

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/nats-io/nkeys"
)

// SeedFile is the name of a seed's file in the folder of the service that it belongs to.
const SeedFile = "nats.nk"

const (
	keysFile     = "keys.conf"
	admin        = "admin"    // makes consumers
	operator     = "operator" // of the server itself
	generated    = "# Made by healthmed-admin; change it with that.\n"
	readableByMe = 0o600
)

// Holders are who has a key besides partners: the services, and the two that healthmed-admin connects with.
func Holders() []string { return []string{"users", "scheduling", "notifier", admin, operator} }

// MakeKeys makes the keys that are missing: for each holder a seed in seeds/<holder>/nats.nk, and the public keys of all of
// them in auth/keys.conf. Keys that are there stay, so that it may run at every start. It returns whose keys are new.
// auth/partners.conf is made empty where there is none.
func MakeKeys(auth, seeds string) (made []string, err error) {
	var conf strings.Builder
	conf.WriteString(generated)
	for _, holder := range Holders() {
		path := filepath.Join(seeds, holder, SeedFile)
		public, fresh, err := makeKey(path)
		if err != nil {
			return made, err
		}
		if fresh {
			made = append(made, holder)
		}
		fmt.Fprintf(&conf, "%s_KEY: %s\n", strings.ToUpper(holder), public)
	}
	if err := os.MkdirAll(auth, 0o755); err != nil {
		return made, fmt.Errorf("access: %w", err)
	}
	if err := replace(filepath.Join(auth, keysFile), []byte(conf.String())); err != nil {
		return made, err
	}
	if _, err := os.Stat(filepath.Join(auth, partnersConf)); errors.Is(err, fs.ErrNotExist) {
		err := registry{}.save(auth)
		return made, err
	}
	return made, nil
}

// makeKey gives the public key of a seed's file, which it makes where it is missing.
func makeKey(path string) (public string, fresh bool, err error) {
	seed, err := os.ReadFile(path)
	if err == nil {
		pair, err := nkeys.ParseDecoratedUserNKey(seed)
		if err != nil {
			return "", false, fmt.Errorf("access: %s: %w", path, err)
		}
		public, err := pair.PublicKey()
		return public, false, err
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return "", false, fmt.Errorf("access: %w", err)
	}
	public, seed, err = newKey()
	if err != nil {
		return "", false, err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return "", false, fmt.Errorf("access: %w", err)
	}
	return public, true, writeSeed(path, seed)
}

func newKey() (public string, seed []byte, err error) {
	pair, err := nkeys.CreateUser()
	if err != nil {
		return "", nil, fmt.Errorf("access: %w", err)
	}
	if public, err = pair.PublicKey(); err != nil {
		return "", nil, fmt.Errorf("access: %w", err)
	}
	if seed, err = pair.Seed(); err != nil {
		return "", nil, fmt.Errorf("access: %w", err)
	}
	return public, seed, nil
}

// writeSeed writes a seed for its owner alone, and never over another file.
func writeSeed(path string, seed []byte) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, readableByMe)
	if err != nil {
		return fmt.Errorf("access: %w", err)
	}
	_, err = f.Write(append(seed, '\n'))
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("access: %s: %w", path, err)
	}
	return nil
}

// replace writes a file beside and renames it, so that the server reads the old one or the new one, whole.
func replace(path string, body []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*")
	if err != nil {
		return fmt.Errorf("access: %w", err)
	}
	_, err = f.Write(body)
	// Public keys alone: the server may run as somebody else.
	if err := errors.Join(err, f.Chmod(0o644), f.Sync(), f.Close()); err != nil {
		return errors.Join(fmt.Errorf("access: %s: %w", path, err), os.Remove(f.Name()))
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return fmt.Errorf("access: %w", err)
	}
	return nil
}

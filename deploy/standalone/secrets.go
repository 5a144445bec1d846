package main

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// secrets are made on the first start and kept in DATA_DIR, readable by the owner alone. Without them the
// encrypted columns cannot be read again: they belong in a backup of DATA_DIR.
type secrets struct {
	// CPFKey encrypts CPFs, CPFIndexKey makes their blind index, TokenKey encrypts the token signing keys.
	CPFKey      string `json:"cpf_key"`
	CPFIndexKey string `json:"cpf_index_key"`
	TokenKey    string `json:"token_key"`

	fresh bool // made by this start and not kept yet
}

const (
	secretsFile = "secrets.json"
	keyBytes    = 32
)

// loadSecrets reads the secrets of a data folder, or makes them; those are kept by keep.
func loadSecrets(dataDir string) (secrets, error) {
	body, err := os.ReadFile(filepath.Join(dataDir, secretsFile))
	if errors.Is(err, fs.ErrNotExist) {
		return secrets{CPFKey: randomKey(), CPFIndexKey: randomKey(), TokenKey: randomKey(), fresh: true}, nil
	}
	if err != nil {
		return secrets{}, fmt.Errorf("secrets: %w", err)
	}
	var s secrets
	if err := json.Unmarshal(body, &s); err != nil || !isKey(s.CPFKey) || !isKey(s.CPFIndexKey) || !isKey(s.TokenKey) {
		return secrets{}, fmt.Errorf("secrets: %s in %s is damaged: restore it from a backup, or remove %[2]s to start anew", secretsFile, dataDir)
	}
	return s, nil
}

// keep writes new secrets to the data folder: on the disk, before anything is encrypted with them.
func (s secrets) keep(dataDir string) error {
	body, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return fmt.Errorf("secrets: %w", err)
	}
	path := filepath.Join(dataDir, secretsFile)
	file, err := os.OpenFile(path+".tmp", os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("secrets: %w", err)
	}
	_, err = file.Write(body)
	// Written beside and renamed, so that a crash leaves all of it or nothing.
	if err := errors.Join(err, file.Sync(), file.Close()); err != nil {
		return fmt.Errorf("secrets: %w", err)
	}
	if err := os.Rename(path+".tmp", path); err != nil {
		return fmt.Errorf("secrets: %w", err)
	}
	return nil
}

func isKey(text string) bool {
	key, err := base64.StdEncoding.DecodeString(text)
	return err == nil && len(key) == keyBytes
}

// randomKey is random bytes in base64.
func randomKey() string {
	var key [keyBytes]byte
	rand.Read(key[:]) // never fails (crypto/rand)
	return base64.StdEncoding.EncodeToString(key[:])
}

// keyed gives a key in the form "id:base64" that key rings are configured with.
func keyed(key string) string { return "k1:" + key }

package config

import (
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Development is the environment in which secrets that everybody knows are accepted.
const Development = "development"

// RefuseKnown refuses, outside development, the secrets that docker-compose.yml has for whoever sets none: keys (of rings
// too) whose bytes begin with the word development, and connection strings whose password it is. secrets are by the names
// of their variables.
func RefuseKnown(environment string, secrets map[string]Secret) error {
	if environment == Development {
		return nil
	}
	var faults []error
	for _, name := range slices.Sorted(maps.Keys(secrets)) {
		if known(secrets[name].Reveal()) {
			faults = append(faults, fmt.Errorf("%s: its value is public, and accepted with ENVIRONMENT=development alone", name))
		}
	}
	return errors.Join(faults...)
}

func known(secret string) bool {
	for part := range strings.SplitSeq(secret, ",") {
		_, key, ring := strings.Cut(part, ":")
		if !ring {
			key = part
		}
		if b, err := base64.StdEncoding.DecodeString(key); err == nil && strings.HasPrefix(string(b), Development) {
			return true
		}
	}
	return strings.Contains(secret, ":"+Development+"@")
}

package access

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

const (
	partnersConf = "partners.conf"
	partnersJSON = "partners.json"
	lockFile     = "partners.lock"
)

// registry is the list of partners, as partners.json keeps it. partners.conf is made from it.
type registry struct {
	Partners []Partner `json:"partners"`
}

func load(auth string) (r registry, err error) {
	body, err := os.ReadFile(filepath.Join(auth, partnersJSON))
	if errors.Is(err, fs.ErrNotExist) {
		return r, nil
	}
	if err != nil {
		return r, fmt.Errorf("access: %w", err)
	}
	if err := json.Unmarshal(body, &r); err != nil {
		return r, fmt.Errorf("access: %s: %w", partnersJSON, err)
	}
	return r, nil
}

func (r registry) save(auth string) error {
	body, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return fmt.Errorf("access: %w", err)
	}
	return errors.Join(replace(filepath.Join(auth, partnersConf), []byte(r.conf())), replace(filepath.Join(auth, partnersJSON), append(body, '\n')))
}

func (r registry) find(name string) int {
	return slices.IndexFunc(r.Partners, func(p Partner) bool { return p.Name == name })
}

func (r registry) without(name string) registry {
	return registry{Partners: slices.DeleteFunc(slices.Clone(r.Partners), func(p Partner) bool { return p.Name == name })}
}

func (r registry) with(p Partner) registry {
	return registry{Partners: append(slices.Clone(r.Partners), p)}
}

// conf is the accounts of all partners in the server's own language.
func (r registry) conf() string {
	var b strings.Builder
	b.WriteString(generated)
	for _, p := range r.Partners {
		if p.Revoked {
			continue
		}
		var subjects []string
		for _, stream := range p.Streams {
			consumer := stream + "." + p.Name
			subjects = append(subjects,
				"$JS.API.CONSUMER.INFO."+consumer, "$JS.API.CONSUMER.MSG.NEXT."+consumer,
				"$JS.ACK."+consumer+".*.*.*.*.*", "$JS.ACK.*.*."+consumer+".*.*.*.*.*")
		}
		fmt.Fprintf(&b, "%s {\n  users: [ { nkey: %s, permissions: {\n    publish: [ \"%s\" ]\n    subscribe: [ \"_INBOX_%s.>\" ]\n  } } ]\n  imports: [\n",
			p.Name, p.Key, strings.Join(subjects, "\", \""), p.Name)
		for _, subject := range subjects {
			fmt.Fprintf(&b, "    { service: { account: HEALTHMED, subject: \"%s\" } }\n", subject)
		}
		fmt.Fprintf(&b, "    { service: { account: HEALTHMED, subject: \"healthmed.partners.%s\" }, to: \"$JS.API.INFO\" }\n", p.Name)
		b.WriteString("  ]\n  limits: { max_connections: 16, max_subscriptions: 256, max_payload: 4096 }\n}\n")
	}
	return b.String()
}

// lock keeps a second healthmed-admin from changing the list meanwhile.
func lock(auth string) (unlock func() error, err error) {
	path := filepath.Join(auth, lockFile)
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("access: another healthmed-admin is changing the partners; if none is, one was broken off: remove %s", path)
	}
	if err != nil {
		return nil, fmt.Errorf("access: %w", err)
	}
	return func() error { return errors.Join(f.Close(), os.Remove(path)) }, nil
}

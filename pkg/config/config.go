// Package config loads one typed struct per binary from the environment.
//
// Fields carry env tags (github.com/caarlos0/env) and are documented where they are declared. A struct
// with a Validate method is checked after parsing. All faults are reported together, so that an operator
// mends a deployment in one round.
package config

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"

	"github.com/caarlos0/env/v11"
)

// Load parses the environment into a T and validates it. The error joins every fault found.
func Load[T any]() (T, error) { return LoadFrom[T](env.ToMap(os.Environ())) }

// LoadFrom is Load with a given environment, for a program that configures several parts of itself. What set does
// to the struct comes before its validation.
func LoadFrom[T any](environ map[string]string, set ...func(*T)) (T, error) {
	cfg, err := env.ParseAsWithOptions[T](env.Options{Environment: environ})
	for _, f := range set {
		f(&cfg)
	}
	faults := []error{err}
	if v, ok := any(cfg).(interface{ Validate() error }); ok && err == nil {
		faults = append(faults, v.Validate())
	}
	if err := errors.Join(faults...); err != nil {
		return cfg, fmt.Errorf("configuration: %w", err)
	}
	return cfg, nil
}

// Secret is a configuration value that never prints: not in logs, errors or JSON. Keep it in exported fields: fmt reads
// unexported ones past every method.
type Secret string

// Reveal returns the value itself, for the one place that needs it.
func (s Secret) Reveal() string { return string(s) }

// Format implements fmt.Formatter without the value, for every verb: a wrong one, such as %d, would print it raw.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, s.String()) }

// String implements fmt.Stringer without the value.
func (s Secret) String() string { return "[secret]" }

// GoString implements fmt.GoStringer without the value.
func (s Secret) GoString() string { return "[secret]" }

// LogValue implements slog.LogValuer without the value.
func (s Secret) LogValue() slog.Value { return slog.StringValue("[secret]") }

// MarshalText keeps the value out of JSON and YAML.
func (s Secret) MarshalText() ([]byte, error) { return []byte("[secret]"), nil }

// Package clock can put a service's clock off, so that what wrong clocks do can be tried out: libfaketime does not move
// the clock of Go programs.
package clock

import (
	"errors"
	"time"
)

// Config of a clock. Embed it in a service's Config.
type Config struct {
	// Environment: development is where DEV_CLOCK_OFFSET may act, and secrets that everybody knows are accepted.
	Environment string `env:"ENVIRONMENT" envDefault:"production"`
	// Offset of the clock, for fault tests alone: refused outside development.
	Offset time.Duration `env:"DEV_CLOCK_OFFSET"`
}

// Validate refuses an offset outside development.
func (c Config) Validate() error {
	if c.Offset != 0 && c.Environment != "development" {
		return errors.New("DEV_CLOCK_OFFSET: it is for fault tests, and needs ENVIRONMENT=development")
	}
	return nil
}

// Or is the given clock, or else the system's, put off.
func (c Config) Or(given func() time.Time) func() time.Time {
	switch {
	case given != nil:
		return given
	case c.Offset == 0:
		return time.Now
	}
	return func() time.Time { return time.Now().Add(c.Offset) }
}

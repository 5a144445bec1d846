package clock_test

import (
	"testing"
	"time"

	"github.com/healthmed/healthmed/pkg/clock"
	"github.com/healthmed/healthmed/pkg/config"
)

func TestClock_IsPutOffInDevelopmentAlone(t *testing.T) {
	type program struct{ Clock clock.Config }
	for environment, allowed := range map[string]bool{"development": true, "production": false, "": false, "Development": false} {
		env := map[string]string{"DEV_CLOCK_OFFSET": "-90s", "ENVIRONMENT": environment}
		cfg, err := config.LoadFrom[program](env)
		if err != nil {
			t.Fatal(err)
		}
		if err := cfg.Clock.Validate(); (err == nil) != allowed {
			t.Errorf("ENVIRONMENT=%q: %v", environment, err)
		}
		if off := time.Until(cfg.Clock.Or(nil)()); off > -89*time.Second || off < -91*time.Second {
			t.Errorf("the clock is off by %s", off)
		}
	}
	cfg, err := config.LoadFrom[program](nil)
	if err != nil || cfg.Clock.Validate() != nil || cfg.Clock.Environment != "production" {
		t.Errorf("by default %+v, %v", cfg.Clock, err)
	}
	noon := time.Date(2026, 12, 1, 12, 0, 0, 0, time.UTC)
	if got := (clock.Config{Offset: time.Hour}).Or(func() time.Time { return noon })(); got != noon {
		t.Errorf("a given clock was put off: %s", got)
	}
}

package notice_test

import (
	"testing"

	"github.com/healthmed/healthmed/services/notifier/internal/notice"
)

func TestDayOf(t *testing.T) {
	for _, tt := range []struct{ zone, moment, first, next string }{
		{"America/Sao_Paulo", "2026-12-01T23:59:59-03:00", "2026-12-01T00:00:00-03:00", "2026-12-02T00:00:00-03:00"},
		{"America/Manaus", "2026-12-02T03:30:00Z", "2026-12-01T00:00:00-04:00", "2026-12-02T00:00:00-04:00"},
		{"America/Sao_Paulo", "2018-11-04T12:00:00-02:00", "2018-11-04T01:00:00-02:00", "2018-11-05T00:00:00-02:00"}, // no midnight
		{"America/Sao_Paulo", "2018-11-03T12:00:00-03:00", "2018-11-03T00:00:00-03:00", "2018-11-04T01:00:00-02:00"},
		{"America/Havana", "2026-11-01T12:00:00-05:00", "2026-11-01T00:00:00-04:00", "2026-11-02T00:00:00-05:00"}, // midnight twice
	} {
		zone := notice.Zone(tt.zone)
		if got := notice.DayOf(at(t, tt.moment), zone); !got.Equal(at(t, tt.first)) {
			t.Errorf("the day of %s in %s begins at %s, want %s", tt.moment, tt.zone, got, tt.first)
		}
		if got := notice.DayAfter(at(t, tt.moment), zone); !got.Equal(at(t, tt.next)) {
			t.Errorf("the day after %s in %s begins at %s, want %s", tt.moment, tt.zone, got, tt.next)
		}
	}
}

package postgres_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/healthmed/healthmed/services/notifier/internal/notice"
	"github.com/healthmed/healthmed/services/notifier/internal/postgres"
)

// The queue is measured every two seconds by every replica: what was sent once, and what waits for its day, isn't read.
func TestStore_GaugesReadTheQueueAlone(t *testing.T) {
	var g postgres.Gauges
	n := rowsRead(t, `
		INSERT INTO deliveries (id, event_id, template, recipient_id, version, detail, status, planned_at, due_at, created_at, updated_at)
		SELECT gen_random_uuid(), gen_random_uuid(), CASE WHEN n % 2 = 0 THEN 'doctor_booked' ELSE 'patient_booked' END, gen_random_uuid(), 1, '{}',
			CASE WHEN n <= 10 THEN 'pending' WHEN n <= 14 THEN 'unknown' WHEN n <= 16 THEN 'sending' WHEN n <= 19 THEN 'waiting'
				WHEN n <= 5000 THEN 'pending' ELSE 'sent' END,
			CASE WHEN n <= 19 OR n > 5000 THEN now() - interval '10 minutes' ELSE now() + interval '1 hour' END,
			CASE WHEN n <= 10 THEN now() + interval '4 minutes' WHEN n <= 14 THEN now() + interval '15 minutes' WHEN n <= 5000 THEN now() + interval '1 hour'
				ELSE now() END, now(), now() FROM generate_series(1, 20000) n`, func(s *postgres.Store) {
		var err error
		if g, err = s.Gauges(t.Context(), notice.Timing{}.WithDefaults(), time.Now()); err != nil {
			t.Fatal(err)
		}
	})
	if g.Oldest < 10*time.Minute || g.Oldest > 11*time.Minute {
		t.Errorf("the oldest was planned %s ago, want ten minutes", g.Oldest)
	}
	g.Oldest = 0
	want := postgres.Gauges{Due: 16, InDoubt: 4, Waiting: 3, Overdue: map[notice.Template]int{"doctor_booked": 8, "patient_booked": 8}}
	if diff := cmp.Diff(want, g); diff != "" {
		t.Error(diff)
	}
	if n > 100 {
		t.Errorf("%d rows of 20000 were read for a queue of 16", n)
	}
}

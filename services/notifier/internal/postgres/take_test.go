package postgres_test

import (
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"

	"github.com/healthmed/healthmed/pkg/outbox"
	"github.com/healthmed/healthmed/pkg/pgtest"
	pkgpostgres "github.com/healthmed/healthmed/pkg/postgres"
	"github.com/healthmed/healthmed/services/notifier/internal/notice"
	"github.com/healthmed/healthmed/services/notifier/internal/postgres"
)

// Two replicas take in different bookings for the same days of the same doctors, in opposite orders: both plan the same
// agendas, and neither may wait for the other in a circle. Each agenda is planned once.
func TestStore_TakeInNeverDeadlocks(t *testing.T) {
	const rounds, doctors = 40, 60
	pool, err := pkgpostgres.Open(t.Context(), pgtest.New(t, outbox.Migrations(), postgres.Migrations()))
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	store, now := postgres.NewStore(pool), time.Now()
	for range rounds {
		var replicas [2][]postgres.Taken
		for range doctors {
			agenda := notice.Draft{EventID: uuid.New(), Template: notice.DoctorAgenda, RecipientID: uuid.New(), PlannedAt: now}
			for i := range replicas {
				replicas[i] = append(replicas[i], postgres.Taken{EventID: uuid.New(), Plan: notice.Plan{Drafts: []notice.Draft{agenda}}})
			}
		}
		slices.Reverse(replicas[1])
		var group errgroup.Group
		for _, taken := range replicas {
			group.Go(func() error {
				_, err := store.TakeIn(t.Context(), taken, now)
				return err
			})
		}
		if err := group.Wait(); err != nil {
			t.Fatal(err)
		}
	}
	var planned int
	if err := pool.QueryRow(t.Context(), `SELECT count(*) FROM deliveries`).Scan(&planned); err != nil || planned != rounds*doctors {
		t.Errorf("%d agendas are planned, want %d: %v", planned, rounds*doctors, err)
	}
}

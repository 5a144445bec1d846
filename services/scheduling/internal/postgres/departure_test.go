package postgres_test

import (
	"testing"
	"time"

	"github.com/healthmed/healthmed/services/scheduling/internal/booking"
	"github.com/healthmed/healthmed/services/scheduling/internal/postgres"
)

// Whoever had nothing before them keeps nobody waiting who left after them.
func TestStore_SettlesAllDeparturesThatAreDue(t *testing.T) {
	t.Parallel()
	db := open(t)
	s := postgres.New(postgres.Config{Pool: db})
	const people = 3
	for range people {
		if err := s.ErasePerson(t.Context(), postgres.Erased{ID: newID(t), Role: booking.Patient, Version: 2, At: time.Now()}); err != nil {
			t.Fatal(err)
		}
	}
	settled := 0
	for {
		n, err := s.SettleDepartures(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if n == 0 {
			break
		}
		settled += n
	}
	if settled != people {
		t.Errorf("%d of %d departures were settled in one round", settled, people)
	}
}

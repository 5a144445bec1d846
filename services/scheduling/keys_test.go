package scheduling_test

import (
	"testing"

	"github.com/healthmed/healthmed/pkg/auth"
)

// Bookings need PostgreSQL and one replica of scheduling, nothing else, though it may have just started.
func TestReplicaStartsWhileTheIssuerIsAway(t *testing.T) {
	s := start(t)
	doctor, patient := s.doctor(allWeek("09:00", "12:00")), s.person(auth.Patient)
	eventually(t, "the keys are kept", func() bool { return s.count(`SELECT count(*) FROM issuer_keys`) == 1 })
	s.issuer.SetDown(true)
	cfg := s.config
	cfg.HTTPListener, cfg.OpsListener = listen(t), listen(t)
	s.run(cfg)
	s.url = "http://" + cfg.HTTPListener.Addr().String()
	s.book(patient, doctor, s.slots(doctor.id, 1)[0].StartsAt)
}

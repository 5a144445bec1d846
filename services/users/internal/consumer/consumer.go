// Package consumer takes in what scheduling tells of appointments: who sees whom. It decides which doctor may read
// which patient, without asking scheduling.
package consumer

import (
	"context"

	"github.com/healthmed/healthmed/pkg/bus"
	"github.com/healthmed/healthmed/pkg/events"
	pkgpostgres "github.com/healthmed/healthmed/pkg/postgres"
	"github.com/healthmed/healthmed/services/users/internal/postgres"
)

// batchSize is how many events are taken in at most in one transaction.
const batchSize = 200

// Run follows the appointments of SCHEDULING until ctx ends.
func Run(ctx context.Context, conn *bus.Conn, store *postgres.Store) error {
	return conn.SubscribeBatch(ctx, bus.Subscription{
		Stream: bus.Scheduling, Durable: "users-scheduling", Subjects: []string{"healthmed.scheduling.appointment.>"},
		Unavailable: pkgpostgres.IsUnavailable,
	}, batchSize, func(ctx context.Context, ms []bus.Message) error {
		latest := make([]postgres.Appointment, 0, len(ms))
		for _, m := range ms {
			if a, stands, ok := appointment(m.Data); ok { // else an event of a later version of the contract
				latest = append(latest, postgres.Appointment{
					ID: a.AppointmentID, DoctorID: a.DoctorID, PatientID: a.PatientID, Version: a.Version, Stands: stands,
				})
			}
		}
		return store.KeepAppointments(ctx, latest)
	})
}

// appointment is what an event says of one, and whether it stands after it.
func appointment(ev events.Event) (a events.Appointment, stands, ok bool) {
	switch ev := ev.(type) {
	case *events.AppointmentRequested:
		return ev.Appointment, true, true
	case *events.AppointmentBooked:
		return ev.Appointment, true, true
	case *events.AppointmentRescheduled:
		return ev.Appointment, true, true
	case *events.AppointmentCompleted:
		return ev.Appointment, true, true
	case *events.AppointmentNoShow:
		return ev.Appointment, true, true
	case *events.AppointmentDeclined:
		return ev.Appointment, false, true
	case *events.AppointmentCancelled:
		return ev.Appointment, false, true
	}
	return events.Appointment{}, false, false
}

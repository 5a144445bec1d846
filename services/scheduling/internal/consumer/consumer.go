// Package consumer keeps scheduling's projection of people: events of the USERS stream in, store out.
package consumer

import (
	"context"
	"errors"

	"github.com/healthmed/healthmed/pkg/bus"
	"github.com/healthmed/healthmed/pkg/events"
	pg "github.com/healthmed/healthmed/pkg/postgres"
	"github.com/healthmed/healthmed/services/scheduling/internal/booking"
	"github.com/healthmed/healthmed/services/scheduling/internal/postgres"
)

// subjects that the projection is made of.
const subjects = "healthmed.users.user.*.v1.*"

// Subscription is the durable consumer of USERS.
func Subscription(store *postgres.Store) bus.Subscription {
	return bus.Subscription{
		Stream:   bus.Users,
		Durable:  "scheduling-users",
		Subjects: []string{subjects},
		Handle:   handler(store.SavePerson, store.ErasePerson),
		// An outage of the database is waited out: it is not the event's fault.
		Unavailable: pg.IsUnavailable,
	}
}

// Rebuild makes the projection anew from the stream. The service may run meanwhile.
func Rebuild(ctx context.Context, conn *bus.Conn, store *postgres.Store) (events int, found postgres.Rebuilt, err error) {
	r, err := store.BeginRebuild(ctx)
	if err != nil {
		return 0, found, err
	}
	defer r.Close(ctx)
	handle := handler(r.Save, r.Erase)
	first, err := conn.Replay(ctx, bus.Users, []string{subjects}, 0, handle)
	if err != nil {
		return 0, found, err
	}
	var since bus.Replayed
	found, err = r.Finish(ctx, func(ctx context.Context) error {
		since, err = conn.Replay(ctx, bus.Users, []string{subjects}, first.LastSeq, handle)
		return err
	})
	return first.Events + since.Events, found, err
}

// handler is idempotent: the store compares versions.
func handler(save func(context.Context, postgres.Person) error, erase func(context.Context, postgres.Erased) error) bus.Handler {
	return func(ctx context.Context, m bus.Message) error {
		switch ev := m.Data.(type) {
		case *events.UserRegistered:
			return save(ctx, person(*ev, m.Sequence))
		case *events.UserUpdated:
			return save(ctx, person(events.UserRegistered(*ev), m.Sequence))
		case *events.UserErased:
			role, err := role(ev.Role)
			if err != nil {
				return err
			}
			return erase(ctx, postgres.Erased{ID: ev.UserID, Role: role, Version: m.Sequence, At: ev.OccurredAt})
		}
		return nil // an event that this version doesn't know
	}
}

func person(ev events.UserRegistered, version int64) postgres.Person {
	p := postgres.Person{
		ID: ev.UserID, Role: booking.Role(ev.Role), Status: ev.Status, Name: ev.Name, Version: version,
	}
	if ev.Doctor != nil {
		p.CRMNumber, p.CRMState, p.Specialties = ev.Doctor.CRM.Number, ev.Doctor.CRM.State, ev.Doctor.Specialties
	}
	return p
}

func role(name string) (booking.Role, error) {
	switch r := booking.Role(name); r {
	case booking.Patient, booking.Doctor, booking.Admin:
		return r, nil
	}
	return "", bus.Permanent(errors.New("consumer: no such role"))
}

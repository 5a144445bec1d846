package consumer

import (
	"context"

	"github.com/healthmed/healthmed/pkg/bus"
	"github.com/healthmed/healthmed/services/notifier/internal/postgres"
)

// Rebuild makes what is known of people and appointments anew from the streams, and nothing else: no delivery is planned,
// and the record of events that were taken in stays. The service may run meanwhile.
func (c *Consumer) Rebuild(ctx context.Context) (events int, found postgres.Rebuilt, err error) {
	r, err := c.cfg.Store.BeginRebuild(ctx)
	if err != nil {
		return 0, found, err
	}
	defer r.Close(ctx)
	handlers := map[string]bus.Handler{
		bus.Users: func(ctx context.Context, m bus.Message) error {
			_, err := keepContact(ctx, r, m, m.Stored)
			return err
		},
		bus.Scheduling: func(ctx context.Context, m bus.Message) error {
			if a := c.cfg.Policy.PlanFor(m.Envelope).Appointment; a != nil {
				return r.SaveAppointment(ctx, *a, m.Stored)
			}
			return nil
		},
	}
	reached := map[string]uint64{}
	read := func(ctx context.Context) error {
		for stream, handle := range handlers {
			done, err := c.cfg.Conn.Replay(ctx, stream, nil, reached[stream], handle)
			if err != nil {
				return err
			}
			reached[stream], events = done.LastSeq, events+done.Events
		}
		return nil
	}
	if err := read(ctx); err != nil {
		return events, found, err
	}
	found, err = r.Finish(ctx, c.cfg.Now(), read)
	return events, found, err
}

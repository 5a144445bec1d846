package scenario

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"

	"github.com/healthmed/healthmed/pkg/events"
	"github.com/healthmed/healthmed/pkg/outbox"
	"github.com/healthmed/healthmed/tests/load/bench"
)

const bareBooking = "the same inserts by a pgx loop, one transaction each"

// booking is the write that the whole system is about.
func booking() bench.Scenario {
	return bench.Scenario{
		Name: "booking", Without: []string{"notifier", "users"},
		What: "POST /v1/appointments with token and Idempotency-Key, outbox relay running, the other services off. Flat out in turns with a pgx loop that writes the same four rows into the same tables in one implicit transaction; then at 60 % of that rate for the latency.",
		Run: func(ctx context.Context, w *bench.World) ([]bench.Row, error) {
			if err := prepareBooking(w); err != nil {
				return nil, err
			}
			var rows []bench.Row
			for _, connections := range []int{1, 32, 64, 256} {
				row, err := besideLoop(ctx, w, fmt.Sprintf("booking/%d connections", connections), connections, bareBooking, book(w, nil), bareBook(w))
				if err != nil {
					return nil, err
				}
				rows = append(rows, row)
				rate := max(1, 0.6*row.PerSecond)
				rows = append(rows, openLoad(ctx, w, fmt.Sprintf("booking/%d connections, 60 %%", connections), rate, connections, 3*time.Second, book(w, nil)))
			}
			return rows, skipMail(ctx, w)
		},
	}
}

// prepareBooking signs every patient's token, which is this program's work and none of the system's, and searches once:
// whoever books has looked for a time before, and a service has been found by searches before it is found by thousands.
func prepareBooking(w *bench.World) error {
	w.Tokens.Make(w.Data.Patients)
	return w.SchedulingAPI.Do(bench.Call{Path: "/v1/slots?specialty=cardiology"})
}

// bookingWithMail is the same while every booking's e-mails are sent.
func bookingWithMail() bench.Scenario {
	return bench.Scenario{
		Name: "booking-with-mail",
		What: "The same with users and notifier running, which take each booking in and send its two e-mails from the same processors.",
		Run: func(ctx context.Context, w *bench.World) ([]bench.Row, error) {
			var rows []bench.Row
			sizes := []int{32, 64}
			if w.Config.Quick {
				sizes = []int{64}
			}
			for _, connections := range sizes {
				row, err := besideLoop(ctx, w, fmt.Sprintf("booking-with-mail/%d connections", connections), connections, bareBooking, book(w, nil), bareBook(w))
				if err != nil {
					return nil, err
				}
				rows = append(rows, row)
			}
			return rows, skipMail(ctx, w)
		},
	}
}

// besideLoop measures calls flat out in turns with a loop in this program, so that a busy machine is busy for both.
func besideLoop(ctx context.Context, w *bench.World, name string, connections int, what string, do, loop func(n int) error) (bench.Row, error) {
	rounds := rounds(w)
	during := w.Seconds(2 * time.Second)
	var ours, bare bench.Measured
	var usage []bench.Usage
	for range rounds {
		bare = bare.And(w.Limits.Loop(ctx, min(connections, loopWorkers), during, loop))
		usage = w.Watch(ctx, func() {
			ours = ours.And(bench.Load{Workers: connections, For: during, Warmup: warmup, Do: do}.Run(ctx))
		})
	}
	if bare.Failed() > 0 {
		return bench.Row{}, fmt.Errorf("%s: the loop beside it failed: %v", name, bare.Errors)
	}
	row := bench.RowOf(name, closed(connections), ours).Beside(what, bare.PerSecond())
	row.Usage = usage
	return row, nil
}

// loopWorkers bounds the loops: each has a database connection of its own.
const loopWorkers = 64

// appointment that was booked.
type appointment struct {
	id   uuid.UUID
	slot bench.Slot
}

// book books the next free slot. booked, where given, hears of each.
func book(w *bench.World, booked func(n int, a appointment)) func(n int) error {
	run := uuid.NewString()
	return func(n int) error {
		if w.Slots.Left() <= 0 {
			return errors.New("no slot is left: more doctors are needed")
		}
		s := w.Slots.Next()
		call := bench.Call{
			Method: "POST", Path: "/v1/appointments", Token: w.Tokens.Of(s.Patient), Key: run + strconv.Itoa(n), Want: 201,
			Body: `{"doctor_id":"` + s.Doctor.ID.String() + `","starts_at":"` + s.StartsAt.Format(time.RFC3339) + `","reason":"retorno"}`,
		}
		if booked != nil {
			call.Read = func(_ int, body []byte) error {
				id, err := idOf(body)
				if err == nil {
					booked(n, appointment{id: id, slot: s})
				}
				return err
			}
		}
		return w.SchedulingAPI.Do(call)
	}
}

func idOf(body []byte) (uuid.UUID, error) {
	var answer struct {
		ID uuid.UUID `json:"id"`
	}
	err := json.Unmarshal(body, &answer)
	return answer.ID, err
}

// bareBook writes the rows of a booking as one pipelined batch, which is one transaction: the fastest that a client of
// pgx can. The event is marked as published, so that it is nobody's work.
func bareBook(w *bench.World) func(n int) error {
	return func(int) error {
		s := w.Slots.Next()
		id, err := uuid.NewV7()
		if err != nil {
			return err
		}
		now, end := time.Now(), s.StartsAt.Add(30*time.Minute)
		env, err := events.New(&events.AppointmentBooked{Appointment: events.Appointment{
			AppointmentID: id, DoctorID: s.Doctor.ID, PatientID: s.Patient.ID, StartsAt: s.StartsAt, EndsAt: end,
			TimeZone: "America/Sao_Paulo", Status: "booked", Version: 1, OccurredAt: now,
			Actor: events.Actor{Role: "patient", ID: s.Patient.ID},
		}}, 1)
		if err != nil {
			return err
		}
		row, err := outbox.NewRow(context.Background(), env)
		if err != nil {
			return err
		}
		batch := &pgx.Batch{}
		batch.Queue(`INSERT INTO appointments (id, doctor_id, patient_id, status, starts_at, ends_at, blocked_until, time_zone,
reason, version, created_at, updated_at) VALUES ($1, $2, $3, 'booked', $4, $5, $5, 'America/Sao_Paulo', 'retorno', 1, $6, $6)
ON CONFLICT DO NOTHING`, id, s.Doctor.ID, s.Patient.ID, s.StartsAt, end, now)
		batch.Queue(`INSERT INTO appointment_history (appointment_id, version, action, status, actor_role, actor_id, starts_at,
ends_at, at) VALUES ($1, 1, 'booked', 'booked', 'patient', $2, $3, $4, $5)`, id, s.Patient.ID, s.StartsAt, end, now)
		batch.Queue(`INSERT INTO idempotency_keys (caller, key, fingerprint, status, location, body, created_at)
VALUES ($1, $2, $3, 201, '', $4, $5)`, s.Patient.ID, id.String(), id[:], row.Data, now)
		batch.Queue(`INSERT INTO outbox (id, subject, aggregate_id, aggregate_version, headers, data, published_at)
VALUES ($1, $2, $3, $4, $5, $6, now())`, row.ID, row.Subject, row.AggregateID, row.AggregateVersion, row.Headers, row.Data)
		return w.Scheduling.SendBatch(context.Background(), batch).Close()
	}
}

// skipMail marks the events of what was booked as taken in by the notifier, which then sends nothing for those that it
// hasn't come to: what follows would otherwise wait for tens of thousands of e-mails that nobody measures.
func skipMail(ctx context.Context, w *bench.World) error {
	rows, err := w.Scheduling.Query(ctx, `SELECT id FROM outbox WHERE created_at > now() - interval '1 hour'`)
	if err != nil {
		return err
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[uuid.UUID])
	if err != nil {
		return err
	}
	_, err = w.Notifier.Exec(ctx, `INSERT INTO inbox (event_id, received_at) SELECT id, now() FROM unnest($1::uuid[]) AS id ON CONFLICT DO NOTHING`, ids)
	return err
}

// bookMany books so many appointments as fast as it can.
func bookMany(ctx context.Context, w *bench.World, count int) ([]appointment, error) {
	booked := make([]appointment, count)
	do := book(w, func(n int, a appointment) { booked[n] = a })
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(64)
	for n := range count {
		if ctx.Err() != nil {
			break
		}
		group.Go(func() error { return do(n) })
	}
	return booked, group.Wait()
}

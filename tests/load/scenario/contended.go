package scenario

import (
	"cmp"
	"context"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/healthmed/healthmed/tests/load/bench"
)

// contended lets 64 patients want each slot.
func contended() bench.Scenario {
	const patients = 64
	return bench.Scenario{
		Name: "contended", Without: []string{"notifier"},
		What: "64 patients at once try for each slot: one gets it (201), the others are told that it is taken (409). The limit is a pgx loop that tries the same insert with ON CONFLICT DO NOTHING, as contended. Afterwards the database is asked for overlaps.",
		Run: func(ctx context.Context, w *bench.World) ([]bench.Row, error) {
			var won, bareTries atomic.Int64
			people := w.Data.Bookers()
			// Slot n/64 is wanted by the 64 patients n%64, shifted so that a patient wants another time with each slot.
			slot := func(n int, from func(int) time.Time) bench.Slot {
				k := n / patients
				return bench.Slot{
					Doctor: w.Data.Doctors[k%len(w.Data.Doctors)], StartsAt: from(k),
					Patient: people[(k*patients+n%patients)%len(people)],
				}
			}
			const most = 1 << 20
			ours, theirs := w.Slots.Reserve(most/patients), w.Slots.Reserve(most/patients)
			run := uuid.NewString()
			row, err := besideLoop(ctx, w, "contended/64 patients a slot", patients, "the same contended insert by a pgx loop",
				func(n int) error {
					s := slot(n, ours)
					return w.SchedulingAPI.Do(bench.Call{
						Method: "POST", Path: "/v1/appointments", Token: w.Tokens.Of(s.Patient), Key: run + strconv.Itoa(n), Want: 201, Also: 409,
						Body: `{"doctor_id":"` + s.Doctor.ID.String() + `","starts_at":"` + s.StartsAt.Format(time.RFC3339) + `"}`,
						Read: func(status int, _ []byte) error {
							if status == 201 {
								won.Add(1)
							}
							return nil
						},
					})
				},
				func(int) error {
					s := slot(int(bareTries.Add(1)-1), theirs)
					_, err := w.Scheduling.Exec(ctx, tryInsert, uuid.New(), s.Doctor.ID, s.Patient.ID, s.StartsAt, s.StartsAt.Add(30*time.Minute))
					return err
				})
			if err != nil {
				return nil, err
			}
			overlaps, err := overlapping(ctx, w)
			if err != nil {
				return nil, err
			}
			row = row.With("overlaps", float64(overlaps)).With("winners", float64(won.Load()))
			return []bench.Row{row}, skipMail(ctx, w)
		},
	}
}

const tryInsert = `INSERT INTO appointments (id, doctor_id, patient_id, status, starts_at, ends_at, blocked_until, time_zone,
version, created_at, updated_at) VALUES ($1, $2, $3, 'booked', $4, $5, $5, 'America/Sao_Paulo', 1, now(), now())
ON CONFLICT DO NOTHING`

// overlapping counts the pairs of occupying appointments of one doctor, or one patient, that overlap. It sorts instead of
// trusting the index that is to prevent them.
func overlapping(ctx context.Context, w *bench.World) (n int, err error) {
	for _, who := range []string{"doctor_id", "patient_id"} {
		var found int
		err := w.Scheduling.QueryRow(ctx, `SELECT count(*) FROM (
SELECT starts_at, lag(blocked_until) OVER (PARTITION BY `+who+` ORDER BY starts_at) AS before FROM appointments
WHERE status IN ('held', 'requested', 'booked') AND starts_at > now()) AS a WHERE starts_at < before`).Scan(&found)
		if err != nil {
			return 0, err
		}
		n += found
	}
	return n, nil
}

// reschedule moves appointments to another day.
func reschedule() bench.Scenario {
	const connections = 32
	return bench.Scenario{
		Name: "reschedule", Without: []string{"notifier"},
		What: "POST /v1/appointments/{id}/reschedule, each appointment once. The limit is a pgx loop that does the same: two advisory locks, the update, history, event and key, in one transaction of one round trip.",
		Run: func(ctx context.Context, w *bench.World) ([]bench.Row, error) {
			prepared := 30_000
			if w.Config.Quick {
				prepared = 5_000
			}
			booked, err := bookMany(ctx, w, prepared)
			if err != nil {
				return nil, err
			}
			// The slots of one such run are of consecutive doctors, whose spare times are apart for that reason.
			sortBySlot(booked)
			to := w.Slots.Reserve(prepared)
			var next atomic.Int64
			run := uuid.NewString()
			take := func() (appointment, time.Time, error) {
				i := int(next.Add(1) - 1)
				if i >= prepared {
					return appointment{}, time.Time{}, bench.ErrEnough // all were moved already
				}
				return booked[i], to(i), nil
			}
			row, err := besideLoop(ctx, w, "reschedule/32 connections", connections, "the same statements by a pgx loop, one transaction each",
				func(n int) error {
					a, at, err := take()
					if err != nil {
						return err
					}
					return w.SchedulingAPI.Do(bench.Call{
						Method: "POST", Path: "/v1/appointments/" + a.id.String() + "/reschedule", Token: w.Tokens.Of(a.slot.Patient),
						Key: run + strconv.Itoa(n), Body: `{"starts_at":"` + at.Format(time.RFC3339) + `"}`,
					})
				},
				func(int) error {
					a, at, err := take()
					if err != nil {
						return err
					}
					return bareMove(ctx, w, a, at)
				})
			if err != nil {
				return nil, err
			}
			return []bench.Row{row}, skipMail(ctx, w)
		},
	}
}

func bareMove(ctx context.Context, w *bench.World, a appointment, at time.Time) error {
	end, id := at.Add(30*time.Minute), uuid.New()
	b := &pgx.Batch{}
	b.Queue(`SELECT pg_advisory_xact_lock(hashtextextended($1::text, 0)), pg_advisory_xact_lock(hashtextextended($2::text, 0))`,
		a.slot.Doctor.ID.String(), a.slot.Patient.ID.String())
	b.Queue(`UPDATE appointments SET starts_at = $2, ends_at = $3, blocked_until = $3, version = version + 1, updated_at = now() WHERE id = $1`, a.id, at, end)
	b.Queue(`INSERT INTO appointment_history (appointment_id, version, action, status, actor_role, actor_id, starts_at, ends_at, at)
VALUES ($1, 2, 'rescheduled', 'booked', 'patient', $2, $3, $4, now())`, a.id, a.slot.Patient.ID, at, end)
	b.Queue(`INSERT INTO idempotency_keys (caller, key, fingerprint, status, location, body, created_at)
VALUES ($1, $2, $3, 200, '', $4, now())`, a.slot.Patient.ID, id.String(), id[:], make([]byte, 400))
	b.Queue(`INSERT INTO outbox (id, subject, aggregate_id, aggregate_version, headers, data, published_at)
VALUES ($1, 'healthmed.scheduling.appointment.rescheduled.v1.x.x', $2, 2, '{}', $3, now())`, id, a.id, make([]byte, 700))
	return w.Scheduling.SendBatch(ctx, b).Close()
}

// sortBySlot puts appointments into the order of their slots.
func sortBySlot(list []appointment) {
	slices.SortFunc(list, func(a, b appointment) int { return cmp.Compare(a.slot.Order(), b.slot.Order()) })
}

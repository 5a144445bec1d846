package scenario

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/healthmed/healthmed/pkg/events"
	"github.com/healthmed/healthmed/tests/load/bench"
)

// emails measures the notifier from the event to the mail service's yes. Each booking is two e-mails.
func emails() bench.Scenario {
	const rate, burst = 200, 5000
	return bench.Scenario{
		Name: "emails",
		What: "Booking events to accepted e-mails, two each, with the sending rate lifted: first 200 e-mails a second for the latency from the event to acceptance, then all at once.",
		Run: func(ctx context.Context, w *bench.World) ([]bench.Row, error) {
			paced, err := sendEmails(ctx, w, "emails/paced", int(rate/2*w.Seconds(10*time.Second).Seconds()), rate/2)
			if err != nil {
				return nil, err
			}
			flat, err := sendEmails(ctx, w, "emails/all at once", int(burst*w.Seconds(10*time.Second)/(10*time.Second)), 0)
			return []bench.Row{paced, flat}, err
		},
	}
}

// sendEmails publishes bookings, perSecond or as fast as the stream takes them, and waits until their e-mails are accepted.
func sendEmails(ctx context.Context, w *bench.World, name string, bookings int, perSecond float64) (bench.Row, error) {
	ids := make([]uuid.UUID, bookings)
	began := time.Now()
	var failed error
	usage := w.Watch(ctx, func() {
		for i := range ids {
			if perSecond > 0 {
				time.Sleep(time.Until(began.Add(time.Duration(float64(i) / perSecond * float64(time.Second)))))
			}
			if ids[i], failed = publishBooking(w, i); failed != nil {
				return
			}
		}
		failed = emailsAccepted(ctx, w, ids)
	})
	if failed != nil {
		return bench.Row{}, failed
	}
	row := bench.Row{Name: name, Load: fmt.Sprintf("%d bookings at once", bookings), Done: int64(2 * bookings), Usage: usage}
	if perSecond > 0 {
		row.Load, row.Offered = fmt.Sprintf("open, %.0f e-mails/s", 2*perSecond), 2*perSecond
	}
	hist := bench.NewHistogram()
	rows, err := w.Notifier.Query(ctx, `SELECT sent_at - planned_at, extract(epoch FROM max(sent_at) OVER () - min(planned_at) OVER ())::float8
		FROM deliveries WHERE appointment_id = ANY($1) AND status = 'sent'`, ids)
	if err != nil {
		return row, err
	}
	defer rows.Close()
	for rows.Next() {
		var took time.Duration
		var whole float64
		if err := rows.Scan(&took, &whole); err != nil {
			return row, err
		}
		bench.Record(hist, took)
		row.PerSecond = float64(2*bookings) / whole
	}
	if perSecond > 0 { // all at once, the latency is only how long the queue was
		row.Latency = bench.LatencyOf(hist)
	}
	return row, rows.Err()
}

// publishBooking puts a booking into the stream, as scheduling's outbox would.
func publishBooking(w *bench.World, n int) (uuid.UUID, error) {
	doctor, patient := w.Data.Doctors[n%len(w.Data.Doctors)], w.Data.Patients[n%len(w.Data.Patients)]
	now := time.Now()
	start := now.AddDate(0, 0, 200).Truncate(time.Hour)
	id, err := uuid.NewV7()
	if err != nil {
		return id, err
	}
	env, err := events.New(&events.AppointmentBooked{Appointment: events.Appointment{
		AppointmentID: id, DoctorID: doctor.ID, PatientID: patient.ID, StartsAt: start, EndsAt: start.Add(30 * time.Minute),
		TimeZone: "America/Sao_Paulo", Status: "booked", Version: 1, Actor: events.Actor{Role: "patient", ID: patient.ID}, OccurredAt: now,
	}}, 1)
	if err != nil {
		return id, err
	}
	body, err := env.Encode()
	if err != nil {
		return id, err
	}
	_, err = w.JS.PublishAsync(env.Data.Subject(), body)
	return id, err
}

// emailsAccepted waits until both e-mails of each booking are accepted.
func emailsAccepted(ctx context.Context, w *bench.World, appointments []uuid.UUID) error {
	var sent int
	err := w.Eventually(ctx, 3*time.Minute, "e-mails are accepted", func(ctx context.Context) (bool, error) {
		err := w.Notifier.QueryRow(ctx, `SELECT count(*) FROM deliveries WHERE appointment_id = ANY($1) AND status = 'sent'`,
			appointments).Scan(&sent)
		return sent == 2*len(appointments), err
	})
	if err != nil {
		return fmt.Errorf("%d of %d, not: %s: %w", sent, 2*len(appointments), notAccepted(w, appointments), err)
	}
	return nil
}

// notAccepted says what became of the other e-mails.
func notAccepted(w *bench.World, appointments []uuid.UUID) string {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	var became string
	err := w.Notifier.QueryRow(ctx, `SELECT coalesce(string_agg(format('%s %s %s (attempts %s)', template, status, last_error, attempts), ', '), 'not planned')
		FROM deliveries WHERE appointment_id = ANY($1) AND status <> 'sent' AND planned_at < now()`, appointments).Scan(&became)
	if err != nil {
		return err.Error()
	}
	return became
}

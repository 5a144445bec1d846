package events_test

import (
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/healthmed/healthmed/pkg/events"
)

// A subscriber decodes with one call and switches over the type. What it doesn't know it lets pass.
func ExampleDecode() {
	message := []byte(`{
		"specversion": "1.0", "id": "0193b5a0-7a00-7000-8000-0000000000e5", "source": "/healthmed/scheduling",
		"type": "br.com.healthmed.scheduling.appointment.booked.v1", "subject": "0193b5a0-7a00-7000-8000-0000000000b1",
		"time": "2026-12-02T15:10:00Z", "datacontenttype": "application/json", "sequence": "00000000000000000001",
		"data": {
			"appointment_id": "0193b5a0-7a00-7000-8000-0000000000b1", "doctor_id": "0193b5a0-7a00-7000-8000-00000000d0c1",
			"patient_id": "0193b5a0-7a00-7000-8000-0000000000a1", "starts_at": "2026-12-10T12:00:00Z",
			"ends_at": "2026-12-10T12:30:00Z", "time_zone": "America/Sao_Paulo", "status": "booked", "version": 1,
			"actor": {"role": "patient", "id": "0193b5a0-7a00-7000-8000-0000000000a1"}, "occurred_at": "2026-12-02T15:10:00Z"
		}
	}`)

	event, err := events.Decode(message)
	if err != nil {
		fmt.Println("set it aside:", err)
		return
	}
	switch e := event.Data.(type) {
	case *events.AppointmentBooked:
		fmt.Println("booked for", e.StartsAt.Format(time.RFC3339), "by the", e.Actor.Role)
	case *events.AppointmentCancelled:
		fmt.Println("cancelled by the", e.CancelledBy.Role)
	default:
		fmt.Println("not for us:", e.Type())
	}
	// Output: booked for 2026-12-10T12:00:00Z by the patient
}

// Delivery is at least once. The id tells a second copy of an event; the sequence, compared with the highest seen
// for the same aggregate, tells an old one.
func ExampleDecode_duplicates() {
	definition, _ := events.Lookup("br.com.healthmed.scheduling.appointment.rescheduled.v1")
	message := definition.Example()

	handled := map[uuid.UUID]bool{} // in a real system: a table, written in the same transaction as the effect
	latest := map[uuid.UUID]int64{} // likewise, a column of the appointment
	for range 2 {
		event, err := events.Decode(message)
		if err != nil {
			fmt.Println(err)
			return
		}
		id := event.Data.AggregateID()
		if handled[event.ID] || event.Sequence <= latest[id] {
			fmt.Println("seen before")
			continue
		}
		handled[event.ID], latest[id] = true, event.Sequence
		fmt.Println("handled version", event.Sequence)
	}
	// Output:
	// handled version 2
	// seen before
}

// A message that breaks the contract will not get better: terminate it instead of having it delivered again.
func ExampleDecode_invalid() {
	_, err := events.Decode([]byte(`{"specversion": "0.3", "id": "7"}`))
	fmt.Println(errors.Is(err, events.ErrInvalid))
	// Output: true
}

// An event of the next version is not an error.
func ExampleUnknown() {
	event, err := events.Decode([]byte(`{
		"specversion": "1.0", "id": "0193b5a0-7a00-7000-8000-0000000000e6", "source": "/healthmed/scheduling",
		"type": "br.com.healthmed.scheduling.appointment.booked.v2", "subject": "0193b5a0-7a00-7000-8000-0000000000b1",
		"time": "2027-12-02T15:10:00Z", "datacontenttype": "application/json", "sequence": "00000000000000000001",
		"data": {"room": "12"}
	}`))
	unknown, ok := event.Data.(*events.Unknown)
	fmt.Println(err, ok, unknown.Type(), string(unknown.Raw))
	// Output: <nil> true br.com.healthmed.scheduling.appointment.booked.v2 {"room": "12"}
}

// A publisher wraps the event, and sends the body with its headers to the event's subject.
func ExampleNew() {
	doctor := uuid.MustParse("0193b5a0-7a00-7000-8000-00000000d0c1")
	event, err := events.New(&events.AvailabilityChanged{
		DoctorID: doctor, Version: 7, OccurredAt: time.Date(2026, 12, 1, 16, 0, 0, 0, time.UTC),
	}, 7)
	if err != nil {
		fmt.Println(err)
		return
	}
	body, err := event.Encode()
	fmt.Println(event.Data.Subject())
	fmt.Println(event.Headers()["Nats-Msg-Id"] == event.ID.String(), len(body) > 0, err)
	// Output:
	// healthmed.scheduling.availability.changed.v1.0193b5a0-7a00-7000-8000-00000000d0c1
	// true true <nil>
}

// The registry lists the contract: here, the filters of a consumer of everything about appointments' outcomes.
func ExampleLookup() {
	for _, t := range []string{"appointment.completed", "appointment.no_show"} {
		d, _ := events.Lookup("br.com.healthmed.scheduling." + t + ".v1")
		fmt.Println(d.Stream, d.Filter())
	}
	// Output:
	// SCHEDULING healthmed.scheduling.appointment.completed.v1.>
	// SCHEDULING healthmed.scheduling.appointment.no_show.v1.>
}

package scenario

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/healthmed/healthmed/tests/load/bench"
	"github.com/healthmed/healthmed/tests/load/fill"
)

// The knee is where the slowest hundredth waits longer than people do, or where answers fail.
const (
	kneeP99       = 500.0 // ms
	kneeErrors    = 0.01
	dayStart      = 200.0
	dayStep       = 1.4
	mostSteps     = 14
	dayWorkers    = 256
	searchedDates = 7
)

// day raises a day's mix until the system gives in.
func day() bench.Scenario {
	return bench.Scenario{
		Name: "day",
		What: "A mixed day, everything running: 30 % slots of a doctor, 25 % doctor search, 20 % own profile, 10 % own appointments, 5 % who is free first in a specialty; 7 % bookings, 2 % cancellations, 1 % moves. The rate rises by 40 % a step until p99 passes 500 ms, or 1 % fails: the knee is the last step before.",
		Run: func(ctx context.Context, w *bench.World) ([]bench.Row, error) {
			mix := newMix(w)
			var rows []bench.Row
			var last bench.Row
			rate := dayStart
			if w.Config.Quick {
				rate *= 2
			}
			for range mostSteps {
				row := openLoad(ctx, w, fmt.Sprintf("day/%.0f a second", rate), rate, dayWorkers, 6*time.Second, mix.do)
				row.Curve = "A mixed day: latency against load"
				rows = append(rows, row)
				if row.Latency == nil || row.Latency.P99 > kneeP99 || float64(row.Errors) > kneeErrors*float64(row.Done) {
					break
				}
				last = row
				rate *= dayStep
			}
			last.Name, last.Curve = "day/knee", ""
			return append(rows, last), skipMail(ctx, w)
		},
	}
}

// mix is what people do on a day.
type mix struct {
	w        *bench.World
	searches []string
	run      string

	mu     sync.Mutex
	booked []appointment // not cancelled or moved yet
}

func newMix(w *bench.World) *mix {
	return &mix{w: w, searches: searches(w), run: uuid.NewString()}
}

// do is one person's step. The places of the kinds within a hundred are spread by a multiplier without a common divisor.
func (m *mix) do(n int) error {
	w := m.w
	patients := w.Data.Bookers()
	token := func() string { return w.Tokens.Of(patients[n%min(len(patients), 5000)]) }
	doctor := w.Data.Doctors[n%len(w.Data.Doctors)]
	switch k := (n * 37) % 100; {
	case k < 30:
		return w.SchedulingAPI.Do(bench.Call{Path: fmt.Sprintf("/v1/doctors/%s/slots?from=%s&to=%s", doctor.ID, w.Data.Day(0), w.Data.Day(searchedDates))})
	case k < 55:
		return w.UsersAPI.Do(bench.Call{Path: m.searches[n%len(m.searches)]})
	case k < 75:
		return w.UsersAPI.Do(bench.Call{Path: "/v1/me", Token: token()})
	case k < 85:
		return w.SchedulingAPI.Do(bench.Call{Path: "/v1/appointments", Token: token()})
	case k < 90:
		return w.SchedulingAPI.Do(bench.Call{Path: "/v1/slots?specialty=" + fill.Specialties()[n%len(fill.Specialties())]})
	case k < 97:
		return m.book(n)
	case k < 99:
		return m.change(n, "cancel", func(appointment) string { return `{"reason":"viagem"}` })
	default:
		return m.change(n, "reschedule", func(a appointment) string {
			return `{"starts_at":"` + a.slot.StartsAt.AddDate(0, 0, moveDays).Format(time.RFC3339) + `"}`
		})
	}
}

// moveDays keeps the weekday and the hour. Bookings of a run lie within a few days from the first on: what lies so much
// later is free.
const moveDays = 63

func (m *mix) book(n int) error {
	return book(m.w, func(_ int, a appointment) {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.booked = append(m.booked, a)
	})(n)
}

// change cancels or moves an appointment that was booked before. Until there is one, it books.
func (m *mix) change(n int, what string, body func(appointment) string) error {
	m.mu.Lock()
	if len(m.booked) == 0 {
		m.mu.Unlock()
		return m.book(n)
	}
	a := m.booked[0]
	m.booked = m.booked[1:]
	m.mu.Unlock()
	return m.w.SchedulingAPI.Do(bench.Call{
		Method: "POST", Path: "/v1/appointments/" + a.id.String() + "/" + what, Token: m.w.Tokens.Of(a.slot.Patient),
		Key: m.run + strconv.Itoa(n), Body: body(a),
	})
}

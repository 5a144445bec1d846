package scenario

import (
	"context"
	"fmt"
	"time"

	"github.com/healthmed/healthmed/tests/load/bench"
)

// slots lists one doctor's free slots: the read that a patient's app does most.
func slots() bench.Scenario {
	const connections, rate = 32, 200
	return bench.Scenario{
		Name: "slots",
		What: "GET /v1/doctors/{id}/slots over 31 days of doctors who are half booked: first 200 a second for the latency, then flat out beside the bare primary-key read.",
		Run: func(ctx context.Context, w *bench.World) ([]bench.Row, error) {
			doctors := w.Data.BusyDoctors()
			do := func(n int) error {
				return w.SchedulingAPI.Do(bench.Call{Path: fmt.Sprintf("/v1/doctors/%s/slots?from=%s&to=%s",
					doctors[n%len(doctors)].ID, w.Data.Day(0), w.Data.Day(30))})
			}
			row := openLoad(ctx, w, "slots/one doctor", rate, connections, 8*time.Second, do)
			flat, err := besideBare(ctx, w, "slots/one doctor, flat out", connections, do)
			return []bench.Row{row, flat}, err
		},
	}
}

// openLoad measures latency at a rate.
func openLoad(ctx context.Context, w *bench.World, name string, rate float64, connections int, during time.Duration, do func(n int) error) bench.Row {
	var m bench.Measured
	load := bench.Load{Workers: connections, Rate: rate, For: w.Seconds(during), Warmup: warmup, Do: do}
	usage := w.Watch(ctx, func() { m = load.Run(ctx) })
	row := bench.RowOf(name, open(rate, connections), m)
	row.Usage, row.Offered = usage, rate
	return row
}

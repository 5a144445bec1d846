package scenario

import (
	"context"
	"time"

	"github.com/healthmed/healthmed/tests/load/bench"
)

// me is the least that an authenticated call does: it checks a token and reads one row.
func me() bench.Scenario {
	const connections, callers = 32, 2000
	return bench.Scenario{
		Name: "me",
		What: "GET /v1/me by 2,000 patients, each with a token; the limit is a bare Fiber handler that does one primary-key read, measured in turns with it.",
		Run: func(ctx context.Context, w *bench.World) ([]bench.Row, error) {
			people := w.Data.Patients[:min(callers, len(w.Data.Patients))]
			row, err := besideBare(ctx, w, "me/own profile", connections, func(n int) error {
				return w.UsersAPI.Do(bench.Call{Path: "/v1/me", Token: w.Tokens.Of(people[n%len(people)])})
			})
			return []bench.Row{row}, err
		},
	}
}

// besideBare measures calls flat out in turns with the bare primary-key read, so that a busy machine is busy for both.
func besideBare(ctx context.Context, w *bench.World, name string, connections int, do func(n int) error) (bench.Row, error) {
	rounds := rounds(w)
	during := w.Seconds(2 * time.Second)
	var ours, bare bench.Measured
	var usage []bench.Usage
	for range rounds {
		m, err := w.Limits.Bare(ctx, connections, during, bareRead(w))
		if err != nil {
			return bench.Row{}, err
		}
		bare = bare.And(m)
		usage = w.Watch(ctx, func() {
			ours = ours.And(bench.Load{Workers: connections, For: during, Warmup: warmup, Do: do}.Run(ctx))
		})
	}
	row := bench.RowOf(name, closed(connections), ours).Beside("bare Fiber handler doing one primary-key read", bare.PerSecond())
	row.Usage = usage
	return row, nil
}

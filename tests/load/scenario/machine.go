package scenario

import (
	"context"

	"github.com/healthmed/healthmed/tests/load/bench"
)

// machine prints the limits by themselves, so that runs on different machines can be compared.
func machine() bench.Scenario {
	return bench.Scenario{
		Name: "machine",
		What: "What the machine does without this system: fdatasync of 8 KiB by one writer, JetStream publishes of 700 bytes by one asynchronous publisher, and a Fiber app that answers nothing much, or reads one row by primary key.",
		Run: func(ctx context.Context, w *bench.World) ([]bench.Row, error) {
			synced, err := w.Limits.Fdatasync()
			if err != nil {
				return nil, err
			}
			published, err := w.Limits.RawPublish(ctx)
			if err != nil {
				return nil, err
			}
			rows := []bench.Row{
				{Name: "machine/fdatasync", Load: closed(1), PerSecond: synced},
				{Name: "machine/publish", Load: "one asynchronous publisher", PerSecond: published},
			}
			for _, c := range []struct {
				name string
				path func(n int) string
			}{
				{"machine/bare handler", func(int) string { return bench.BareNothing }},
				{"machine/bare read", bareRead(w)},
			} {
				var m bench.Measured
				usage := w.Watch(ctx, func() { m, err = w.Limits.Bare(ctx, 32, w.Seconds(2e9), c.path) })
				if err != nil {
					return nil, err
				}
				row := bench.RowOf(c.name, closed(32), m)
				row.Usage = usage
				rows = append(rows, row)
			}
			return rows, nil
		},
	}
}

// bareRead is the path of a primary-key read of one of the patients.
func bareRead(w *bench.World) func(n int) string {
	return func(n int) string {
		return bench.BareRow + w.Data.Patients[n%len(w.Data.Patients)].ID.String()
	}
}

package scenario

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/healthmed/healthmed/tests/load/bench"
	"github.com/healthmed/healthmed/tests/system"
)

// spareFiles are left to a process for everything but these connections.
const spareFiles = 500

// connections holds as many phones as open the app and do little.
func connections() bench.Scenario {
	const rate = 500
	return bench.Scenario{
		Name: "connections",
		What: "20,000 keep-alive connections, half to users and half to scheduling, each used in its turn, 500 reads a second in all. kib_per_connection is by how much each service's memory grew, the memory of the requests included.",
		Run: func(ctx context.Context, w *bench.World) ([]bench.Row, error) {
			wanted, during := 20_000, 45*time.Second
			if w.Config.Quick {
				wanted, during = 2_000, 5*time.Second
			}
			total, note := wanted, ""
			if most := 2 * (bench.OpenFiles() - spareFiles); most < total {
				total, note = most, fmt.Sprintf("lowered from %d: a process may open only %d files here", wanted, bench.OpenFiles())
			}
			services := []string{"users", "scheduling"}
			before := map[string]int64{}
			holders := make([]*bench.Holder, len(services))
			defer func() {
				for _, h := range holders {
					if h != nil {
						_ = h.Close() // its result was read, or its fault is known
					}
				}
			}()
			for i, service := range services {
				before[service] = system.UsageOf(w.Cluster.Services[service][0].PID()).Resident
				var err error
				holders[i], err = w.StartHolder(ctx, bench.Hold{
					Addr: strings.TrimPrefix(w.Cluster.Origin(service, 0), "http://"), Connections: total / 2,
					Rate: rate / 2, For: during, Requests: heldRequests(w, service),
				})
				if err != nil {
					return nil, fmt.Errorf("%s: %w", service, err)
				}
			}
			results, faults := make([]bench.Held, len(services)), make([]error, len(services))
			usage := w.Watch(ctx, func() {
				var both sync.WaitGroup
				for i := range services {
					both.Go(func() { results[i], faults[i] = holders[i].Run() })
				}
				both.Wait()
			})
			if err := errors.Join(faults...); err != nil {
				return nil, err
			}
			var m bench.Measured
			alive := 0
			for _, r := range results {
				m = m.And(r.Measured())
				alive += r.Alive
			}
			m.During = results[0].Took // side by side, not one after the other
			row := bench.RowOf("connections/held", fmt.Sprintf("open, %d/s over %d connections", rate, total), m)
			row.Usage, row.Note = usage, note
			row = row.With("alive", float64(alive)).With("connections", float64(total))
			for _, service := range services {
				now := system.UsageOf(w.Cluster.Services[service][0].PID()).Resident
				row = row.With(service+"_kib_per_connection", float64(now-before[service])/1024/float64(total/2))
			}
			return []bench.Row{row}, nil
		},
	}
}

// heldRequests are the reads of a service: twice as many of the public ones.
func heldRequests(w *bench.World, service string) []bench.HeldRequest {
	var list []bench.HeldRequest
	searches, patients := searches(w), w.Data.Patients
	for n := range 300 {
		switch {
		case service == "users" && n%3 < 2:
			list = append(list, bench.HeldRequest{Path: searches[n%len(searches)]})
		case service == "users":
			list = append(list, bench.HeldRequest{Path: "/v1/me", Token: w.Tokens.Of(patients[n])})
		case n%3 < 2:
			list = append(list, bench.HeldRequest{Path: fmt.Sprintf("/v1/doctors/%s/slots?from=%s&to=%s", w.Data.Doctors[n%len(w.Data.Doctors)].ID, w.Data.Day(0), w.Data.Day(6))})
		default:
			list = append(list, bench.HeldRequest{Path: "/v1/appointments", Token: w.Tokens.Of(patients[n])})
		}
	}
	return list
}

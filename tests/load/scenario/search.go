package scenario

import (
	"context"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/healthmed/healthmed/tests/load/bench"
	"github.com/healthmed/healthmed/tests/load/fill"
)

// doctors searches doctors as patients do.
func doctors() bench.Scenario {
	const connections, rate = 32, 200
	return bench.Scenario{
		Name: "doctors",
		What: "GET /v1/doctors by the beginning of a name, by two names, by a specialty, or by both, over all listed doctors: 200 a second for the latency, then flat out beside the bare primary-key read. The 400 searches come again and again, as searches do, so most are remembered; those of the last row come too seldom for that.",
		Run: func(ctx context.Context, w *bench.World) ([]bench.Row, error) {
			paths := searches(w)
			do := func(n int) error { return w.UsersAPI.Do(bench.Call{Path: paths[n%len(paths)]}) }
			row := openLoad(ctx, w, "doctors/search", rate, connections, 6*time.Second, do)
			flat, err := besideBare(ctx, w, "doctors/search, flat out", connections, do)
			if err != nil {
				return []bench.Row{row, flat}, err
			}
			seldom, err := besideBare(ctx, w, "doctors/search, not remembered, flat out", connections, func(n int) error {
				return w.UsersAPI.Do(bench.Call{Path: fmt.Sprintf("%s&limit=%d", paths[n%len(paths)], 11+n/len(paths)%20)})
			})
			return []bench.Row{row, flat, seldom}, err
		},
	}
}

func searches(w *bench.World) []string {
	var paths []string
	for n, d := range w.Data.Doctors[:min(400, len(w.Data.Doctors))] {
		first, rest, _ := strings.Cut(d.Name, " ")
		last, _, _ := strings.Cut(rest, " ")
		specialty := fill.Specialties()[n%len(fill.Specialties())]
		q := url.Values{}
		switch n % 4 {
		case 0:
			q.Set("name", string([]rune(first)[:3]))
		case 1:
			q.Set("name", first+" "+last)
		case 2:
			q.Set("specialty", specialty)
		default:
			q.Set("name", string([]rune(last)[:4]))
			q.Set("specialty", specialty)
		}
		paths = append(paths, "/v1/doctors?"+q.Encode())
	}
	return paths
}

// earliest searches the first free slots of many doctors.
func earliest() bench.Scenario {
	const connections, rate = 32, 20
	return bench.Scenario{
		Name: "earliest",
		What: "GET /v1/slots: who is free first, of one specialty (a tenth of the doctors and some), and of all doctors, 20 a second; then one specialty flat out beside the bare primary-key read. first_ms is the very first search, which reads all schedules.",
		Run: func(ctx context.Context, w *bench.World) ([]bench.Row, error) {
			began := time.Now()
			if err := w.SchedulingAPI.Do(bench.Call{Path: "/v1/slots?specialty=cardiology"}); err != nil {
				return nil, fmt.Errorf("the first search, after %s: %w", time.Since(began), err)
			}
			first := float64(time.Since(began).Microseconds()) / 1000
			specialties := fill.Specialties()
			one := func(n int) error {
				return w.SchedulingAPI.Do(bench.Call{Path: "/v1/slots?specialty=" + specialties[n%len(specialties)]})
			}
			all := func(n int) error {
				return w.SchedulingAPI.Do(bench.Call{Path: "/v1/slots?limit=20&from=" + w.Data.Day(n%4)})
			}
			rows := []bench.Row{
				openLoad(ctx, w, "earliest/one specialty", rate, connections, 6*time.Second, one).With("first_ms", first),
				openLoad(ctx, w, "earliest/all doctors", rate, connections, 6*time.Second, all),
			}
			flat, err := besideBare(ctx, w, "earliest/one specialty, flat out", connections, one)
			return append(rows, flat), err
		},
	}
}

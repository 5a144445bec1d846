package scenario

import (
	"context"
	"encoding/json"
	"sync"
	"time"

	"golang.org/x/crypto/argon2"

	"github.com/healthmed/healthmed/tests/load/bench"
	"github.com/healthmed/healthmed/tests/load/fill"
)

// signIn floods the users service with sign-ins and looks whether others are still served.
func signIn() bench.Scenario {
	const connections, others = 64, 50
	return bench.Scenario{
		Name: "sign-in",
		What: "POST /v1/auth/login, 64 at a time, each of another account; meanwhile 50 doctor searches a second. The limit is one argon2id hash of the same parameters after another, on one processor.",
		Run: func(ctx context.Context, w *bench.World) ([]bench.Row, error) {
			hashes := w.Limits.Loop(ctx, 1, w.Seconds(2*time.Second), func(int) error {
				argon2.IDKey([]byte(fill.Password), make([]byte, 16), 2, 19*1024, 1, 32)
				return nil
			})
			people := w.Data.Patients
			paths := searches(w)
			during := w.Seconds(8 * time.Second)
			var signed, searched bench.Measured
			usage := w.Watch(ctx, func() {
				var both sync.WaitGroup
				both.Go(func() {
					signed = bench.Load{Workers: connections, For: during, Do: func(n int) error {
						body, err := json.Marshal(map[string]string{"email": people[n%len(people)].Email, "password": fill.Password})
						if err != nil {
							return err
						}
						return w.UsersAPI.Do(bench.Call{Method: "POST", Path: "/v1/auth/login", Body: string(body)})
					}}.Run(ctx)
				})
				both.Go(func() {
					searched = bench.Load{Workers: 16, Rate: others, For: during, Do: func(n int) error {
						return w.UsersAPI.Do(bench.Call{Path: paths[n%len(paths)]})
					}}.Run(ctx)
				})
				both.Wait()
			})
			row := bench.RowOf("sign-in/64 at once", closed(connections), signed).Beside("one argon2id hash after another", hashes.PerSecond())
			row.Usage = usage
			return []bench.Row{row, bench.RowOf("sign-in/doctors meanwhile", open(others, 16), searched)}, nil
		},
	}
}

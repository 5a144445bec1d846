// Command load measures the system as its users meet it, and says beside each figure what the machine could do at best.
//
//	make bench                                    everything, at full size: about a quarter of an hour
//	make bench ARGS=--quick                       everything, small: under two minutes
//	make bench ARGS="--only slots,me --keep"      some scenarios; -list names them
//
// It starts PostgreSQL, nats-server, the SES endpoint and the services as processes of their own on free ports over a
// fresh folder, fills in data by COPY, runs the scenarios one after another, and writes bench/latest.md, .json and .svg.
// It exits with 1 when a floor of floors.yaml is missed.
//
// # How to add a scenario
//
//  1. Write tests/load/scenario/NAME.go with one function that returns a bench.Scenario, and add its call to All in
//     scenario.go, at its place in the order. Nothing else registers it. Copy slots.go (reading) or me.go.
//
//  2. Run gets a bench.World: w.UsersAPI and w.SchedulingAPI make calls (Do returns an error for any status but the
//     wanted one), w.Cluster has origins and processes of everything else, w.Tokens.Of(person) is an access token, w.Data has the
//     doctors and patients that were filled in (all with fill.Password), w.Slots.Next() gives a doctor, a patient and a start that
//     nobody has had, w.Users, w.Scheduling and w.Notifier are pools on the services' databases, w.NC and w.JS are NATS.
//
//  3. Measure with openLoad (a rate; for latencies) or besideBare (flat out, with the bare read in turns), or with
//     bench.Load by itself inside w.Watch, which reads the processes' use of the machine meanwhile. w.Seconds(d) shortens
//     d in a quick run: all scenarios together must stay below two minutes there, so 2 to 4 s each at most.
//
//  4. Return rows named "SCENARIO/case". bench.RowOf takes over a measurement; Beside sets the limit (w.Limits has
//     Fdatasync, RawPublish, Bare and Loop, for the same SQL by pgx); With adds a figure of your own, such as
//     With("lost_events", 0). What is measured otherwise can fill Row's fields directly; LatencyOf reads a histogram
//     made by NewHistogram and Record.
//
//  5. Add the floor to floors.yaml: row, figure (per_second, p50_ms, p95_ms, p99_ms, max_ms, errors, ratio, PROCESS_mib,
//     PROCESS_cpu, or the name given to With), at_least or at_most, why, and full: true when it speaks of the full size.
//     In a run of all scenarios a floor whose row or figure is missing counts as missed.
//
//  6. Leave the system as it was found, but for more appointments. Before each scenario the program waits until
//     outbox, consumers and due deliveries are empty; Without stops services for the scenario's time.
//
// Try it with: go run ./tests/load --quick --only NAME
package main

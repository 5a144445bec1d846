// Package scenario holds the load program's scenarios, a file each.
package scenario

import (
	"fmt"
	"time"

	"github.com/healthmed/healthmed/tests/load/bench"
)

// All are the scenarios in the order in which they run: reading first, then what writes more and more.
func All() []bench.Scenario {
	return []bench.Scenario{
		machine(),
		me(),
		doctors(),
		slots(),
		earliest(),
		signIn(),
		booking(),
		contended(),
		reschedule(),
		notifierBacklog(),
		emails(),
		bookingWithMail(),
		journey(),
		journeyEvents(),
		journeySynced(),
		relayBacklog(),
		day(),
		connections(),
	}
}

func closed(connections int) string { return fmt.Sprintf("closed, %d connections", connections) }

func open(rate float64, connections int) string {
	return fmt.Sprintf("open, %.0f/s over %d connections", rate, connections)
}

// warmup before each measurement.
const warmup = 300 * time.Millisecond

// rounds of what is measured in turns.
func rounds(w *bench.World) int {
	if w.Config.Quick {
		return 2
	}
	return 3
}

package fault

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// machine is the part that is at fault when all of them had to wait: for the disk, or for a processor.
const machine = "machine"

const (
	pulse = 50 * time.Millisecond
	// stall is how much later than it should a write may be on the disk: half of what the services wait for a row
	// (DATABASE_LOCK_TIMEOUT) before they answer 503, as they should.
	stall = 250 * time.Millisecond
)

// watchMachine writes to the disk of the databases at every pulse until ctx ends. What takes too long is a fault that is in
// no plan, and is told.
func (r *rig) watchMachine(ctx context.Context) (err error) {
	file, err := os.Create(filepath.Join(r.dir, "pulse"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	for last := time.Now(); ctx.Err() == nil; {
		time.Sleep(pulse)
		if _, err := file.WriteAt([]byte{1}, 0); err != nil {
			return err
		}
		if err := file.Sync(); err != nil {
			return err
		}
		now := time.Now()
		if late := now.Sub(last) - pulse; late > stall {
			w := Window{Fault: fmt.Sprintf("the machine stood still for %s", late.Round(time.Millisecond)), Parts: []string{machine}, From: last, To: now}
			r.mu.Lock()
			r.windows = append(r.windows, w)
			r.mu.Unlock()
			fmt.Fprintf(r.out, "   %s at %s\n", w.Fault, clock(last))
		}
		last = now
	}
	return nil
}

// Excused lists what would be violations, had the machine not stood still: told, so that nothing hides behind it.
func Excused(e Evidence) (list []string) {
	counted := Check(e)
	e.Windows = slices.DeleteFunc(slices.Clone(e.Windows), func(w Window) bool { return slices.Contains(w.Parts, machine) })
	for _, v := range Check(e) {
		if !slices.Contains(counted, v) {
			list = append(list, v.Detail)
		}
	}
	return list
}

package bus

import "time"

// SetRecheck changes how often MaintainStreams looks again.
func (c *Conn) SetRecheck(d time.Duration) { c.recheck = d }

package booking

import (
	"errors"
	"regexp"
	"sync"
	"time"
	_ "time/tzdata" // an image without a zone database knows the zones too
)

// zoneName is what names of the IANA database look like. A machine's zone folder holds more than those: "localtime" and
// "posixrules", which are what the machine says, and copies under "posix" and "right", the latter with leap seconds.
// No client would know what is meant.
var zoneName = regexp.MustCompile(`^[A-Z][A-Za-z0-9_+-]*(/[A-Z][A-Za-z0-9_+-]*)*$`)

// LoadZone loads an IANA zone, and nothing else that time.LoadLocation takes for one.
func LoadZone(name string) (*time.Location, error) {
	if !zoneName.MatchString(name) || name == "Local" || name == "Factory" {
		return nil, errors.New("time zone: not an IANA name")
	}
	return time.LoadLocation(name)
}

// Zones keeps the zones that schedules are in, each loaded once: thousands of doctors share a few, and each copy would
// be a file to read and kilobytes to keep. The zero value is ready, for any number of goroutines.
type Zones struct {
	loaded sync.Map // *time.Location by name
}

// Load loads a zone that was valid when it was set.
func (z *Zones) Load(name string) (*time.Location, error) {
	if zone, ok := z.loaded.Load(name); ok {
		return zone.(*time.Location), nil //nolint:forcetypeassert // nothing else is stored
	}
	zone, err := time.LoadLocation(name)
	if err != nil {
		return nil, err
	}
	kept, _ := z.loaded.LoadOrStore(name, zone)
	return kept.(*time.Location), nil //nolint:forcetypeassert // nothing else is stored
}

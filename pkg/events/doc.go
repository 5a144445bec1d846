// Package events is the event contract of Health&Med, for publishers and for subscribers in Go.
//
// An event is one of the structs of this package (*AppointmentBooked, *UserRegistered, ...) inside an
// [Envelope]: CloudEvents 1.0 in structured JSON mode. A subscriber calls [Decode] and switches over the type
// of Data; an event that this version of the package doesn't know arrives as [*Unknown] and is to be
// acknowledged and forgotten. A publisher calls [New] and [Envelope.Encode], which let nothing out that the
// event's own schema would refuse.
//
// Delivery is at least once: deduplicate by Envelope.ID, and per aggregate (Data.AggregateID) order by
// Envelope.Sequence, which rises by one from 1.
//
// The package depends on the standard library and github.com/google/uuid alone, so that other systems can
// import it without taking on anything else. It knows neither NATS nor HTTP.
package events

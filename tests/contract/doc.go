// Package contract holds the tests that keep the event contract honest: Go types, JSON Schemas, examples, the
// AsyncAPI document and the subscribers that docs/events.md shows all say the same. They live outside pkg/events so
// that the module which other systems import depends on nothing for their sake.
package contract

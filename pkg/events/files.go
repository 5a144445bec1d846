package events

import (
	"embed"
	"io/fs"
)

//go:generate go run ./internal/asyncapi

//go:embed asyncapi.yaml schemas/*.json testdata/*.json
var files embed.FS

// Files holds the contract as files, read-only: asyncapi.yaml, schemas/<name>.json (one per event, and
// envelope.v1.json) and testdata/<name>.json (one example message body per event).
func Files() fs.FS { return files }

// Schema is the JSON Schema (2020-12) of the data.
func (d Definition) Schema() []byte { return mustRead("schemas/" + d.Name + ".json") }

// Example is a complete message body.
func (d Definition) Example() []byte { return mustRead("testdata/" + d.Name + ".json") }

// AsyncAPI is the AsyncAPI 3.0 document, YAML.
func AsyncAPI() []byte { return mustRead("asyncapi.yaml") }

// mustRead reads a file that the compiler put there; a test reads them all.
func mustRead(name string) []byte {
	b, err := files.ReadFile(name)
	if err != nil {
		panic("events: contract file missing in the build: " + name)
	}
	return b
}

// Command asyncapi writes pkg/events/asyncapi.yaml from the registry of events, the schemas and the examples.
// It runs in pkg/events, by go generate.
package main

import (
	"fmt"
	"os"

	"github.com/healthmed/healthmed/pkg/events/internal/asyncapi/document"
)

func main() {
	text, err := document.Render()
	if err == nil {
		err = os.WriteFile("asyncapi.yaml", text, 0o644)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "asyncapi:", err)
		os.Exit(1)
	}
}

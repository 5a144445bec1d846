// Command write writes docs/configuration.md under the repository's folder, which is its one argument.
package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/healthmed/healthmed/pkg/config/configdoc"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "configdoc:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) != 1 {
		return fmt.Errorf("want the repository's folder, got %d arguments", len(args))
	}
	groups, err := configdoc.Read(args[0])
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(args[0], "docs", "configuration.md"), []byte(configdoc.Page(groups)), 0o644)
}

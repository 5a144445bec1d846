// Package lockfile keeps a folder to one process.
package lockfile

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// Take locks the file, which is made if missing, in the name of its folder, until the answer is closed or this
// process has ended in whatever way.
func Take(file string) (*os.File, error) {
	f, err := os.OpenFile(file, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("%s is in use by another process: %w", filepath.Dir(file), err)
	}
	return f, nil
}

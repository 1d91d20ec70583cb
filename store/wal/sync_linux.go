package wal

import (
	"os"
	"syscall"
)

// Datasync brings what was written to a file to disk, and of its metadata only
// what is needed to read it.
func Datasync(f *os.File) error {
	for {
		if err := syscall.Fdatasync(int(f.Fd())); err != syscall.EINTR {
			return err
		}
	}
}

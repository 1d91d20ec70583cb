package store

import (
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// datasync brings what was written to a file to disk, and of its metadata only
// what is needed to read it.
func datasync(f *os.File) error {
	for {
		if err := syscall.Fdatasync(int(f.Fd())); err != syscall.EINTR {
			return err
		}
	}
}

// dropCache lets the kernel forget what it has of a file, as far as it believes
// that to be on disk: after a failed sync it believes too much.
func dropCache(path string) {
	f, err := os.Open(path)
	if err != nil {
		return
	}
	defer f.Close()
	unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED) // advice: nothing follows from an error
}

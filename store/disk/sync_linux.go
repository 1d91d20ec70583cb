package disk

import (
	"os"
	"syscall"

	"golang.org/x/sys/unix"
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

// DropCache lets the kernel forget what it has of a file, as far as it believes
// that to be on disk: after a failed sync it believes too much.
func DropCache(path string) {
	f, err := os.Open(path)
	if err != nil {
		return
	}
	defer f.Close()
	unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED) // advice: nothing follows from an error
}

// StartWriteback lets the disk begin with n bytes of a file, and waits for those that it
// began with far before. Unlike a sync it does not need the filesystem's journal,
// for which the syncs of others would have to wait. What goes wrong is found by
// the sync at the end.
func StartWriteback(f *os.File, at, n int64) {
	fd := int(f.Fd())
	unix.SyncFileRange(fd, at, n, unix.SYNC_FILE_RANGE_WRITE)
	if before := at - writebackWindow; before >= 0 {
		unix.SyncFileRange(fd, before, n, unix.SYNC_FILE_RANGE_WAIT_BEFORE)
	}
}

// writebackWindow bounds what the disk has to do yet, in bytes.
const writebackWindow = 8 << 20

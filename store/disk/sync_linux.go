package disk

import (
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// Datasync brings the bytes of a file to disk, and of its metadata only what is needed
// to read them.
func Datasync(f *os.File) error {
	for {
		if err := syscall.Fdatasync(int(f.Fd())); err != syscall.EINTR {
			return err
		}
	}
}

// DropCache makes the kernel drop the pages of a file that it holds to be on disk:
// after a failed sync some of them are not.
func DropCache(path string) {
	f, err := os.Open(path)
	if err != nil {
		return
	}
	defer f.Close()
	unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED) // an error does not matter: it is advice
}

// StartWriteback starts to write n bytes of a file to disk, and waits for the bytes whose
// writeback it started some time before. Unlike a sync it does not need the filesystem's
// journal, for which the syncs of others would have to wait. Errors are found by the
// sync at the end.
func StartWriteback(f *os.File, at, n int64) {
	fd := int(f.Fd())
	unix.SyncFileRange(fd, at, n, unix.SYNC_FILE_RANGE_WRITE)
	if before := at - writebackWindow; before >= 0 {
		unix.SyncFileRange(fd, before, n, unix.SYNC_FILE_RANGE_WAIT_BEFORE)
	}
}

// writebackWindow bounds the bytes that are being written, without those of the last
// call.
const writebackWindow = 8 << 20

package roomdtest

import (
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// NarrowPipe is a pipe that holds 4096 bytes.
func NarrowPipe(t testing.TB) (r, w *os.File) {
	t.Helper()
	r, w, err := os.Pipe()
	Must(t, err)
	t.Cleanup(func() { r.Close(); w.Close() })
	raw, err := w.SyscallConn()
	Must(t, err)
	failed := raw.Control(func(fd uintptr) { _, err = unix.FcntlInt(fd, unix.F_SETPIPE_SZ, 4096) })
	Must(t, failed, err)
	return r, w
}

package main

import (
	"testing"

	"golang.org/x/sys/unix"
)

// setDescriptorLimit lowers the limit of another process (prlimit(2)).
func setDescriptorLimit(t *testing.T, pid int, n uint64) {
	t.Helper()
	if err := unix.Prlimit(pid, unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: n, Max: n}, nil); err != nil {
		t.Skip("prlimit:", err)
	}
}

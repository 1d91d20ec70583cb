package main

import (
	"testing"

	"golang.org/x/sys/unix"
)

// setDescriptorLimit sets the soft limit of another process (prlimit(2)): the hard
// one could not be raised again without a privilege.
func setDescriptorLimit(t *testing.T, pid int, n uint64) {
	t.Helper()
	var l unix.Rlimit
	err := unix.Prlimit(pid, unix.RLIMIT_NOFILE, nil, &l)
	if err == nil {
		l.Cur = n
		err = unix.Prlimit(pid, unix.RLIMIT_NOFILE, &l, nil)
	}
	if err != nil {
		t.Skip("prlimit:", err)
	}
}

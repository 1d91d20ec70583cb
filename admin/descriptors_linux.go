package admin

import (
	"os"
	"syscall"
)

// descriptors returns the number of descriptors in use, and the limit.
func descriptors() (used, limit uint64, ok bool) {
	open, err := os.ReadDir("/proc/self/fd")
	var l syscall.Rlimit
	if err != nil || syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l) != nil {
		return 0, 0, false
	}
	return uint64(len(open)), l.Cur, true
}

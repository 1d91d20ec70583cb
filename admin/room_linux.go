package admin

import (
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"roomd/store/disk"
)

// diskFree is what is free for us beside a file, in bytes.
func diskFree(file string) (uint64, bool) {
	var st unix.Statfs_t
	file, err := disk.Resolve(file)
	if err != nil || unix.Statfs(filepath.Dir(file), &st) != nil {
		return 0, false
	}
	return st.Bavail * uint64(st.Bsize), true
}

// descriptors are those in use, and the limit.
func descriptors() (used, limit uint64, ok bool) {
	open, err := os.ReadDir("/proc/self/fd")
	var l unix.Rlimit
	if err != nil || unix.Getrlimit(unix.RLIMIT_NOFILE, &l) != nil {
		return 0, 0, false
	}
	return uint64(len(open)), l.Cur, true
}

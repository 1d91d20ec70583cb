package disk

import (
	"path/filepath"

	"golang.org/x/sys/unix"
)

// FreeBytes returns how many bytes this process may still write to the disk of a file,
// which need not exist; false: that is not known. The file is the one that path leads to
// (Resolve).
func FreeBytes(path string) (uint64, bool) {
	var st unix.Statfs_t
	file, err := Resolve(path)
	if err != nil || unix.Statfs(filepath.Dir(file), &st) != nil {
		return 0, false
	}
	return st.Bavail * uint64(st.Bsize), true
}

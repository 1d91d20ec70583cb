package disk

import (
	"path/filepath"

	"golang.org/x/sys/unix"
)

// FreeBytes is how many bytes we may still write to the disk that has a file, or would
// have it; false: it is not known. The file is the one that path leads to (Resolve).
func FreeBytes(path string) (uint64, bool) {
	var st unix.Statfs_t
	file, err := Resolve(path)
	if err != nil || unix.Statfs(filepath.Dir(file), &st) != nil {
		return 0, false
	}
	return st.Bavail * uint64(st.Bsize), true
}

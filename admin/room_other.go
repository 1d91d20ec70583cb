//go:build !linux

package admin

// diskFree is known on Linux only.
func diskFree(string) (uint64, bool) { return 0, false }

// descriptors are known on Linux only.
func descriptors() (used, limit uint64, ok bool) { return 0, 0, false }

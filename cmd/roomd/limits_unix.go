//go:build unix

package main

import (
	"math"
	"syscall"
)

// descriptorLimit is how many descriptors the process may have. Go has raised
// the soft limit to the hard one at the start.
func descriptorLimit() uint64 {
	var l syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l); err != nil {
		return math.MaxInt64
	}
	return uint64(l.Cur)
}

//go:build !linux

package bench

import (
	"errors"
	"net/netip"
	"os/exec"
	"syscall"
	"time"
)

var errUnknown = errors.New("the use of a process can only be read on Linux")

func cpuTime(int) time.Duration        { return 0 }
func residentBytes(int) (int64, error) { return 0, errUnknown }
func wakeUps(int) (int64, error)       { return 0, errUnknown }
func listenerOf(netip.AddrPort) int    { return 0 }
func pin(int, bool) error              { return nil }
func setTimerSlack() error             { return nil }

// killWithParent leaves the process to itself: only Linux has such a signal.
func killWithParent(*exec.Cmd) {}

// raiseDescriptors returns the limit, which Go has already raised to its maximum.
func raiseDescriptors(uint64) (uint64, error) {
	var l syscall.Rlimit
	err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l)
	return uint64(l.Cur), err
}

// bindSource does nothing: only on Linux is all of 127.0.0.0/8 this machine.
func bindSource(int, [4]byte) error { return nil }

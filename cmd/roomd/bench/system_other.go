//go:build !linux

package bench

import (
	"errors"
	"net/netip"
	"os/exec"
	"syscall"
	"time"
)

var errUnseen = errors.New("what a process uses is only to be seen on Linux")

func cpuTime(int) (time.Duration, error) { return 0, errUnseen }
func residentBytes(int) (int64, error)   { return 0, errUnseen }
func wakeUps(int) (int64, error)         { return 0, errUnseen }
func listenerOf(netip.AddrPort) int      { return 0 }
func pin(int, bool) error                { return nil }
func setTimerSlack() error               { return nil }

// killWithParent leaves the process to itself: only Linux has such a signal.
func killWithParent(*exec.Cmd) {}

// raiseDescriptors returns the limit: Go has raised it as far as it goes.
func raiseDescriptors(uint64) (uint64, error) {
	var l syscall.Rlimit
	err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l)
	return uint64(l.Cur), err
}

// bindSource does nothing: only on Linux is all of 127.0.0.0/8 this machine.
func bindSource(int, [4]byte) error { return nil }

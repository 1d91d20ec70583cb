//go:build !linux

package upgrade

import (
	"errors"
	"os"
	"os/signal"
	"syscall"
)

// Elsewhere no server hands over (see netsvc.Service.Freeze), and no process waits
// for another.

// AdoptOrphans does nothing here.
func AdoptOrphans(bool) error { return nil }

func withBlocked(_ syscall.Signal, fn func() error) error { return fn() }

// waitable returns when a child has ended.
func waitable(_ int, exit func() error) { exit() }

func awaitEnd(*Relay, int) (status int, err error) { return 0, errors.ErrUnsupported }

// raise sends this process a signal that does with it what it does by default.
func raise(sig syscall.Signal) {
	signal.Reset(sig)
	syscall.Kill(os.Getpid(), sig)
	select {} // until it is there
}

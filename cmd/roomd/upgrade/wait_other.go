//go:build !linux

package upgrade

import (
	"errors"
	"os"
	"os/signal"
	"syscall"
)

// On other systems no server hands over (see netsvc.Service.Freeze), and no process waits for
// another one.

// SetSubreaper does nothing on this system.
func SetSubreaper(bool) error { return nil }

func withSignalBlocked(_ syscall.Signal, fn func() error) error { return fn() }

// awaitExit returns when a child has exited.
func awaitExit(_ int, exit func() error) { exit() }

func awaitServerExit(*Relay, int) (status int, err error) { return 0, errors.ErrUnsupported }

// raise sends this process a signal, with the default action.
func raise(sig syscall.Signal) {
	signal.Reset(sig)
	syscall.Kill(os.Getpid(), sig)
	select {} // until the signal arrives
}

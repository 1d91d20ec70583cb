//go:build !linux

package main

import (
	"errors"
	"os"
	"os/signal"
	"syscall"
)

// Elsewhere no server hands over (see netsvc.Service.Freeze), and no process waits
// for another.

func adoptOrphans(bool) error { return nil }

func withBlocked(fn func() error, _ ...syscall.Signal) error { return fn() }

// waitable returns when a child has ended.
func waitable(_ int, exit func() error) { exit() }

func (s *server) stay() error { return errors.ErrUnsupported }

func (launch) waits() (waited bool, err error) { return false, nil }

func awaitEnd(*relay, int, <-chan os.Signal) error { return errors.ErrUnsupported }

// raise sends this process a signal that does with it what it does by default.
func raise(sig syscall.Signal) {
	signal.Reset(sig)
	syscall.Kill(os.Getpid(), sig)
	select {} // until it is there
}

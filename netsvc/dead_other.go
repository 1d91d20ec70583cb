//go:build !linux

package netsvc

import (
	"syscall"
	"time"
)

// unanswered is known on Linux only; elsewhere the system's own time-out ends a
// connection whose peer vanished while data was on the way.
func (k *sock) unanswered(time.Duration) bool { return false }

// wasReset is known on Linux only: elsewhere the unfinished last line of a client
// that resets the connection while it is written to may be taken as said.
func (k *sock) wasReset() bool { return false }

// tuneListener sets what accepted connections inherit.
func tuneListener(fd uintptr, _ time.Duration) error {
	return syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_SNDBUF, sendBuffer)
}

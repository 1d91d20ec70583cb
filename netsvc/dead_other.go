//go:build !linux

package netsvc

import (
	"syscall"
	"time"
)

// unanswered is known on Linux only; elsewhere the system's own time-out ends a
// connection whose peer vanished while data was on the way.
func (k *sock) unanswered(time.Duration) bool { return false }

// tuneListener sets what accepted connections inherit.
func tuneListener(fd uintptr, _ time.Duration) error {
	return syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_SNDBUF, sendBuffer)
}

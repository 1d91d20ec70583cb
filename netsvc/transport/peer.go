package transport

import (
	"errors"
	"net"
	"os"
	"syscall"
)

// IsPeerGone reports whether an error says that the peer has vanished or was given up.
// Other errors are worth a line in the log.
func IsPeerGone(err error) bool {
	return errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) ||
		errors.Is(err, syscall.ETIMEDOUT) || errors.Is(err, net.ErrClosed) || errors.Is(err, os.ErrDeadlineExceeded)
}

// HungUp reports whether the peer has closed its side, or the connection is broken.
func HungUp(c TCP) (closed bool) {
	control(c, func(fd uintptr) { closed = hungUp(fd) })
	return closed
}

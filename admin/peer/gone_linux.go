package peer

import (
	"net"

	"golang.org/x/sys/unix"
)

// WhenGone calls fn once, on a new goroutine, when the other end has closed the connection. A
// peer that has closed only its sending side does not count: Linux reports the difference as
// POLLHUP (unix(7), poll(2)). It reads no bytes. stop ends the goroutine, and waits for fn if
// fn runs.
func WhenGone(c *net.UnixConn, fn func()) (stop func()) {
	f, err := c.File() // a new descriptor, on which no other goroutine waits
	if err != nil {
		return func() {} // no descriptor is left
	}
	raw, err := f.SyscallConn()
	if err != nil {
		f.Close()
		return func() {}
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		raw.Read(func(fd uintptr) bool {
			p := []unix.PollFd{{Fd: int32(fd)}}
			_, err := unix.Poll(p, 0)
			gone := err == nil && p[0].Revents&(unix.POLLHUP|unix.POLLERR) != 0
			if gone {
				fn()
			}
			return gone
		})
	}()
	return func() {
		f.Close()
		<-done
	}
}

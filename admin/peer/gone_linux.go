package peer

import (
	"net"

	"golang.org/x/sys/unix"
)

// WhenGone calls fn once, on a goroutine of its own, when the other end has closed the
// connection, and not only its own side of it: Linux tells the two apart by POLLHUP
// (unix(7), poll(2)). It reads nothing. stop ends that, and waits for fn if it runs.
func WhenGone(c *net.UnixConn, fn func()) (stop func()) {
	f, err := c.File() // another descriptor: nobody else waits on it
	if err != nil {
		return func() {} // there is none left
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

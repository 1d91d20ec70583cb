package admin

import (
	"net"

	"golang.org/x/sys/unix"
)

// whenGone calls fn once the client has closed its connection, and not only its own
// side of it: Linux tells the two apart by POLLHUP (unix(7), poll(2)). stop ends
// that.
func whenGone(c *net.UnixConn, fn func()) (stop func()) {
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

//go:build !linux

package bench

import (
	"time"

	"golang.org/x/sys/unix"
)

// poller waits for many sockets at once, with poll(2): its cost grows with the number of
// sockets. It is not safe for concurrent use.
type poller struct {
	interest map[int]int16 // events, by descriptor
	fds      []unix.PollFd
	ready    []ready
}

func newPoller() (*poller, error) { return &poller{interest: make(map[int]int16)}, nil }

func (p *poller) close() error { return nil }

// add waits for a socket to be readable, and writable if write is set.
func (p *poller) add(fd int, write bool) error {
	p.interest[fd] = unix.POLLIN
	if write {
		p.interest[fd] |= unix.POLLOUT
	}
	return nil
}

func (p *poller) change(fd int, write bool) error { return p.add(fd, write) }

// remove must come before the socket is closed. It may come twice.
func (p *poller) remove(fd int) { delete(p.interest, fd) }

// wait returns the sockets that are ready, or none after at most d. The result is valid
// until the next call.
func (p *poller) wait(d time.Duration) ([]ready, error) {
	timeout := 0
	if d > 0 {
		timeout = int(d/time.Millisecond) + 1
	}
	p.fds, p.ready = p.fds[:0], p.ready[:0]
	for fd, events := range p.interest {
		p.fds = append(p.fds, unix.PollFd{Fd: int32(fd), Events: events})
	}
	if _, err := unix.Poll(p.fds, timeout); err != nil {
		if err == unix.EINTR {
			err = nil
		}
		return nil, err
	}
	for _, f := range p.fds {
		if f.Revents != 0 {
			p.ready = append(p.ready, ready{int(f.Fd), f.Revents&^unix.POLLOUT != 0, f.Revents&^unix.POLLIN != 0})
		}
	}
	return p.ready, nil
}

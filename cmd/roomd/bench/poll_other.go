//go:build !linux

package bench

import (
	"time"

	"golang.org/x/sys/unix"
)

// poller waits for many sockets at once, with poll(2): its cost grows with the
// number of sockets. It is not safe for concurrent use.
type poller struct {
	fds   []unix.PollFd
	ids   []int
	at    map[int]int // where in fds an id is
	ready []ready
}

// ready is a socket that can be read or written.
type ready struct {
	id          int
	read, write bool
}

func newPoller() (*poller, error) { return &poller{at: make(map[int]int)}, nil }

func (p *poller) close() error { return nil }

func interest(write bool) int16 {
	if write {
		return unix.POLLIN | unix.POLLOUT
	}
	return unix.POLLIN
}

// add waits for a socket to be readable, and writable if write is set.
func (p *poller) add(fd, id int, write bool) error {
	p.at[id] = len(p.fds)
	p.fds = append(p.fds, unix.PollFd{Fd: int32(fd), Events: interest(write)})
	p.ids = append(p.ids, id)
	return nil
}

func (p *poller) change(_, id int, write bool) error {
	p.fds[p.at[id]].Events = interest(write)
	return nil
}

// remove must come before the socket is closed. It may come twice.
func (p *poller) remove(_, id int) {
	i, ok := p.at[id]
	if !ok {
		return
	}
	last := len(p.fds) - 1
	p.fds[i], p.ids[i] = p.fds[last], p.ids[last]
	p.at[p.ids[i]] = i
	p.fds, p.ids = p.fds[:last], p.ids[:last]
	delete(p.at, id)
}

// wait returns what is ready, or nothing after at most d. The result is valid
// until the next call.
func (p *poller) wait(d time.Duration) ([]ready, error) {
	timeout := 0
	if d > 0 {
		timeout = int(d/time.Millisecond) + 1
	}
	_, err := unix.Poll(p.fds, timeout)
	if err != nil && err != unix.EINTR {
		return nil, err
	}
	p.ready = p.ready[:0]
	for i, f := range p.fds {
		if f.Revents != 0 && err == nil {
			p.ready = append(p.ready, ready{p.ids[i], f.Revents&^unix.POLLOUT != 0, f.Revents&^unix.POLLIN != 0})
		}
	}
	return p.ready, nil
}

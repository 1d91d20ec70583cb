package bench

import (
	"errors"
	"time"

	"golang.org/x/sys/unix"
)

// poller waits for many sockets at once. It is not safe for concurrent use.
type poller struct {
	fd     int
	timer  int
	events []unix.EpollEvent
	ready  []ready
}

func newPoller() (*poller, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, err
	}
	timer, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC)
	if err != nil {
		return nil, errors.Join(err, unix.Close(fd))
	}
	p := &poller{fd: fd, timer: timer, events: make([]unix.EpollEvent, 512)}
	// Edge-triggered: the timer is never read, only set again. No connection has its
	// descriptor, so the loop ignores it.
	ev := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLET, Fd: int32(timer)}
	if err := unix.EpollCtl(fd, unix.EPOLL_CTL_ADD, timer, &ev); err != nil {
		return nil, errors.Join(err, p.close())
	}
	return p, nil
}

func (p *poller) close() error { return errors.Join(unix.Close(p.timer), unix.Close(p.fd)) }

func (p *poller) control(op, fd int, write bool) error {
	ev := &unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLRDHUP, Fd: int32(fd)}
	if write {
		ev.Events |= unix.EPOLLOUT
	}
	return unix.EpollCtl(p.fd, op, fd, ev)
}

// add waits for a socket to be readable, and writable if write is set.
func (p *poller) add(fd int, write bool) error { return p.control(unix.EPOLL_CTL_ADD, fd, write) }

func (p *poller) change(fd int, write bool) error { return p.control(unix.EPOLL_CTL_MOD, fd, write) }

// remove must come before the socket is closed. It may come twice.
func (p *poller) remove(fd int) { unix.EpollCtl(p.fd, unix.EPOLL_CTL_DEL, fd, nil) }

// wait returns the sockets that are ready, or none after at most d. The result is valid
// until the next call.
func (p *poller) wait(d time.Duration) ([]ready, error) {
	timeout := 0
	if d > 0 {
		timeout = int(d/time.Millisecond) + 1
		if d < 20*time.Millisecond { // milliseconds are too coarse
			when := unix.ItimerSpec{Value: unix.NsecToTimespec(int64(d))}
			if err := unix.TimerfdSettime(p.timer, 0, &when, nil); err != nil {
				return nil, err
			}
		}
	}
	n, err := unix.EpollWait(p.fd, p.events, timeout)
	if err != nil && err != unix.EINTR {
		return nil, err
	}
	p.ready = p.ready[:0]
	for _, ev := range p.events[:max(n, 0)] {
		p.ready = append(p.ready, ready{
			fd:    int(ev.Fd),
			read:  ev.Events&(unix.EPOLLIN|unix.EPOLLRDHUP|unix.EPOLLHUP|unix.EPOLLERR) != 0,
			write: ev.Events&(unix.EPOLLOUT|unix.EPOLLERR|unix.EPOLLHUP) != 0,
		})
	}
	return p.ready, nil
}

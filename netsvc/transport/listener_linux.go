package transport

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	acceptMost = 64      // connections that a loop accepts before others have their turn
	backlog    = 1 << 15 // for the kernel to bound, by net.core.somaxconn
)

// Listener is a listening socket. While it is open an event loop accepts connections from
// it and gives each to admit.
type Listener struct {
	Addr netip.AddrPort // read-only

	fd   int
	loop *loop

	// Set by Open, then read-only.
	admit    func(Socket, netip.AddrPort)
	busyLine string // for connections that there is no descriptor for

	mu          sync.Mutex // held while accepting
	closed      bool
	lastWarning time.Time // of a shortage
}

// Listen binds a port of an address. With port 0 the system chooses the port. Accepted
// connections inherit the socket options that are set here.
func (e *Engine) Listen(a netip.Addr, port int) (ln *Listener, err error) {
	family := unix.AF_INET
	if a.Is6() {
		family = unix.AF_INET6
	}
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, unix.IPPROTO_TCP)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	defer func() {
		if err != nil {
			unix.Close(fd)
		}
	}()
	if err := e.setOptions(fd); err != nil {
		return nil, err
	}
	var sa unix.Sockaddr
	if a.Is6() {
		if err := unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 1); err != nil {
			return nil, os.NewSyscallError("setsockopt", err)
		}
		sa6 := &unix.SockaddrInet6{Port: port, Addr: a.As16()}
		if zone := a.Zone(); zone != "" {
			i, err := net.InterfaceByName(zone)
			if err != nil {
				return nil, fmt.Errorf("%s: %w: %w", zone, errNoInterface, err)
			}
			sa6.ZoneId = uint32(i.Index)
		}
		sa = sa6
	} else {
		sa = &unix.SockaddrInet4{Port: port, Addr: a.As4()}
	}
	if err := unix.Bind(fd, sa); err != nil {
		return nil, os.NewSyscallError("bind", err)
	}
	if err := unix.Listen(fd, backlog); err != nil {
		return nil, os.NewSyscallError("listen", err)
	}
	bound, err := localAddr(fd)
	if err != nil {
		return nil, err
	}
	// The kernel knows the zone of the address by a number only.
	return e.adoptListener(fd, netip.AddrPortFrom(a, bound.Port())), nil
}

// setOptions sets the options that accepted connections inherit.
func (e *Engine) setOptions(fd int) error {
	third := max(int(e.DeadPeer()/(6*time.Second)), 1) // idle for two, and then three probes
	for _, o := range []struct{ level, name, value int }{
		{unix.SOL_SOCKET, unix.SO_REUSEADDR, 1},
		{unix.SOL_SOCKET, unix.SO_SNDBUF, sendBuffer},
		{unix.SOL_SOCKET, unix.SO_RCVBUF, recvBuffer},
		{unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1},
		{unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, 2 * third},
		{unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, third},
		{unix.IPPROTO_TCP, unix.TCP_KEEPCNT, 3},
		{unix.IPPROTO_TCP, unix.TCP_NODELAY, 1},
	} {
		if err := unix.SetsockoptInt(fd, o.level, o.name, o.value); err != nil {
			return os.NewSyscallError("setsockopt", err)
		}
	}
	// Without this option a peer that vanishes after a long pause is noticed later.
	unix.SetsockoptInt(fd, unix.IPPROTO_TCP, tcpRTOMax, third*1000)
	return nil
}

// UpdateOptions applies the present DeadPeer to connections that are accepted from now on.
func (l *Listener) UpdateOptions() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil
	}
	return l.loop.engine.setOptions(l.fd)
}

// ListenGiven makes a listener of a descriptor that listens already.
func (e *Engine) ListenGiven(fd int) (*Listener, error) {
	if err := unix.SetNonblock(fd, true); err != nil {
		return nil, os.NewSyscallError("fcntl", err)
	}
	if err := e.setOptions(fd); err != nil {
		return nil, err
	}
	bound, err := localAddr(fd)
	if err != nil {
		return nil, err
	}
	return e.adoptListener(fd, bound), nil
}

// adoptListener makes a listener of a descriptor that another process has listened on, at an
// address that may have a zone.
func (e *Engine) adoptListener(fd int, addr netip.AddrPort) *Listener {
	return &Listener{fd: fd, loop: e.loops.pick(), Addr: addr}
}

func (l *Listener) descriptor() int { return l.fd }

// Open begins to accept connections. Each goes to admit, which must not wait; a connection
// that there is no descriptor for is told busyLine.
func (l *Listener) Open(admit func(Socket, netip.AddrPort), busyLine string) error {
	l.admit, l.busyLine = admit, busyLine
	l.loop.engine.loops.listeners.set(l.fd, l)
	return os.NewSyscallError("epoll_ctl", l.loop.add(l.fd, eventListener, unix.EPOLLIN))
}

// accept accepts waiting connections. Its loop calls it.
func (l *Listener) accept() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return
	}
	for range acceptMost {
		switch more, err := l.acceptNext(); {
		case err != nil:
			if now := time.Now(); now.Sub(l.lastWarning) > time.Minute { // a shortage lasts
				l.lastWarning = now
				l.loop.engine.Log.Warn("connection cannot be accepted", "listener", l.Addr.String(), "error", err)
			}
			l.backOff()
			return
		case !more:
			return
		}
	}
}

// acceptNext accepts one connection and reports whether there may be more. The caller holds
// mu, or has detached the listener.
func (l *Listener) acceptNext() (more bool, err error) {
	// Accept4 of package unix asks the listener for its protocol each time.
	fd, sa, err := syscall.Accept4(l.fd, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
	switch err {
	case nil:
		l.loop.engine.Accepted()
		l.admit(Socket(fd), addrPort(sa))
		return true, nil
	case unix.EAGAIN:
		return false, nil
	case unix.EMFILE, unix.ENFILE:
		if l.loop.engine.reserve.refuse(l) {
			return true, nil
		}
		return false, err
	case unix.ENOMEM, unix.ENOBUFS, unix.EBADF, unix.EINVAL, unix.ENOTSOCK:
		return false, err
	}
	return true, nil // that connection is gone already (accept(2))
}

// backOff keeps the loop from spinning while no connection can be accepted. mu is held.
func (l *Listener) backOff() {
	const pause = 20 * time.Millisecond
	l.loop.remove(l.fd)
	time.AfterFunc(pause, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.closed {
			return
		}
		if err := l.loop.add(l.fd, eventListener, unix.EPOLLIN); err != nil {
			l.backOff()
		}
	})
}

// HasBacklog reports whether a connection waits to be accepted.
func (l *Listener) HasBacklog() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return !l.closed && hasUnread(uintptr(l.fd))
}

// DrainAndClose stops listening. The connections in the backlog are admitted first, which by
// then means that they are told why they are refused.
func (l *Listener) DrainAndClose() {
	if l.drain() {
		unix.Close(l.fd)
	}
}

// Close stops listening at once.
func (l *Listener) Close() {
	if l.detach() {
		unix.Close(l.fd)
	}
}

// unlisten stops listening as DrainAndClose does, and keeps the address: relisten or release
// must follow. Meanwhile another socket can listen on an address that covers this one, even
// if another process has this descriptor, too.
func (l *Listener) unlisten() {
	if l.drain() {
		unix.Shutdown(l.fd, unix.SHUT_RD)
	}
}

// relisten listens again on an address after unlisten.
func (l *Listener) relisten() (*Listener, error) {
	if err := unix.Listen(l.fd, backlog); err != nil {
		unix.Close(l.fd)
		return nil, os.NewSyscallError("listen", err)
	}
	return l.loop.engine.adoptListener(l.fd, l.Addr), nil
}

// release gives up an address after unlisten.
func (l *Listener) release() { unix.Close(l.fd) }

// detach takes the listener away from its loop. It reports false if that was done before:
// the descriptor belongs to the first caller.
func (l *Listener) detach() bool {
	l.mu.Lock()
	before := l.closed
	l.closed = true
	l.mu.Unlock()
	if before {
		return false
	}
	l.loop.engine.loops.listeners.set(l.fd, nil)
	if l.admit != nil {
		l.loop.remove(l.fd)
	}
	return true
}

// drain detaches the listener and admits the connections in its backlog: after detach, so
// that no loop waits for strangers. It reports false if the listener was detached before.
func (l *Listener) drain() bool {
	if !l.detach() {
		return false
	}
	if l.admit == nil {
		return true
	}
	until, last := time.Now().Add(drainTime), false
	for range drainMost {
		more, err := l.acceptNext()
		if err != nil {
			break
		}
		now := time.Now()
		if !more && !last {
			last, until = true, now.Add(drainGrace)
		}
		if !now.Before(until) {
			break
		}
		if !more { // poll(2) would keep a processor from others until the runtime notices
			time.Sleep(time.Millisecond)
		}
	}
	return true
}

// refuse accepts one connection with the reserve, tells it busyLine, and closes it. It
// reports false if the reserve could not be used.
func (v *reserve) refuse(l *Listener) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	if !v.spend() {
		return false
	}
	defer v.fill()
	fd, _, err := unix.Accept4(l.fd, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
	if err != nil {
		return false
	}
	l.loop.engine.Accepted()
	l.loop.engine.OutOfDescriptors()
	send(fd, []byte(l.busyLine))
	unix.Close(fd)
	return true
}

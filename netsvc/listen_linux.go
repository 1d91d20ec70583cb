package netsvc

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// socket is a connection that was accepted and is nobody's yet.
type socket int

// acceptMost is how many connections are accepted before others have their turn.
const acceptMost = 64

// listener is a listening descriptor. While it is open an event loop accepts
// from it, and gives each connection to admit.
type listener struct {
	fd   int
	loop *loop
	addr netip.AddrPort

	// Set by open, then read-only.
	svc   *Service
	admit func(socket, netip.AddrPort)
	busy  string // what those are told whom we have no descriptor for

	mu     sync.Mutex // held while accepting
	closed bool
	said   time.Time // when a shortage was logged last
}

// listenOn binds a port on an address. Port 0 lets the system choose. What is
// accepted inherits the options that are set here.
func (s *Service) listenOn(a netip.Addr, port int) (ln *listener, err error) {
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
	if err := s.tune(fd); err != nil {
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
				return nil, zoneError(a, err)
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
	bound, err := unix.Getsockname(fd)
	if err != nil {
		return nil, os.NewSyscallError("getsockname", err)
	}
	// The address with its zone, which the kernel knows by a number only.
	return &listener{fd: fd, loop: s.loops.pick(), addr: netip.AddrPortFrom(a, addrPort(bound).Port()), svc: s}, nil
}

// tune sets the options that what is accepted inherits.
func (s *Service) tune(fd int) error {
	third := max(int(s.opts().DeadPeer/(6*time.Second)), 1) // idle for two, and then three probes
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
	// Best effort: without it a peer that vanishes after a long pause is
	// noticed later.
	unix.SetsockoptInt(fd, unix.IPPROTO_TCP, tcpRTOMax, third*1000)
	return nil
}

// retune is tune for a listener that is open, which may just be closed.
func (l *listener) retune() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil
	}
	return l.svc.tune(l.fd)
}

// listenGiven makes a listener of a descriptor that listens already.
func (s *Service) listenGiven(fd int) (*listener, error) {
	if err := unix.SetNonblock(fd, true); err != nil {
		return nil, os.NewSyscallError("fcntl", err)
	}
	if err := s.tune(fd); err != nil {
		return nil, err
	}
	bound, err := unix.Getsockname(fd)
	if err != nil {
		return nil, os.NewSyscallError("getsockname", err)
	}
	return &listener{fd: fd, loop: s.loops.pick(), addr: addrPort(bound), svc: s}, nil
}

// backlog is for the kernel to bound, by net.core.somaxconn.
const backlog = 1 << 15

// port is the one it is bound to.
func (l *listener) port() int { return int(l.addr.Port()) }

// open begins to accept.
func (l *listener) open(admit func(socket, netip.AddrPort), busy string) error {
	l.admit, l.busy = admit, busy
	l.loop.all.doors.set(l.fd, l)
	return os.NewSyscallError("epoll_ctl", l.loop.add(l.fd, dataDoor, unix.EPOLLIN))
}

// accept admits who is waiting, called by the loop.
func (l *listener) accept() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return
	}
	for range acceptMost {
		switch more, err := l.next(); {
		case err != nil:
			// A shortage lasts, and is looked at fifty times a second.
			if now := time.Now(); now.Sub(l.said) > time.Minute {
				l.said = now
				l.svc.log.Warn("nobody can be accepted at the moment", "listener", l.addr.String(), "error", err)
			}
			l.rest()
			return
		case !more:
			return
		}
	}
}

// next admits one connection and reports whether there may be more. mu is held.
func (l *listener) next() (more bool, err error) {
	fd, sa, err := unix.Accept4(l.fd, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
	switch err {
	case nil:
		l.svc.counters.accepted.Add(1)
		l.admit(socket(fd), addrPort(sa))
		return true, nil
	case unix.EAGAIN:
		return false, nil
	case unix.EMFILE, unix.ENFILE:
		if l.svc.reserve.refuse(l, l.busy) {
			return true, nil
		}
		return false, err
	case unix.ENOMEM, unix.ENOBUFS, unix.EBADF, unix.EINVAL, unix.ENOTSOCK:
		return false, err
	}
	return true, nil // that connection is gone already (accept(2))
}

// rest keeps the loop from spinning while nobody can be accepted. mu is held.
func (l *listener) rest() {
	const pause = 20 * time.Millisecond
	unix.EpollCtl(l.loop.ep, unix.EPOLL_CTL_DEL, l.fd, nil)
	time.AfterFunc(pause, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.closed {
			return
		}
		if err := l.loop.add(l.fd, dataDoor, unix.EPOLLIN); err != nil {
			l.rest()
		}
	})
}

// waited reports whether somebody waits to be accepted.
func (l *listener) waited() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return !l.closed && hasUnread(uintptr(l.fd))
}

// end stops listening. A connection that is in the backlog is admitted first,
// which by then means that it is told why not. The listener leaves its loop before
// that: no loop waits for strangers.
func (l *listener) end() {
	if !l.leave() {
		return
	}
	if l.admit != nil {
		l.drain()
	}
	unix.Close(l.fd)
}

// close stops listening at once.
func (l *listener) close() {
	if l.leave() {
		unix.Close(l.fd)
	}
}

// yield stops listening as end does, and keeps the address: after it comes again
// or release. Another socket can listen on an address that covers this one
// meanwhile, even if another process has this descriptor, too.
func (l *listener) yield() {
	if !l.leave() {
		return
	}
	if l.admit != nil {
		l.drain()
	}
	unix.Shutdown(l.fd, unix.SHUT_RD)
}

// again listens once more on an address after yield.
func (l *listener) again() (*listener, error) {
	if err := unix.Listen(l.fd, backlog); err != nil {
		unix.Close(l.fd)
		return nil, os.NewSyscallError("listen", err)
	}
	return &listener{fd: l.fd, loop: l.svc.loops.pick(), addr: l.addr, svc: l.svc}, nil
}

// release gives up an address after yield.
func (l *listener) release() { unix.Close(l.fd) }

// leave takes the listener away from its loop. It reports false if that was done
// before: the descriptor is the first caller's.
func (l *listener) leave() bool {
	l.mu.Lock()
	before := l.closed
	l.closed = true
	l.mu.Unlock()
	if before {
		return false
	}
	l.loop.all.doors.set(l.fd, nil)
	if l.admit != nil {
		unix.EpollCtl(l.loop.ep, unix.EPOLL_CTL_DEL, l.fd, nil) // ENOENT: it rests
	}
	return true
}

// drain admits the connections in the backlog, at most backlogMost of them and for
// backlogTime, after leave.
func (l *listener) drain() {
	until, last := time.Now().Add(backlogTime), false
	for range backlogMost {
		more, err := l.next()
		if err != nil {
			return
		}
		now := time.Now()
		if !more && !last {
			last, until = true, now.Add(lastRound)
		}
		left := until.Sub(now)
		if left <= 0 {
			return
		}
		if more {
			continue
		}
		wait := unix.NsecToTimespec(int64(left))
		if n, err := unix.Ppoll([]unix.PollFd{{Fd: int32(l.fd), Events: unix.POLLIN}}, &wait, nil); n == 0 || err != nil && err != unix.EINTR {
			return
		}
	}
}

// refuse accepts one connection on the reserve, says busy, and closes it. It
// reports false if the reserve could not be used.
func (v *reserve) refuse(l *listener, busy string) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.file == nil {
		v.fill()
		return false
	}
	v.file.Close()
	v.file = nil
	defer v.fill()
	fd, _, err := unix.Accept4(l.fd, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
	if err != nil {
		return false
	}
	l.svc.counters.accepted.Add(1)
	l.svc.counters.refused(noRoomLeft)
	send(fd, []byte(busy))
	unix.Close(fd)
	return true
}

// engine is what serves plain connections.
func (s *Service) engine() string {
	if s.opts().Portable {
		return "goroutines"
	}
	return fmt.Sprintf("event loops (%d)", len(s.loops.each))
}

// link makes a member's connection of it.
func (s *Service) link(c socket, remote netip.AddrPort) link {
	if s.opts().Portable {
		return newStream(c.conn(remote))
	}
	return &direct{fd: int(c), loop: s.loops.pick()}
}

// linkOf makes a member's connection of one that was a net.Conn for a while.
func (s *Service) linkOf(c conn, remote netip.AddrPort) link {
	if !s.opts().Portable {
		fd := -1
		control(c, func(old uintptr) { fd, _ = unix.FcntlInt(old, unix.F_DUPFD_CLOEXEC, 0) })
		if fd >= 0 {
			c.Close()
			return s.link(socket(fd), remote)
		}
	}
	return newStream(c) // there is no descriptor left
}

// conn makes a net.Conn of it, without a descriptor more.
func (c socket) conn(remote netip.AddrPort) conn {
	return fileConn{os.NewFile(uintptr(c), "tcp"), net.TCPAddrFromAddrPort(remote)}
}

// tell writes a line, of which nobody waits to hear, and closes.
func (c socket) tell(line string) {
	unix.Write(int(c), []byte(line))
	unix.Close(int(c))
}

// fileConn is a TCP connection made of its descriptor. net.FileConn would take
// another one, which there may not be.
type fileConn struct {
	*os.File
	remote net.Addr
}

func (c fileConn) RemoteAddr() net.Addr { return c.remote }

func (c fileConn) LocalAddr() (a net.Addr) {
	control(c, func(fd uintptr) {
		if sa, err := unix.Getsockname(int(fd)); err == nil {
			a = net.TCPAddrFromAddrPort(addrPort(sa))
		}
	})
	return a
}

func (c fileConn) CloseWrite() error {
	var err error
	control(c, func(fd uintptr) { err = unix.Shutdown(int(fd), unix.SHUT_WR) })
	return err
}

func addrPort(sa unix.Sockaddr) netip.AddrPort {
	switch sa := sa.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(sa.Addr), uint16(sa.Port))
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(sa.Addr).Unmap(), uint16(sa.Port))
	}
	return netip.AddrPort{}
}

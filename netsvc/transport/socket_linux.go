package transport

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// Socket is a connection that was accepted and has no owner yet.
type Socket int

// String names what serves connections.
func (e *Engine) String() string {
	if e.Portable {
		return "goroutines"
	}
	return fmt.Sprintf("event loops (%d)", len(e.loops.all))
}

// ErrNoHandover is why an engine without event loops cannot be frozen.
var ErrNoHandover = errors.New("only connections of event loops can be handed over, and this server has none")

// CanHandOver reports whether another process can take connections over.
func (e *Engine) CanHandOver() bool { return !e.Portable }

// NewConn makes a conn of an accepted connection.
func (e *Engine) NewConn(s Socket, remote netip.AddrPort) *Conn {
	if e.Portable {
		c := s.TCP(remote)
		return e.newStream(c, c)
	}
	return &Conn{fd: int32(s), loop: e.loops.pick()}
}

// ConnFromNet makes a conn of a connection that was a net.Conn for a while: c is tcp, or TLS
// by Secure over tcp. That takes one descriptor more for a moment: if there is none, Start
// fails.
func (e *Engine) ConnFromNet(c HalfCloser, tcp TCP, remote netip.AddrPort) *Conn {
	if e.Portable {
		return e.newStream(c, tcp)
	}
	fd := -1
	control(tcp, func(old uintptr) { fd, _ = unix.FcntlInt(old, unix.F_DUPFD_CLOEXEC, 0) })
	conn := e.NewConn(Socket(fd), remote)
	if fd < 0 {
		conn.stream = &stream{conn: c}
		return conn
	}
	tcp.Close()
	if t, ok := c.(*tls.Conn); ok {
		k := t.NetConn().(*cipherSocket)
		k.TCP, k.conn = nil, conn
		conn.stream = &stream{conn: c, cipher: k}
	}
	return conn
}

// TCPBeneath returns the TCP connection beneath one that Conn.Release, Conn.Detach or a handshake has returned.
func TCPBeneath(c HalfCloser) TCP {
	t, ok := c.(*tls.Conn)
	if !ok {
		return c.(TCP)
	}
	if k, ok := t.NetConn().(*cipherSocket); ok {
		return k.TCP
	}
	return t.NetConn().(TCP) // of a portable engine
}

// AdoptConn makes a conn of a descriptor of another process. Its write lock is taken until
// ThawWrites.
func (e *Engine) AdoptConn(fd int) *Conn {
	c := &Conn{fd: int32(fd), loop: e.loops.pick()}
	c.writeLock.TryAcquire()
	return c
}

// TCP makes a net.Conn of the connection, and takes no further descriptor.
func (s Socket) TCP(remote netip.AddrPort) TCP {
	return fileConn{os.NewFile(uintptr(s), "tcp"), net.TCPAddrFromAddrPort(remote)}
}

// WriteAndClose writes a line, which may be lost, and closes the connection.
func (s Socket) WriteAndClose(line string) {
	unix.Write(int(s), []byte(line))
	unix.Close(int(s))
}

// fileConn is a TCP connection made of its descriptor. net.FileConn would take another
// descriptor, which there may not be.
type fileConn struct {
	*os.File
	remote net.Addr
}

// Read returns the error of a deadline as a net.Error, which it is in net.Conn: TLS and HTTP tell it from
// one that is final.
func (c fileConn) Read(p []byte) (int, error) {
	n, err := c.File.Read(p)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = os.ErrDeadlineExceeded
	}
	return n, err
}

func (c fileConn) RemoteAddr() net.Addr { return c.remote }

func (c fileConn) LocalAddr() (a net.Addr) {
	control(c, func(fd uintptr) {
		if addr, err := localAddr(int(fd)); err == nil {
			a = net.TCPAddrFromAddrPort(addr)
		}
	})
	return a
}

func (c fileConn) CloseWrite() error {
	var err error
	control(c, func(fd uintptr) { err = unix.Shutdown(int(fd), unix.SHUT_WR) })
	return err
}

func localAddr(fd int) (netip.AddrPort, error) {
	sa, err := syscall.Getsockname(fd)
	return addrPort(sa), os.NewSyscallError("getsockname", err)
}

func addrPort(sa syscall.Sockaddr) netip.AddrPort {
	switch sa := sa.(type) {
	case *syscall.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(sa.Addr), uint16(sa.Port))
	case *syscall.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(sa.Addr).Unmap(), uint16(sa.Port))
	}
	return netip.AddrPort{}
}

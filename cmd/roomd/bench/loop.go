package bench

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
)

// conn is a non-blocking connection on the loop.
type conn struct {
	fd       int // -1: closed
	handler  handler
	up       bool // connected
	blocked  bool // the poller waits for it to be writable
	out      []byte
	received uint64 // bytes
}

// handler is the user of a connection. Its methods run on the loop's goroutine.
type handler interface {
	// receive takes bytes of the peer. They are valid during the call.
	receive(l *loop, data []byte) error
	// closed is called once, when the peer has closed or the connection has failed; the
	// connection is closed already.
	closed(l *loop, cause error) error
}

// ready is a socket that can be read or written.
type ready struct {
	fd          int
	read, write bool
}

// loop drives connections. All its methods are for one goroutine.
type loop struct {
	poll   *poller
	conns  map[int]*conn // by descriptor
	buf    []byte
	start  time.Time
	dialed int // connections that it has opened, for the source address
}

func newLoop() (*loop, error) {
	p, err := newPoller()
	if err != nil {
		return nil, fmt.Errorf("open a poller: %w", err)
	}
	return &loop{poll: p, conns: make(map[int]*conn), buf: make([]byte, 256<<10), start: time.Now()}, nil
}

// now returns the time since the loop began.
func (l *loop) now() time.Duration { return time.Since(l.start) }

func (l *loop) close() error {
	for _, c := range l.conns {
		l.closeConn(c)
	}
	return l.poll.close()
}

// connsPerSource is how many connections have the same source address: one address
// has some 28,000 ports for connections to one port.
const connsPerSource = 10000

// open begins to connect. It sends the bytes in c.out as soon as it is connected.
func (l *loop) open(c *conn, to netip.AddrPort, h handler) error {
	family, addr := unix.AF_INET6, unix.Sockaddr(&unix.SockaddrInet6{Port: int(to.Port()), Addr: to.Addr().As16()})
	if to.Addr().Is4() {
		family, addr = unix.AF_INET, &unix.SockaddrInet4{Port: int(to.Port()), Addr: to.Addr().As4()}
	}
	fd, err := unix.Socket(family, unix.SOCK_STREAM, 0)
	if err != nil {
		return fmt.Errorf("open a socket: %w", err)
	}
	unix.CloseOnExec(fd)
	err = errors.Join(unix.SetNonblock(fd, true), unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1))
	if err == nil && to.Addr().Is4() && to.Addr().IsLoopback() {
		err = bindSource(fd, [4]byte{127, 0, 0, byte(1 + l.dialed/connsPerSource%200)})
	}
	l.dialed++
	if err == nil {
		err = unix.Connect(fd, addr)
	}
	if err != nil && err != unix.EINPROGRESS {
		return errors.Join(fmt.Errorf("connect to %v: %w", to, err), unix.Close(fd))
	}
	c.fd, c.handler, c.up, c.blocked, c.received = fd, h, false, true, 0
	l.conns[fd] = c
	return l.poll.add(fd, true)
}

// closeConn closes a connection without a call of its handler.
func (l *loop) closeConn(c *conn) {
	if c.fd < 0 {
		return
	}
	l.poll.remove(c.fd)
	delete(l.conns, c.fd)
	unix.Close(c.fd)
	c.fd = -1
}

// flush sends c.out, as far as the socket takes it.
func (l *loop) flush(c *conn) error {
	if !c.up || c.blocked || c.fd < 0 || len(c.out) == 0 {
		return nil
	}
	n, err := unix.Write(c.fd, c.out)
	if err != nil && err != unix.EAGAIN && err != unix.EINTR {
		return l.fail(c, err)
	}
	c.out = c.out[:copy(c.out, c.out[max(n, 0):])]
	if len(c.out) > 0 {
		c.blocked = true
		return l.poll.change(c.fd, true)
	}
	return nil
}

// closeWrite ends the sending side; the peer closes the connection then.
func (l *loop) closeWrite(c *conn) error { return unix.Shutdown(c.fd, unix.SHUT_WR) }

func (l *loop) fail(c *conn, cause error) error {
	l.closeConn(c)
	return c.handler.closed(l, cause)
}

// turn waits at most d for sockets to be ready and handles them.
func (l *loop) turn(d time.Duration) error {
	events, err := l.poll.wait(d)
	for _, ev := range events {
		c := l.conns[ev.fd]
		if c != nil && ev.write && c.blocked {
			err = l.writable(c)
		}
		if c != nil && ev.read && c.fd == ev.fd && err == nil {
			err = l.readable(c)
		}
		if err != nil {
			return err
		}
	}
	return err
}

func (l *loop) writable(c *conn) error {
	if !c.up {
		if n, err := unix.GetsockoptInt(c.fd, unix.SOL_SOCKET, unix.SO_ERROR); err != nil || n != 0 {
			return l.fail(c, errors.Join(err, unix.Errno(n)))
		}
		c.up = true
	}
	c.blocked = false
	if err := l.poll.change(c.fd, false); err != nil {
		return err
	}
	return l.flush(c)
}

func (l *loop) readable(c *conn) error {
	n, err := unix.Read(c.fd, l.buf)
	switch {
	case err == unix.EAGAIN || err == unix.EINTR:
		return nil
	case err != nil:
		return l.fail(c, err)
	case n == 0:
		return l.fail(c, errors.New("closed by the server"))
	}
	c.received += uint64(n)
	if err := c.handler.receive(l, l.buf[:n]); err != nil {
		return err
	}
	return l.flush(c)
}

// runUntil runs the loop until done returns true, and fails after a limit. It calls idle,
// if not nil, before each wait; that may last as long as idle returns.
func (l *loop) runUntil(ctx context.Context, limit time.Duration, what string, done func() bool, idle func() (time.Duration, error)) error {
	end := time.Now().Add(limit)
	for !done() {
		wait := 50 * time.Millisecond
		if idle != nil {
			d, err := idle()
			if err != nil {
				return err
			}
			wait = min(wait, d)
		}
		if err := l.turn(wait); err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if time.Now().After(end) {
			return faultf("%s: not within %v", what, limit)
		}
	}
	return nil
}

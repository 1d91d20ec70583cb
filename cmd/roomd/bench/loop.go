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
	id       int // on the loop
	user     handler
	up       bool // connected
	blocked  bool // the poller waits for it to be writable
	out      []byte
	received uint64 // bytes
}

// handler is who has a connection. Its methods run on the loop's goroutine.
type handler interface {
	// receive takes what has come. The bytes are valid during the call.
	receive(l *loop, data []byte) error
	// closed is called once, when the peer has closed or the connection has
	// failed; the connection is closed already.
	closed(l *loop, cause error) error
}

// loop drives connections. All its methods are for one goroutine.
type loop struct {
	poll   *poller
	conns  []*conn // by id; nil: free
	free   []int
	buf    []byte
	start  time.Time
	dialed int // how many connections it has opened, for the source address
}

func newLoop() (*loop, error) {
	p, err := newPoller()
	if err != nil {
		return nil, fmt.Errorf("open a poller: %w", err)
	}
	return &loop{poll: p, buf: make([]byte, 256<<10), start: time.Now()}, nil
}

// now is the time since the loop began.
func (l *loop) now() time.Duration { return time.Since(l.start) }

func (l *loop) close() error {
	for _, c := range l.conns {
		if c != nil {
			l.closeConn(c)
		}
	}
	return l.poll.close()
}

// connsPerSource is how many connections have the same source address: one address
// has some 28,000 ports for connections to one port.
const connsPerSource = 10000

// open begins to connect. What is in c.out is sent as soon as it is connected.
func (l *loop) open(c *conn, to netip.AddrPort, u handler) error {
	family, six := unix.AF_INET, to.Addr().Is6()
	var addr unix.Sockaddr = &unix.SockaddrInet4{Port: int(to.Port()), Addr: as4(to.Addr())}
	if six {
		family, addr = unix.AF_INET6, &unix.SockaddrInet6{Port: int(to.Port()), Addr: to.Addr().As16()}
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
	if err != nil {
		return errors.Join(err, unix.Close(fd))
	}
	err = unix.Connect(fd, addr)
	if err != nil && err != unix.EINPROGRESS {
		return errors.Join(fmt.Errorf("connect to %v: %w", to, err), unix.Close(fd))
	}
	if n := len(l.free); n > 0 {
		c.id, l.free = l.free[n-1], l.free[:n-1]
	} else {
		c.id, l.conns = len(l.conns), append(l.conns, nil)
	}
	c.fd, c.user, c.up, c.blocked, c.received = fd, u, false, true, 0
	l.conns[c.id] = c
	return l.poll.add(fd, c.id, true)
}

func as4(a netip.Addr) (b [4]byte) {
	if a.Is4() {
		b = a.As4()
	}
	return b
}

// closeConn closes a connection; its user is not called.
func (l *loop) closeConn(c *conn) {
	if c.fd < 0 {
		return
	}
	l.poll.remove(c.fd, c.id)
	unix.Close(c.fd)
	l.conns[c.id] = nil
	l.free = append(l.free, c.id)
	c.fd = -1
}

// flush sends what is in c.out, as far as the socket takes it.
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
		return l.poll.change(c.fd, c.id, true)
	}
	return nil
}

// closeWrite says that nothing more will be sent; the peer closes then.
func (l *loop) closeWrite(c *conn) error { return unix.Shutdown(c.fd, unix.SHUT_WR) }

func (l *loop) fail(c *conn, cause error) error {
	l.closeConn(c)
	return c.user.closed(l, cause)
}

var errClosed = errors.New("closed by the server")

// turn waits at most d for something to happen and handles it.
func (l *loop) turn(d time.Duration) error {
	events, err := l.poll.wait(d)
	if err != nil {
		return err
	}
	for _, ev := range events {
		c := l.conns[ev.id]
		if c == nil {
			continue // dropped while an earlier event was handled
		}
		if ev.write && c.blocked {
			if !c.up {
				if n, err := unix.GetsockoptInt(c.fd, unix.SOL_SOCKET, unix.SO_ERROR); err != nil || n != 0 {
					if err := l.fail(c, errors.Join(err, unix.Errno(n))); err != nil {
						return err
					}
					continue
				}
				c.up = true
			}
			c.blocked = false
			if err := l.poll.change(c.fd, c.id, false); err != nil {
				return err
			}
			if err := l.flush(c); err != nil {
				return err
			}
		}
		if !ev.read || c.fd < 0 {
			continue
		}
		n, err := unix.Read(c.fd, l.buf)
		switch {
		case err == unix.EAGAIN || err == unix.EINTR:
		case err != nil:
			err = l.fail(c, err)
		case n == 0:
			err = l.fail(c, errClosed)
		default:
			c.received += uint64(n)
			if err = c.user.receive(l, l.buf[:n]); err == nil {
				err = l.flush(c)
			}
		}
		if err != nil && err != unix.EAGAIN && err != unix.EINTR {
			return err
		}
	}
	return nil
}

// runUntil runs the loop until done says so, and fails when that takes too long.
// idle, if not nil, is called before each wait and says how long that may be.
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

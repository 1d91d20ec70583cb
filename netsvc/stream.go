package netsvc

import (
	"cmp"
	"io"
	"net"
	"net/netip"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

const readBuffer = 16 << 10 // bytes taken from a connection at a time

var readBuffers = sync.Pool{New: func() any { b := make([]byte, readBuffer); return &b }}

// stream is a link over any net.Conn: TLS, and plain TCP where there are no
// event loops. A goroutine reads and one writes.
type stream struct {
	conn halfCloser
	tcp  conn // beneath conn, or conn itself
	m    *Member
	work chan struct{} // capacity 1: something is pending for the writer
	busy atomic.Bool   // its reader handles input
}

// halfCloser is a connection of which we can close our side alone.
type halfCloser interface {
	net.Conn
	CloseWrite() error
}

// conn is a TCP connection.
type conn interface {
	halfCloser
	SyscallConn() (syscall.RawConn, error)
}

func newStream(c conn) *stream { return &stream{conn: c, tcp: c, work: make(chan struct{}, 1)} }

// linkThrough makes a member's connection of one that has passed the gate.
func (s *Service) linkThrough(c halfCloser, tcp conn, remote netip.AddrPort) link {
	if c == tcp {
		return s.linkOf(tcp, remote)
	}
	return &stream{conn: c, tcp: tcp, work: make(chan struct{}, 1)}
}

func (k *stream) start(m *Member) error {
	k.m = m
	go k.writer()
	go k.reader()
	k.nudge()
	return nil
}

// reader hands what comes to the member until there is no more, or the member
// has ended.
func (k *stream) reader() {
	m := k.m
	acquire(&m.reading) // it is nobody else's
	c := Cause("")
	defer func() {
		if p := recover(); p != nil {
			m.panicked(p, debug.Stack())
			c = destroyed
		}
		m.finish(c)
	}()
	if c = k.readOn(); c != "" { // what was read before it was a member
		return
	}
	for {
		k.busy.Store(false)
		p, done, err := k.read()
		k.busy.Store(true)
		if err != nil {
			c = k.last(err)
			return
		}
		c = k.handle(p)
		done()
		if c != "" {
			return
		}
		k.nudge()
	}
}

// handle handles what was read, but nothing while the server stands still: it
// may be another process's by then, which has all that was committed and none of
// this.
func (k *stream) handle(p []byte) (c Cause) {
	m, svc := k.m, k.m.room.svc
	if end, ok := svc.alterUnlessMoved(); !ok {
		return ""
	} else if c, taken := m.input(p); taken {
		end()
		return c
	} else {
		end()
	}
	return k.readOn()
}

// readOn handles the leftover, if there is one.
func (k *stream) readOn() Cause {
	for k.m.left != nil {
		end, ok := k.m.room.svc.alterUnlessMoved()
		if !ok {
			return ""
		}
		c := k.m.readOn()
		end()
		if c != "" || k.m.left != nil && !k.m.room.svc.outlast() {
			return c
		}
	}
	return ""
}

// last is lastInput, but nothing while the server stands still.
func (k *stream) last(err error) Cause {
	for !k.m.hasEnded() {
		end, ok := k.m.room.svc.alterUnlessMoved()
		if !ok {
			break
		}
		c, ok := k.m.lastInput(err)
		end()
		if ok {
			return c
		}
		if !k.m.room.svc.outlast() {
			break
		}
	}
	return vanished
}

// read is readInput, if the connection is nothing but TCP: others hold their
// buffer while they wait.
func (k *stream) read() (p []byte, done func(), err error) {
	if k.conn == k.tcp {
		return readInput(k.tcp, k.m.fitBuffer)
	}
	return readNow(k.conn, k.m.fitBuffer)
}

// readInput waits for input, without a buffer, and returns it in one that must
// go back by done. fit is the part of a buffer to read into.
func readInput(c conn, fit func([]byte) []byte) (p []byte, done func(), err error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return nil, nil, err
	}
	var met error // the error of a reset is given once
	err = raw.Read(func(fd uintptr) (ok bool) {
		ok, met = hasInput(fd)
		return ok
	})
	if err := cmp.Or(err, met); err != nil {
		return nil, nil, err
	}
	return readNow(c, fit)
}

func readNow(c net.Conn, fit func([]byte) []byte) (p []byte, done func(), err error) {
	b := readBuffers.Get().(*[]byte)
	n, err := c.Read(fit(*b))
	if n > 0 {
		return (*b)[:n], func() { readBuffers.Put(b) }, nil
	}
	readBuffers.Put(b)
	if err == nil {
		err = io.ErrNoProgress
	}
	return nil, nil, err
}

// writer writes what is pending each time it is told that something is.
func (k *stream) writer() {
	m := k.m
	for range k.work {
		if acquire(&m.hold) {
			m.feed()
		}
		if m.isDrained() {
			return
		}
	}
}

func (k *stream) nudge() bool {
	select {
	case k.work <- struct{}{}:
	default:
	}
	return true
}

func (k *stream) movable() bool { return false }

func (k *stream) write(p []byte) (int, error) { return k.conn.Write(p) }

func (k *stream) wakeReader() { k.conn.SetReadDeadline(time.Unix(1, 0)) }

func (k *stream) abort() {
	k.conn.SetWriteDeadline(time.Unix(1, 0))
	control(k.tcp, func(fd uintptr) { syscall.Shutdown(int(fd), syscall.SHUT_RDWR) })
}

func (k *stream) close(heard bool) { closeGently(k.conn, heard) }

func (k *stream) unused(netip.AddrPort) halfCloser { return k.conn }

// readOut reads until the peer closes its side, for a bounded time: closing with
// input unread would reset the connection, and what was written last be lost.
func readOut(c net.Conn) {
	c.SetReadDeadline(time.Now().Add(readOutTime))
	b := readBuffers.Get().(*[]byte)
	defer readBuffers.Put(b)
	for n := 0; n < readOutBytes; {
		got, err := c.Read(*b)
		if err != nil {
			return
		}
		n += got
	}
}

// closeGently ends a connection so that the peer gets what was written.
func closeGently(c halfCloser, heard bool) {
	if !heard && c.CloseWrite() == nil {
		readOut(c)
	}
	c.Close()
}

func (k *stream) unanswered(limit time.Duration) (waiting, silent bool) {
	control(k.tcp, func(fd uintptr) { waiting, silent = unanswered(fd, limit) })
	return waiting, silent
}

func (k *stream) wasReset() (reset bool) {
	control(k.tcp, func(fd uintptr) { reset = wasReset(fd) })
	return reset
}

func (k *stream) hungUp() bool { return isHungUp(k.tcp) }

func (k *stream) hasInput() (has bool) {
	control(k.tcp, func(fd uintptr) { has = hasUnread(fd) })
	return has || k.busy.Load()
}

func isHungUp(c conn) (closed bool) {
	control(c, func(fd uintptr) { closed = hungUp(fd) })
	return closed
}

func control(c conn, fn func(fd uintptr)) {
	if raw, err := c.SyscallConn(); err == nil {
		raw.Control(fn) // fails for a closed connection only
	}
}

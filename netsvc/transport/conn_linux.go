package transport

import (
	"io"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
)

func (c *Conn) startOnLoop(pending bool) error {
	pending = pending || c.stream != nil // TLS may have read more than the handshake
	if pending {
		c.readLock.TryAcquire()
	}
	e := c.engine()
	e.loops.conns.set(int(c.fd), c)
	if err := c.loop.add(int(c.fd), eventConn, connEvents); err != nil {
		e.loops.conns.set(int(c.fd), nil)
		return err
	}
	switch {
	case pending && e.Suspended():
		c.freezeRead()
	case pending:
		c.startResume()
	}
	return nil
}

func (c *Conn) detachOnLoop(remote netip.AddrPort) HalfCloser {
	tcp := Socket(c.fd).TCP(remote)
	if c.stream == nil {
		return tcp
	}
	c.stream.cipher.TCP, c.stream.cipher.conn = tcp, nil
	return c.stream.conn
}

func (c *Conn) replaceOnLoop(remote netip.AddrPort) *Conn {
	e := c.engine()
	e.loops.conns.set(int(c.fd), nil)
	unix.EpollCtl(c.loop.epfd, unix.EPOLL_CTL_DEL, int(c.fd), nil)
	next := e.NewConn(Socket(c.fd), remote)
	if next.stream = c.stream; c.stream != nil {
		k := c.stream.cipher
		k.mu.Lock()
		defer k.mu.Unlock()
		k.conn = next
		next.flags.Or(c.flags.Load() & hasUnsent)
	}
	return next
}

// startResume has pending input handled, and what comes after it, by a goroutine.
func (c *Conn) startResume() {
	c.engine().freeze.readers.Add(1)
	go c.handleResume()
}

// startPeerClosed has the end of the input handled by a goroutine.
func (c *Conn) startPeerClosed(err error) {
	c.engine().freeze.readers.Add(1)
	go c.handlePeerClosed(err)
}

// readAvailable reads and has handled what there is. The caller has the read lock, which is
// given back when there is no more. One that is not a loop has nobody who waits for
// its turn, and l is nil. toEnd says that the end of the stream may be there already,
// for which there will be no other event.
func (c *Conn) readAvailable(l *loop, buf []byte, toEnd bool) {
	e := c.engine()
	buf = e.limitRead(buf)
	for took := 0; ; {
		if c.is(isReadStopped) {
			go c.handler.Finish()
			return
		}
		if e.Suspended() && (l == nil || e.isAbandoned()) {
			c.freezeRead()
			return
		}
		if l != nil && e.pending.Load() >= maxPending {
			l.unread = append(l.unread, c)
			return
		}
		n, err := c.read(buf)
		switch {
		case err == unix.EINTR:
			continue
		case err == unix.EAGAIN:
			if c.readLock.Release() {
				return
			}
			continue
		case err != nil:
			c.startPeerClosed(err)
			return
		}
		switch c.handler.Data(buf[:n]) {
		case Defer:
			c.startResume()
			return
		case Stop:
			go c.handler.Finish()
			return
		}
		took += n
		switch {
		case c.stream != nil && took < len(buf):
			took += recordCost // there may be more records that TLS has read
		case c.stream == nil && n < len(buf) && !toEnd:
			// All there was: what comes next is a new event (epoll(7)).
			if c.readLock.Release() {
				return
			}
		case l != nil:
			l.unread = append(l.unread, c) // others are to have their turn
			return
		}
	}
}

// handlePeerClosed has the end of the input handled, which may have to wait, and then what follows
// from it. The goroutine is the conn's last one, and its stack has grown by then.
func (c *Conn) handlePeerClosed(err error) {
	growStack(0)
	if c.callPeerClosed(err) {
		c.handler.Finish()
	}
}

// growStack has the stack of a goroutine that has just begun grow at once, while there
// is next to nothing on it to move: what follows needs 8 KiB.
//
//go:noinline
func growStack(i int) byte {
	var space [4 << 10]byte
	return space[i]
}

// callPeerClosed has the end of the input handled, and reports whether the conn is at its end.
func (c *Conn) callPeerClosed(err error) bool {
	defer c.engine().freeze.readers.Add(-1)
	defer c.recoverPanic()
	switch c.handler.PeerClosed(err) {
	case Retry:
		c.freezeRead()
		return false
	case Replaced:
		return false
	}
	return true
}

// handleResume has pending input handled and then reads on, in a goroutine that may wait.
func (c *Conn) handleResume() {
	defer c.engine().freeze.readers.Add(-1)
	defer c.recoverPanic()
	switch c.handler.Resume() {
	case Stop:
		go c.handler.Finish()
		return
	case Retry:
		c.freezeRead()
		return
	case Replaced:
		return
	}
	b := readBuffers.Get().(*[]byte)
	defer readBuffers.Put(b)
	c.readAvailable(nil, *b, true)
}

// read reads what there is: EAGAIN says that there is nothing.
func (c *Conn) read(p []byte) (int, error) {
	if c.stream == nil {
		return c.recv(p)
	}
	n, err := c.stream.conn.Read(p)
	if n > 0 {
		err = nil // it comes again
	}
	return n, err
}

// write is Write.
func (c *Conn) write(p []byte) (int, error) {
	if c.stream == nil {
		return c.send(p)
	}
	return c.stream.cipher.write(c.stream.conn, p)
}

func (c *Conn) recv(p []byte) (int, error) {
	n, err := unix.Read(int(c.fd), p)
	if n == 0 && err == nil {
		err = io.EOF
	}
	return n, err
}

func (c *Conn) send(p []byte) (int, error) {
	n, err := send(int(c.fd), p)
	if err == 0 || err == unix.EAGAIN {
		return n, nil
	}
	return 0, err
}

// CloseAfterHandover closes the descriptor of a conn that another process has. The engine is frozen,
// and does not thaw.
func (c *Conn) CloseAfterHandover() {
	c.flags.Or(isHandedOver)
	// Closing is not enough: the other process has the same socket open (epoll(7)).
	unix.EpollCtl(c.loop.epfd, unix.EPOLL_CTL_DEL, int(c.fd), nil)
	unix.Close(int(c.fd))
}

func (c *Conn) closeOnLoop(heard bool) {
	if (!heard || c.stream != nil) && c.closeWrite() && !heard {
		c.linger()
	}
	c.engine().loops.conns.set(int(c.fd), nil)
	if c.stream != nil {
		c.stream.cipher.close() // a loop may just be about to write
	}
	unix.Close(int(c.fd))
}

// waitSignal waits for an event, and reports false at the end.
func (c *Conn) waitSignal(end time.Time) bool {
	left := time.Until(end)
	if c.engine().Suspended() {
		left = min(left, lingerPoll) // no loop tells
	}
	if left > 0 {
		c.handler.WaitSignal(left)
	}
	return left > 0
}

// linger reads until the peer closes its side, for a bounded time: closing with
// input unread would reset the connection, and what was written last be lost.
func (c *Conn) linger() {
	b := readBuffers.Get().(*[]byte)
	defer readBuffers.Put(b)
	end := time.Now().Add(lingerTime)
	for n := 0; n < lingerBytes; {
		got, err := c.read(*b)
		switch {
		case got > 0:
			n += got
		case err == unix.EAGAIN:
			if !c.waitSignal(end) {
				return
			}
		case err != unix.EINTR:
			return
		}
	}
}

package transport

import (
	"io"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
)

func (c *Conn) startOnLoop(pending bool) error {
	if c.fd < 0 {
		return unix.EMFILE // see ConnFromNet
	}
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
	if c.fd < 0 {
		return c.stream.conn
	}
	tcp := Socket(c.fd).TCP(remote)
	if c.stream == nil {
		return tcp
	}
	c.stream.cipher.TCP, c.stream.cipher.conn = tcp, nil
	return c.stream.conn
}

func (c *Conn) releaseFromLoop(remote netip.AddrPort) HalfCloser {
	c.engine().loops.conns.set(int(c.fd), nil)
	c.loop.remove(int(c.fd))
	tcp := Socket(c.fd).TCP(remote)
	if c.stream == nil {
		return tcp
	}
	k := c.stream.cipher
	k.mu.Lock() // a loop may be about to write
	unsent := k.cipherUnsent
	k.TCP, k.conn, k.cipherUnsent = tcp, nil, nil
	k.mu.Unlock()
	if len(unsent) > 0 { // at most an alert, or an answer to a request for new keys
		tcp.SetWriteDeadline(time.Now().Add(closeNotifyTime))
		tcp.Write(unsent) // an error is met again
		tcp.SetWriteDeadline(time.Time{})
	}
	return c.stream.conn
}

func (c *Conn) replaceOnLoop(remote netip.AddrPort) *Conn {
	e := c.engine()
	e.loops.conns.set(int(c.fd), nil)
	c.loop.remove(int(c.fd))
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

// startResume starts a goroutine that handles pending input, and then reads on.
func (c *Conn) startResume() {
	c.engine().freeze.readers.Add(1)
	go c.handleResume()
}

// startPeerClosed starts a goroutine that handles the end of the input.
func (c *Conn) startPeerClosed(err error) {
	c.engine().freeze.readers.Add(1)
	go c.handlePeerClosed(err)
}

// readAvailable reads until there is no more input, and releases the read lock of the
// caller; or leaves the lock to whoever goes on. l is the calling loop, which reads on later,
// so that other conns have their turn; nil: the caller is a goroutine that serves this conn
// alone. toEnd says that the end of the input may have come with the event: no other event
// will tell of it.
func (c *Conn) readAvailable(l *loop, buf []byte, toEnd bool) {
	e := c.engine()
	buf = e.limitRead(buf)
	for total := 0; ; {
		if c.is(isReadStopped) {
			go c.handler.Finish()
			return
		}
		if e.Suspended() && (l == nil || e.IsAbandoned()) {
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
		total += n
		switch {
		case c.stream != nil && total < len(buf):
			total += recordCost // TLS may have read more records
		case c.stream == nil && n < len(buf) && !toEnd:
			// That was all: more input is a new event (epoll(7)).
			if c.readLock.Release() {
				return
			}
		case l != nil:
			l.unread = append(l.unread, c)
			return
		}
	}
}

// handlePeerClosed has the handler handle the end of the input, and then finish. The
// goroutine is the conn's last one, and needs 8 KiB of stack.
func (c *Conn) handlePeerClosed(err error) {
	growStack(0)
	if c.callPeerClosed(err) {
		c.handler.Finish()
	}
}

// growStack grows the stack of a goroutine that has just begun: there is next to nothing on
// the stack that has to be copied.
//
//go:noinline
func growStack(i int) byte {
	var space [4 << 10]byte
	return space[i]
}

// callPeerClosed calls PeerClosed, and reports whether Finish is to follow.
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

// handleResume has the handler handle its pending input, and then reads on.
func (c *Conn) handleResume() {
	defer c.engine().freeze.readers.Add(-1)
	defer c.recoverPanic()
	switch c.handler.Resume() {
	case Stop:
		go c.handler.Finish()
	case Retry:
		c.freezeRead()
	case Replaced:
	default:
		b := readBuffers.Get().(*[]byte)
		defer readBuffers.Put(b)
		c.readAvailable(nil, *b, true)
	}
}

// read reads what there is: EAGAIN says that there is nothing.
func (c *Conn) read(p []byte) (int, error) {
	if c.stream == nil {
		return c.recv(p)
	}
	n, err := c.stream.conn.Read(p)
	if n > 0 {
		err = nil // the next read gives the error again
	}
	return n, err
}

// write writes what the kernel takes.
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

// CloseAfterHandover closes the descriptor of a conn that another process has taken over.
// The engine is frozen, and Abandon follows.
func (c *Conn) CloseAfterHandover() {
	c.flags.Or(isHandedOver)
	c.loop.remove(int(c.fd)) // closing does not do that: the other process has the socket open (epoll(7))
	unix.Close(int(c.fd))
}

func (c *Conn) closeOnLoop(peerClosed bool) {
	if (!peerClosed || c.stream != nil) && c.closeWrite() && !peerClosed {
		c.linger()
	}
	c.engine().loops.conns.set(int(c.fd), nil)
	if c.stream != nil {
		c.stream.cipher.close() // a loop may be about to write
	}
	unix.Close(int(c.fd))
}

// waitSignal waits for an event of the conn, and reports false at the deadline.
func (c *Conn) waitSignal(deadline time.Time) bool {
	left := time.Until(deadline)
	if c.engine().Suspended() {
		left = min(left, lingerPoll) // frozen loops do not signal
	}
	if left > 0 {
		c.handler.WaitSignal(left)
	}
	return left > 0
}

// linger is the function linger on an event loop.
func (c *Conn) linger() {
	b := readBuffers.Get().(*[]byte)
	defer readBuffers.Put(b)
	deadline := time.Now().Add(lingerTime)
	for n := 0; n < lingerBytes; {
		got, err := c.read(*b)
		switch {
		case got > 0:
			n += got
		case err == unix.EAGAIN:
			if !c.waitSignal(deadline) {
				return
			}
		case err != unix.EINTR:
			return
		}
	}
}

package netsvc

import (
	"errors"
	"net/netip"
	"sync"
	"syscall"
	"time"

	"roomd/netsvc/transport"
	"roomd/netsvc/wire"
)

// session is what the handlers of conns have in common that are no members': a client
// asks line by line, and is answered. While it is idle it has no buffer and no
// goroutine. What cannot be done at once is done by Resume: until then, and until the
// client has taken what it was answered, nothing more is read.
type session struct {
	// Set before it is registered, then read-only.
	svc    *Service
	conn   *transport.Conn
	remote netip.AddrPort
	since  time.Time

	// Owned by the holder of the read lock.
	framer  wire.Framer
	out     []byte // answers that are to be written
	mayWait bool   // Resume or PeerClosed is at work

	mu      sync.Mutex
	pending []byte // is being written
	err     error  // why it has ended; nil: it has not
	hurried bool   // what is written has lastWrite
	broken  bool   // the operator has closed it
	deaf    bool   // the peer is gone: it gets no more answers
	reset   bool   // a write has met a reset that came before the end of the input
	over    bool   // nothing comes after pending
	drained bool   // nothing more will be written
	closed  bool
	waiter  chan struct{} // capacity 1, made for a goroutine that waits: something has changed
}

// writeLook is how often a goroutine that has something to write looks whether the
// conn takes it, while the event loops that tell of that stand.
const writeLook = 10 * time.Millisecond

// end has nothing read any more. The first error wins.
func (c *session) end(why error) {
	c.mu.Lock()
	first := c.err == nil
	if first {
		c.err = why
	}
	c.signalLocked()
	c.mu.Unlock()
	if first {
		c.conn.EndRead()
	}
}

// hurry is end for whoever does not know why: what is written has lastWrite.
func (c *session) hurry() {
	c.mu.Lock()
	c.hurried = true
	c.mu.Unlock()
	switch err := c.mayGoOn(); {
	case err != nil:
		c.end(err)
	default:
		c.end(errMoved)
	}
}

// cut breaks the connection, and reports false if that was done, or it was closed.
func (c *session) cut() bool {
	c.mu.Lock()
	there := !c.broken && !c.closed
	if there {
		c.broken = true
		c.conn.Abort()
	}
	c.mu.Unlock()
	c.hurry()
	return there
}

// mayGoOn tells why the session is to end, if it is.
func (c *session) mayGoOn() error {
	switch {
	case c.svc.stop.Err() != nil:
		return errStopped
	case c.isBroken() || c.svc.banned(0, c.remote.Addr(), "") != nil:
		return errBanned
	}
	return nil
}

// why is the error that it has ended with; nil: it has not.
func (c *session) why() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

func (c *session) isBroken() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.broken
}

func (c *session) isDeaf() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.deaf
}

// isWhole reports whether the end of the input, err, has not cut the last line short. A
// reset may have, unless the peer had closed its side before: Linux tells that by EPIPE.
func (c *session) isWhole(err error) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return isEnd(err) && !c.reset
}

// HungUp reports whether the peer of a session that has not ended has closed its side,
// or is gone.
func (c *session) HungUp() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err == nil && c.conn.HungUp()
}

// movable reports whether another process may go on with the session: it is parked.
func (c *session) movable() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err == nil && len(c.pending) == 0 && c.conn.Movable()
}

// send begins to write the answers.
func (c *session) send() {
	c.mu.Lock()
	switch {
	case c.deaf:
	case c.pending == nil:
		c.pending = c.out
	default:
		c.pending = append(c.pending, c.out...)
	}
	c.out = nil // an idle session holds no buffer
	c.mu.Unlock()
	c.Writable()
}

// flush writes the answers. Where it may wait, it does until the client has taken them,
// else it returns errStill. A peer that has gone does not get them, but what it has
// asked for before is done: reading comes to its end.
func (c *session) flush() (err error) {
	if c.send(); c.isWritten() {
		return nil
	}
	if !c.mayWait {
		return errStill
	}
	if !c.conn.Away(func() {
		if !c.await(c.isWritten, masterWrite) {
			err = errUnread
			c.conn.Abort()
		}
	}) {
		return errMoved
	}
	return err
}

func (c *session) isWritten() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.pending) == 0
}

func (c *session) isDrained() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.drained
}

// await writes until ok, for the time at most, and for lastWrite once it is hurried.
func (c *session) await(ok func() bool, patience time.Duration) bool {
	until, hurried := time.Now().Add(patience), false
	for {
		c.waits()
		c.Writable()
		if ok() {
			return true
		}
		c.mu.Lock()
		now := c.hurried
		c.mu.Unlock()
		if last := time.Now().Add(lastWrite); now && !hurried && last.Before(until) {
			until = last
		}
		hurried = now
		left := time.Until(until)
		if left <= 0 {
			return false
		}
		if c.svc.engine.Frozen() {
			left = min(left, writeLook)
		}
		c.Pause(left)
	}
}

// Writable writes what is pending, as far as the connection takes it.
func (c *session) Writable() {
	if c.conn.BeginWrite() {
		c.Feed()
	}
}

// Feed is Writable for the holder of the write lock, which is given back.
func (c *session) Feed() {
	for {
		c.mu.Lock()
		p := c.pending
		if len(p) == 0 && c.over { // the write lock stays taken: nobody writes any more
			c.conn.Drained()
			c.drained = true
			c.signalLocked()
			c.mu.Unlock()
			return
		}
		c.mu.Unlock()
		n, err := 0, error(nil)
		if len(p) > 0 {
			n, err = c.conn.Write(p)
		}
		c.mu.Lock()
		c.pending = c.pending[n:]
		if err != nil {
			c.deaf, c.pending = true, nil
			c.reset = errors.Is(err, syscall.ECONNRESET)
		}
		if len(c.pending) == 0 {
			c.pending = nil
			c.signalLocked()
		}
		again := c.over && c.pending == nil || n == len(p) && c.pending != nil
		c.mu.Unlock()
		if !again && c.conn.EndWrite() {
			return
		}
	}
}

// close writes what is left, unless the connection is to be broken, and closes it. heard
// says that the peer has closed its side.
func (c *session) close(breaks, heard bool) {
	c.mu.Lock()
	c.over = true
	c.mu.Unlock()
	for ; breaks || !c.await(c.isDrained, lastWrite); breaks = false {
		heard = true
		c.conn.Abort()
	}
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.conn.Close(heard)
}

// Signal has a goroutine of the session look around that waits for something.
func (c *session) Signal() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.signalLocked()
}

func (c *session) signalLocked() {
	select {
	case c.waiter <- struct{}{}:
	default: // nobody waits, or it knows
	}
}

// Pause waits for a Signal, or for the time d.
func (c *session) Pause(d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-c.waits():
	case <-t.C:
	}
}

// waits returns what gets a word by Signal from now on.
func (c *session) waits() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.waiter == nil {
		c.waiter = make(chan struct{}, 1)
	}
	return c.waiter
}

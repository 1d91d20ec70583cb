package netsvc

import (
	"errors"
	"syscall"
	"time"
)

const (
	answerTimeout    = 10 * time.Second // the time in which the client has to read its answers
	lastWriteTimeout = time.Second      // the same after the session has ended
	// answerBytes is how many bytes of answers are gathered before they are written.
	answerBytes = 8 << 10
	// writePollInterval is how often a goroutine tries to write while the event loops,
	// which would call Writable, are suspended.
	writePollInterval = 10 * time.Millisecond
)

// answers is the output of a session. The session's mu guards it.
type answers struct {
	unwritten     []byte // what the connection has not taken
	lastWriteOnly bool   // the client has lastWriteTimeout to take it
	peerGone      bool   // nothing is added to it
	sawReset      bool   // a write has met a reset before the end of the input was read
	outputEnded   bool   // nothing follows unwritten
	drained       bool   // nothing more will be written
}

// send begins to write the answers.
func (c *requestSession) send() {
	c.mu.Lock()
	switch {
	case c.peerGone:
	case c.unwritten == nil:
		c.unwritten = c.out
	default:
		c.unwritten = append(c.unwritten, c.out...)
	}
	c.out = nil // an idle session has no buffer
	c.mu.Unlock()
	c.Writable()
}

// flush writes the answers. If it may wait, it returns when the client has taken them, else
// it returns errMustWait. For a peer that is gone there is no error: the requests that it
// sent before are carried out, until reading meets the end of the input.
func (c *requestSession) flush() (err error) {
	if c.send(); c.isWritten() {
		return nil
	}
	if !c.canWait {
		return errMustWait
	}
	timeout := answerTimeout
	if c.room != nil {
		timeout = passwordTimeout
	}
	if !c.conn.RunBlocking(func() {
		if !c.await(c.isWritten, timeout) {
			err = errUnread
			c.conn.Abort()
		}
	}) {
		return errMoved
	}
	return err
}

func (c *requestSession) isWritten() bool { return len(locked(&c.mu, &c.unwritten)) == 0 }

func (c *requestSession) isDrained() bool { return locked(&c.mu, &c.drained) }

// await writes until done reports true, or the time is over: the timeout, or lastWriteTimeout
// from the moment on at which lastWriteOnly is set.
func (c *requestSession) await(done func() bool, timeout time.Duration) bool {
	until, lastWrite := time.Now().Add(timeout), false
	for {
		c.signals()
		c.Writable()
		if done() {
			return true
		}
		before := lastWrite
		lastWrite = locked(&c.mu, &c.lastWriteOnly)
		if last := time.Now().Add(lastWriteTimeout); lastWrite && !before && last.Before(until) {
			until = last
		}
		left := time.Until(until)
		if left <= 0 {
			return false
		}
		if c.svc.engine.Suspended() {
			left = min(left, writePollInterval)
		}
		c.WaitSignal(left)
	}
}

// Writable writes the answers, as far as the connection takes them.
func (c *requestSession) Writable() {
	if c.conn.AcquireWrite() {
		c.WritePending()
	}
}

// WritePending is Writable for the holder of the write lock. It releases the lock.
func (c *requestSession) WritePending() {
	for {
		c.mu.Lock()
		p := c.unwritten
		if len(p) == 0 && c.outputEnded { // the write lock is kept: nobody writes any more
			c.conn.StopWriting()
			c.drained = true
			c.waiter.wake()
			c.mu.Unlock()
			return
		}
		c.mu.Unlock()
		n, err := 0, error(nil)
		if len(p) > 0 {
			n, err = c.conn.Write(p)
		}
		c.mu.Lock()
		c.unwritten = c.unwritten[n:]
		if err != nil {
			c.peerGone, c.unwritten = true, nil
			c.sawReset = errors.Is(err, syscall.ECONNRESET)
		}
		if len(c.unwritten) == 0 {
			c.unwritten = nil
			c.waiter.wake()
		}
		again := c.outputEnded && c.unwritten == nil || n == len(p) && c.unwritten != nil
		c.mu.Unlock()
		if !again && c.conn.ReleaseWrite() {
			return
		}
	}
}

// close writes the remaining answers, unless abort is set, and closes the connection.
// peerClosed says that the end of the input was read.
func (c *requestSession) close(abort, peerClosed bool) {
	c.mu.Lock()
	c.outputEnded = true
	c.mu.Unlock()
	for ; abort || !c.await(c.isDrained, lastWriteTimeout); abort = false {
		peerClosed = true
		c.conn.Abort()
	}
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.conn.Close(peerClosed)
}

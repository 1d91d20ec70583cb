package netsvc

import (
	"cmp"
	"errors"
	"net/netip"
	"slices"
	"sync"
	"syscall"
	"time"

	"roomd/netsvc/transport"
	"roomd/netsvc/wire"
)

// requestSession is what the handlers of conns have in common that are no members': a client
// asks line by line, and is answered. While it is idle it has no buffer and no
// goroutine. What cannot be done at once is done by Resume: until then, and until the
// client has taken what it was answered, nothing more is read.
type requestSession struct {
	// Set before it is registered, then read-only.
	svc        *Service
	conn       *transport.Conn
	remote     netip.AddrPort
	room       *Room // that it asks at; nil: the master port
	since      time.Time
	timeoutErr error // what it ends with when it is due

	// Owned by the holder of the read lock.
	framer       wire.Framer
	out          []byte // answers that are to be written
	canWait      bool   // Resume or PeerClosed is at work
	pendingInput *pendingInput

	mu            sync.Mutex
	timer         *time.Timer // for due
	deadline      time.Time   // when it has been there, or idle, for too long; zero: never
	busy          bool        // it is not idle
	cancel        func()      // ends what Resume waits for; nil: nothing
	unwritten     []byte      // is being written
	err           error       // why it has ended; nil: it has not
	lastWriteOnly bool        // what is written has lastWrite
	aborted       bool        // the operator has closed it
	peerGone      bool        // the peer is gone: it gets no more answers
	sawReset      bool        // a write has met a reset that came before the end of the input
	outputEnded   bool        // nothing comes after pending
	drained       bool        // nothing more will be written
	closed        bool
	waiter        chan struct{} // capacity 1, made for a goroutine that waits: something has changed
}

// pendingInput is input that was read and has to wait.
type pendingInput struct {
	pendingLines
	isLine bool    // or there is only what came behind one
	price  float64 // to be paid first
}

// writePollInterval is how often a goroutine that has something to write looks whether the
// conn takes it, while the event loops that tell of that stand.
const writePollInterval = 10 * time.Millisecond

// end has nothing read any more. The first error wins.
func (c *requestSession) end(why error) {
	c.mu.Lock()
	first, cancel := c.err == nil, c.cancel
	if first {
		c.err = why
	}
	c.signalLocked()
	c.mu.Unlock()
	if first {
		c.conn.StopReading()
	}
	if cancel != nil {
		cancel()
	}
}

// setDeadline has the session end at a time; unless it is busy then.
func (c *requestSession) setDeadline(due time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.deadline = due
	if c.timer == nil {
		c.timer = time.AfterFunc(time.Until(due), c.deadlinePassed)
	} else {
		c.timer.Reset(time.Until(due))
	}
}

func (c *requestSession) deadlinePassed() {
	end, ok := c.svc.engine.BeginChangeUnlessAbandoned()
	if !ok {
		return
	}
	defer end()
	c.mu.Lock()
	left, busy := time.Until(c.deadline), c.busy
	if !busy && left > 0 {
		c.timer.Reset(left)
	}
	c.mu.Unlock()
	if !busy && left <= 0 {
		c.endPromptly(c.timeoutErr)
	}
}

// stopTimer is for a session that has ended.
func (c *requestSession) stopTimer() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.timer != nil {
		c.timer.Stop()
	}
}

// endPromptly is end where what is being written has lastWrite.
func (c *requestSession) endPromptly(why error) {
	c.mu.Lock()
	c.lastWriteOnly = true
	c.mu.Unlock()
	c.end(why)
}

// terminate is endSoon where the session knows why.
func (c *requestSession) terminate() { c.endPromptly(cmp.Or(c.endReason(), errMoved)) }

// evict has it end, to make room for another one.
func (c *requestSession) evict() { c.endPromptly(errEvicted) }

// abort breaks the connection, and reports false if that was done, or it was closed.
func (c *requestSession) abort() bool {
	c.mu.Lock()
	there := !c.aborted && !c.closed
	if there {
		c.aborted = true
		c.conn.Abort()
	}
	c.mu.Unlock()
	c.terminate()
	return there
}

// endReason tells why the session has ended or is to end, if it is.
func (c *requestSession) endReason() error {
	if err := c.endErr(); err != nil {
		return err
	}
	room := uint64(0)
	if c.room != nil {
		select {
		case <-c.room.quit:
			return errClosing
		default:
			room = c.room.id
		}
	}
	switch {
	case c.svc.stop.Err() != nil:
		return errStopped
	case c.isAborted() || c.svc.banned(room, c.remote.Addr(), "") != nil:
		return errBanned
	}
	return nil
}

// endErr is the error that it has ended with; nil: it has not.
func (c *requestSession) endErr() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

func (c *requestSession) isAborted() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.aborted
}

func (c *requestSession) isPeerGone() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.peerGone
}

// tailIsComplete reports whether the end of the input, err, has not cut the last line short. A
// reset may have, unless the peer had closed its side before: Linux tells that by EPIPE.
func (c *requestSession) tailIsComplete(err error) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return isEnd(err) && !c.sawReset
}

// HungUp reports whether the peer of a session that has not ended has closed its side,
// or is gone.
func (c *requestSession) HungUp() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err == nil && c.conn.HungUp()
}

// movable reports whether another process may go on with the session.
func (c *requestSession) movable() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	// A room that is deleted on disk is none for the other process, and has a last word.
	return c.err == nil && len(c.unwritten) == 0 && c.conn.Transferable() && (c.room == nil || !c.room.dropped.Load())
}

// location is where the session is: a room, or nil for the master port, and its address.
func (c *requestSession) location() (*Room, netip.AddrPort) { return c.room, c.remote }

// connectedAt is when the connection came.
func (c *requestSession) connectedAt() time.Time { return c.since }

// setPendingInput keeps input for Resume, or nothing.
func (c *requestSession) setPendingInput(l *pendingInput) {
	size := func() int64 {
		if c.pendingInput == nil {
			return 0
		}
		return c.pendingInput.size()
	}
	before := size()
	c.pendingInput = l
	c.svc.engine.AddPending(size() - before)
}

// pendingBytes is what is held, as it came.
func (c *requestSession) pendingBytes() []byte {
	switch l := c.pendingInput; {
	case l == nil:
		return nil
	case l.isLine:
		return slices.Concat(l.line, []byte{'\n'}, l.rest)
	default:
		return l.rest
	}
}

// next says what becomes of the connection, once its input was answered or, with
// errLater, has to wait.
func (c *requestSession) next(err error) transport.Outcome {
	if err == nil || errors.Is(err, errMustWait) {
		err = cmp.Or(c.flush(), err)
	}
	switch {
	case err == nil:
		return transport.Continue
	case errors.Is(err, errMustWait) && c.canWait:
		return transport.Retry
	case errors.Is(err, errMustWait):
		return transport.Defer
	}
	c.send()
	c.end(err)
	return transport.Stop
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
	c.out = nil // an idle session holds no buffer
	c.mu.Unlock()
	c.Writable()
}

// flush writes the answers. Where it may wait, it does until the client has taken them,
// else it returns errLater. A peer that has gone does not get them, but what it has
// asked for before is done: reading comes to its end.
func (c *requestSession) flush() (err error) {
	if c.send(); c.isWritten() {
		return nil
	}
	if !c.canWait {
		return errMustWait
	}
	patience := answerTimeout
	if c.room != nil {
		patience = passwordTimeout
	}
	if !c.conn.RunBlocking(func() {
		if !c.await(c.isWritten, patience) {
			err = errUnread
			c.conn.Abort()
		}
	}) {
		return errMoved
	}
	return err
}

func (c *requestSession) isWritten() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.unwritten) == 0
}

func (c *requestSession) isDrained() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.drained
}

// await writes until ok, for the time at most, and for lastWrite once it is hurried.
func (c *requestSession) await(ok func() bool, patience time.Duration) bool {
	until, hurried := time.Now().Add(patience), false
	for {
		c.waiterChan()
		c.Writable()
		if ok() {
			return true
		}
		c.mu.Lock()
		now := c.lastWriteOnly
		c.mu.Unlock()
		if last := time.Now().Add(lastWriteTimeout); now && !hurried && last.Before(until) {
			until = last
		}
		hurried = now
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

// Writable writes what is pending, as far as the connection takes it.
func (c *requestSession) Writable() {
	if c.conn.AcquireWrite() {
		c.WritePending()
	}
}

// WritePending is Writable for the holder of the write lock, which is given back.
func (c *requestSession) WritePending() {
	for {
		c.mu.Lock()
		p := c.unwritten
		if len(p) == 0 && c.outputEnded { // the write lock stays taken: nobody writes any more
			c.conn.StopWriting()
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
		c.unwritten = c.unwritten[n:]
		if err != nil {
			c.peerGone, c.unwritten = true, nil
			c.sawReset = errors.Is(err, syscall.ECONNRESET)
		}
		if len(c.unwritten) == 0 {
			c.unwritten = nil
			c.signalLocked()
		}
		again := c.outputEnded && c.unwritten == nil || n == len(p) && c.unwritten != nil
		c.mu.Unlock()
		if !again && c.conn.ReleaseWrite() {
			return
		}
	}
}

// close writes what is left, unless the connection is to be broken, and closes it. heard
// says that the peer has closed its side.
func (c *requestSession) close(breaks, heard bool) {
	c.mu.Lock()
	c.outputEnded = true
	c.mu.Unlock()
	for ; breaks || !c.await(c.isDrained, lastWriteTimeout); breaks = false {
		heard = true
		c.conn.Abort()
	}
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.conn.Close(heard)
}

// Signal has a goroutine of the session look around that waits for something.
func (c *requestSession) Signal() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.signalLocked()
}

func (c *requestSession) signalLocked() {
	select {
	case c.waiter <- struct{}{}:
	default: // nobody waits, or it knows
	}
}

// WaitSignal waits for a Signal, or for the time d.
func (c *requestSession) WaitSignal(d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-c.waiterChan():
	case <-t.C:
	}
}

// waiterChan returns what gets a word by Signal from now on.
func (c *requestSession) waiterChan() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.waiter == nil {
		c.waiter = make(chan struct{}, 1)
	}
	return c.waiter
}

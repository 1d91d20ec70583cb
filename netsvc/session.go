package netsvc

import (
	"bytes"
	"cmp"
	"errors"
	"io"
	"net/netip"
	"slices"
	"sync"
	"syscall"
	"time"

	"roomd/netsvc/transport"
	"roomd/netsvc/wire"
)

// requestSession is the common part of a master session and a password session: the client
// sends lines, and each one is answered. An idle session has no buffer and no goroutine.
// What has to wait is done by Resume. Nothing is read before Resume has returned and the
// client has taken its answers.
type requestSession struct {
	// Set before the session is registered, then read-only.
	svc        *Service
	conn       *transport.Conn
	remote     netip.AddrPort
	room       *Room // whose password is checked; nil: the master port
	since      time.Time
	timeoutErr error // ends the session at its deadline

	// Owned by the holder of the read lock.
	framer       wire.Framer
	lines        int    // handled so far, for a password those that count as an attempt
	unended      int    // bytes between lines that are not paid for
	out          []byte // answers that are not in unwritten yet
	canWait      bool   // Resume or PeerClosed is running
	pendingInput *pendingInput

	mu       sync.Mutex
	timer    *time.Timer // calls deadlinePassed
	deadline time.Time   // zero: there is none
	busy     bool        // the deadline does not count now
	cancel   func()      // cancels the password check that Resume waits for; nil: there is none
	err      error       // the reason why the session ended; nil: it has not ended
	answers
	aborted bool // by the operator
	closed  bool
	waiter  waiter
}

// pendingInput is input that was read and has to wait.
type pendingInput struct {
	pendingLines
	isLine bool    // false: line is empty, there is only rest
	cost   float64 // is charged first
}

// answers is the output of a session. The session's mu guards it.
type answers struct {
	unwritten     []byte // what the connection has not taken
	lastWriteOnly bool   // the client has lastWriteTimeout to take it
	peerGone      bool   // nothing is added to it
	sawReset      bool   // a write has met a reset before the end of the input was read
	outputEnded   bool   // nothing follows unwritten
	drained       bool   // nothing more will be written
}

// lineHandler is the part in which master sessions and password sessions differ.
type lineHandler interface {
	transport.Handler
	// take cuts the next line off p.
	take(p []byte) (pendingInput, error)
	// handle charges and answers what take returned, and clears isLine. An error ends the
	// session, but errMustWait.
	handle(in *pendingInput) error
	// outcome flushes the answers, and makes an outcome of an error of the two above.
	outcome(err error) transport.Outcome
}

// Reasons why a session ends, or why its input has to wait.
var (
	errMustWait        = errors.New("the input has to wait")
	errDone            = errors.New("the client has got its answer")
	errForeign         = errors.New("the peer speaks another protocol")
	errRateLimited     = errors.New("the peer's address is over its rate limit")
	errUnread          = errors.New("the peer does not read")
	errStopped         = errors.New("the server is stopping")
	errMoved           = errors.New("another process has taken over")
	errBanned          = errors.New("the peer's address is banned")
	errIdle            = errors.New("the session was idle for too long")
	errPasswordTimeout = errors.New("no password came in time")
	errClosing         = errors.New("the room is closing")
	errEvicted         = errors.New("too many connections wait")
	errBecameMember    = errors.New("the connection is a member's now")
	errBecameHTTP      = errors.New("the connection is one of HTTP now")
	errBug             = errors.New("a panic has ended the session")
)

// loopLines of one read are handled on an event loop, and the rest by Resume, so that other
// connections have their turn.
const loopLines = 32

const (
	answerTimeout    = 10 * time.Second // the time in which the client has to read its answers
	lastWriteTimeout = time.Second      // the same after the session has ended
	// answerBytes is how many bytes of answers are gathered before they are written.
	answerBytes = 8 << 10
	// writePollInterval is how often a goroutine tries to write while the event loops,
	// which would call Writable, are suspended.
	writePollInterval = 10 * time.Millisecond
)

// onData is Data of both kinds of session.
func (c *requestSession) onData(h lineHandler, p []byte) transport.Outcome {
	c.canWait = false
	return h.outcome(c.serve(h, pendingInput{pendingLines: pendingLines{rest: p}}))
}

// onResume is Resume of both kinds of session.
func (c *requestSession) onResume(h lineHandler) transport.Outcome {
	c.setCanWait(true)
	defer c.setCanWait(false)
	err := c.flush()
	if err == nil {
		in := pendingInput{}
		if c.pendingInput != nil {
			in = *c.pendingInput
			c.setPendingInput(nil)
		}
		err = c.serve(h, in)
	}
	return h.outcome(err)
}

// onPeerClosed is PeerClosed of both kinds of session: it handles the last line.
func (c *requestSession) onPeerClosed(h lineHandler, err error) transport.Outcome {
	c.setCanWait(true)
	before := c.framer
	if line, over, ok := c.framer.Tail(); ok && c.tailIsComplete(err) {
		in := pendingInput{pendingLines: pendingLines{line: line, over: over}, isLine: true}
		failed := h.handle(&in)
		if errors.Is(failed, errMustWait) {
			if in.isLine { // it is handled again
				c.framer = before
			}
			return transport.Retry
		}
		err = cmp.Or(failed, err)
	}
	return h.outcome(err)
}

// serve handles in and the lines that follow in in.rest. With errMustWait the rest of them
// is kept for Resume.
func (c *requestSession) serve(h lineHandler, in pendingInput) error {
	for lines := 0; ; {
		err := c.endReason()
		if in.isLine {
			lines++
		}
		if err == nil && lines > loopLines && !c.canWait {
			err = errMustWait
		}
		if err == nil {
			err = h.handle(&in)
		}
		if errors.Is(err, errMustWait) {
			in.line, in.rest = bytes.Clone(in.line), bytes.Clone(in.rest)
			c.setPendingInput(&in)
		}
		if err != nil || len(in.rest) == 0 {
			return err
		}
		if in, err = h.take(in.rest); err != nil {
			return err
		}
	}
}

// cut cuts the next line off p, and answers a telnet client. It reports whether the line has text.
// If not, its bytes are added to unended, so that they have a cost or a bound, too.
func (c *requestSession) cut(p []byte, here string) (in pendingInput, hasText bool) {
	in.line, in.over, in.rest, in.isLine = c.framer.Cut(p)
	refusals, there := c.framer.TelnetRequests()
	if c.out = append(c.out, refusals...); there {
		c.out = append(c.out, here...)
	}
	if in.isLine && (in.over > 0 || !wire.IsBlank(in.line)) {
		return in, true
	}
	c.unended += chargedBytes(len(p)-len(in.rest), len(refusals) > 0 || there, in.isLine)
	return in, false
}

// setCanWait notes whether the session's goroutine may wait. Meanwhile a client of the master
// port is not idle; the deadline of a password does not change.
func (c *requestSession) setCanWait(canWait bool) {
	c.canWait = canWait
	if c.room != nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.busy = canWait; !canWait && c.timer != nil {
		c.timer.Reset(time.Until(c.deadline))
	}
}

// Panicked logs a panic of a method of transport.Handler, and ends the session.
func (c *requestSession) Panicked(p any, stack []byte) {
	room := "" // the master port
	if c.room != nil {
		room = c.room.name()
	}
	c.svc.log.Error("panic while serving a session; the connection is closed", "room", room, "remote", c.remote, "error", p, "stack", string(stack))
	go c.end(errBug)
}

// end stops reading. The first error is the reason of the end.
func (c *requestSession) end(reason error) {
	c.mu.Lock()
	first, cancel := c.err == nil, c.cancel
	if first {
		c.err = reason
	}
	c.waiter.wake()
	c.mu.Unlock()
	if first {
		c.conn.StopReading()
	}
	if cancel != nil {
		cancel()
	}
}

// setDeadline has the session end at a time, unless it is busy then.
func (c *requestSession) setDeadline(at time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.deadline = at
	if c.timer == nil {
		c.timer = time.AfterFunc(time.Until(at), c.deadlinePassed)
	} else {
		c.timer.Reset(time.Until(at))
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

// stopTimer must be called when the session has ended.
func (c *requestSession) stopTimer() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.timer != nil {
		c.timer.Stop()
	}
}

// endPromptly is end with lastWriteTimeout for the answers that are being written.
func (c *requestSession) endPromptly(reason error) {
	c.mu.Lock()
	c.lastWriteOnly = true
	c.mu.Unlock()
	c.end(reason)
}

func (c *requestSession) terminate() { c.endPromptly(cmp.Or(c.endReason(), errMoved)) }

func (c *requestSession) evict() { c.endPromptly(errEvicted) }

func (c *requestSession) abort() bool {
	c.mu.Lock()
	first := !c.aborted && !c.closed
	if first {
		c.aborted = true
		c.conn.Abort()
	}
	c.mu.Unlock()
	c.terminate()
	return first
}

// endReason returns why the session has ended or must end; nil: it may go on.
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

// locked returns the value of a variable that mu guards.
func locked[T any](mu *sync.Mutex, v *T) T {
	mu.Lock()
	defer mu.Unlock()
	return *v
}

// endErr returns the error that has ended the session; nil: it has not ended.
func (c *requestSession) endErr() error { return locked(&c.mu, &c.err) }

func (c *requestSession) isAborted() bool { return locked(&c.mu, &c.aborted) }

func (c *requestSession) isPeerGone() bool { return locked(&c.mu, &c.peerGone) }

// tailIsComplete reports whether err, the end of the input, has not cut the last line short. A
// reset may have, unless the peer had closed its side before: Linux tells that by EPIPE.
func (c *requestSession) tailIsComplete(err error) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return isEnd(err) && !c.sawReset
}

// isEnd reports whether an error of reading is the end of the input.
func isEnd(err error) bool { return errors.Is(err, io.EOF) || errors.Is(err, syscall.EPIPE) }

// HungUp is false for a session that has ended.
func (c *requestSession) HungUp() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err == nil && c.conn.HungUp()
}

// movable reports whether another process may go on with the session.
func (c *requestSession) movable() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	// The other process does not know a room that is deleted on disk: this one tells the client.
	return c.err == nil && len(c.unwritten) == 0 && c.conn.Transferable() && (c.room == nil || !c.room.dropped.Load())
}

func (c *requestSession) location() (*Room, netip.AddrPort) { return c.room, c.remote }

func (c *requestSession) connectedAt() time.Time { return c.since }

// setPendingInput keeps input for Resume, or nothing.
func (c *requestSession) setPendingInput(in *pendingInput) {
	size := func() int64 {
		if c.pendingInput == nil {
			return 0
		}
		return c.pendingInput.size()
	}
	before := size()
	c.pendingInput = in
	c.svc.engine.AddPending(size() - before)
}

// pendingBytes returns the pending input as the client sent it.
func (c *requestSession) pendingBytes() []byte {
	switch in := c.pendingInput; {
	case in == nil:
		return nil
	case in.isLine:
		return slices.Concat(in.line, []byte{'\n'}, in.rest)
	default:
		return in.rest
	}
}

// outcome is outcome of both kinds of session.
func (c *requestSession) outcome(err error) transport.Outcome {
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

func (c *requestSession) Signal() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.waiter.wake()
}

// WaitSignal waits for a Signal, for the time d at most.
func (c *requestSession) WaitSignal(d time.Duration) { waitFor(c.signals(), d) }

// signals returns the channel of signals. Those that follow are not lost.
func (c *requestSession) signals() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.waiter.channel()
}

// waiter wakes the one goroutine of a connection that may wait for something. The mutex of
// its owner guards it.
type waiter struct {
	c chan struct{} // capacity 1; nil until a goroutine waits
}

func (w *waiter) channel() <-chan struct{} {
	if w.c == nil {
		w.c = make(chan struct{}, 1)
	}
	return w.c
}

func (w *waiter) wake() {
	select {
	case w.c <- struct{}{}:
	default: // no goroutine waits, or it is awake already
	}
}

package transport

import (
	"net/netip"
	"runtime/debug"
	"sync/atomic"
	"syscall"
	"time"
)

// Handler is the session that a conn belongs to: it gets the conn's input, and writes to
// the conn with Conn.Write.
//
// Data, Resume and PeerClosed are called one at a time, by the goroutine that has the
// conn's read lock. Writable, Signal and Panicked may be called at any time until Close.
// "Must not wait" means no I/O but Conn.Write, no sleep, no channel and no lock that is
// held across any of these: the caller is an event loop, which serves other conns too.
type Handler interface {
	// Data handles input. It must not wait: what needs waiting is kept by the handler, as
	// pending input, and Data returns Defer. p is valid until Data returns. Data returns
	// Continue, Defer or Stop.
	Data(p []byte) Outcome
	// Resume handles the pending input; there may be none. A goroutine calls it after Defer,
	// after Start with pending input, and after Retry once the engine has thawed. Resume may
	// wait, but a freeze waits for it: while Engine.Suspended reports true it must return
	// Retry soon, or wait within Conn.RunBlocking. It returns Continue, Retry, Stop or Replaced.
	Resume() Outcome
	// PeerClosed handles the end of the input: err is io.EOF or the error of a read. A
	// goroutine calls it, and it may wait as Resume does. It returns Stop, Replaced or Retry:
	// once the engine has thawed, Resume is called and then PeerClosed again, with io.EOF
	// where the error was a reset.
	PeerClosed(err error) Outcome
	// Writable reports that a conn that was full takes more. The caller, an event loop, does
	// not have the write lock. Writable must not wait.
	Writable()
	// WritePending writes all pending output. The writer goroutine of a conn without an event
	// loop calls it. WritePending may wait; it has the write lock, and releases it.
	WritePending()
	// Finish ends the session. It is called once, in a goroutine that may wait and that keeps
	// the read lock: after Stop, Conn.StopReading, or a panic of Data, Resume or PeerClosed.
	// It acquires the write lock for good and calls Conn.Close.
	Finish()
	// Panicked reports a panic of a method above, with its stack. After a panic of Writable
	// no Finish follows: Panicked must see to it that reading stops.
	Panicked(p any, stack []byte)
	// Signal wakes a goroutine in WaitSignal. An event loop calls it when there is an event of
	// a conn whose read lock is taken. Signal must not wait.
	Signal()
	// WaitSignal waits for a Signal, at most for the time d. Conn.Close calls it.
	WaitSignal(d time.Duration)
}

// Outcome is how a method of a Handler has ended, and so what the conn does next.
type Outcome uint8

const (
	Continue Outcome = iota // read more
	Defer                   // input is pending: call Resume in a goroutine
	Retry                   // the engine is suspended: call Resume after the thaw, and then read
	Stop                    // read no more: call Finish
	Replaced                // Conn.Replace was called: the conn is not the handler's any more
)

// Conn is a connection: TCP, plain or behind TLS. On Linux an event loop serves it and
// never waits for it. Without event loops a goroutine reads it and another one writes.
//
// The goroutine that handles input has the read lock, the one that writes has the write
// lock. The goroutine that closes the conn acquires both and never releases them.
//
// Start and Close are called once. Write needs the write lock. All other methods may be
// called by any goroutine until Close.
type Conn struct {
	// Set before Start returns, then read-only.
	loop    *loop   // nil: goroutines serve the conn
	stream  *stream // nil: plain TCP on an event loop
	handler Handler
	fd      int32

	writeLock, readLock Lock
	flags               atomic.Uint32
}

const (
	isFull         = 1 << iota // Writable follows
	hasUnsent                  // there is ciphertext that the kernel has not taken
	isReadFrozen               // nobody reads until the engine thaws
	isReadStopped              // nothing more is to be read
	isWriteStopped             // nothing more is to be written
	isHandedOver               // another process has the connection
	isBlocked                  // the handler is in RunBlocking
	isAborted                  // Abort was called
)

// A conn that is closed lingers: the peer has this time, and may send so many bytes, until
// it closes its side.
const (
	lingerTime  = time.Second
	lingerBytes = 1 << 20
	lingerPoll  = 20 * time.Millisecond // between two reads while the event loops are frozen
)

func (c *Conn) is(flag uint32) bool { return c.flags.Load()&flag != 0 }

func (c *Conn) engine() *Engine {
	if c.loop == nil {
		return c.stream.engine
	}
	return c.loop.engine
}

// Start begins to read, with Resume if the handler has pending input already. After an
// error nothing was begun, and Detach gives the connection back.
func (c *Conn) Start(h Handler, pending bool) error {
	c.handler = h
	if c.loop == nil {
		c.startStream()
		return nil
	}
	return c.startOnLoop(pending)
}

// Handler is the handler that Start was called with.
func (c *Conn) Handler() Handler { return c.handler }

// Detach gives the connection back if Start was not called or has failed.
func (c *Conn) Detach(remote netip.AddrPort) HalfCloser {
	if c.loop == nil {
		return c.stream.conn
	}
	return c.detachOnLoop(remote)
}

// Replace returns a conn of the same connection for another handler, and ends this one.
// Resume and PeerClosed may call it after StopWriting, and then return Replaced.
func (c *Conn) Replace(remote netip.AddrPort) *Conn {
	if c.loop == nil {
		return c.engine().newStream(c.stream.conn, c.stream.tcp)
	}
	return c.replaceOnLoop(remote)
}

// Release ends the conn and returns the connection, for goroutines that wait for it. It is called as
// Replace.
func (c *Conn) Release(remote netip.AddrPort) HalfCloser {
	if c.loop == nil {
		return c.stream.conn
	}
	return c.releaseFromLoop(remote)
}

// AcquireWrite acquires the write lock. If it reports false, the holder of the lock, or the
// writer goroutine, writes the pending output.
func (c *Conn) AcquireWrite() bool {
	if c.loop == nil {
		c.stream.wake()
		return false
	}
	return c.writeLock.Acquire()
}

// ReleaseWrite releases the write lock. If it reports false, the caller still has the lock,
// and must look for pending output once more.
func (c *Conn) ReleaseWrite() bool {
	if c.writeLock.Release() {
		return true
	}
	c.flags.And(^uint32(isFull))
	return false
}

// StopWriting declares that nothing more is written. The caller has the write lock, and
// keeps it.
func (c *Conn) StopWriting() { c.flags.Or(isWriteStopped) }

// Write writes as much of p as the connection takes, and returns how much that is. If it is
// less than p, the conn is full: Writable follows, and then a Write that begins with the
// rest. A conn without an event loop waits instead. The caller has the write lock.
func (c *Conn) Write(p []byte) (int, error) {
	if c.loop == nil {
		return c.stream.conn.Write(p)
	}
	n, err := c.write(p)
	if n < len(p) && err == nil {
		c.flags.Or(isFull)
	}
	return n, err
}

// Full reports whether the conn takes nothing at the moment.
func (c *Conn) Full() bool { return c.is(isFull | hasUnsent) }

// Writing reports whether a goroutine has the write lock.
func (c *Conn) Writing() bool { return c.writeLock.isHeld() }

// StopReading ends reading: Finish follows.
func (c *Conn) StopReading() {
	c.flags.Or(isReadStopped)
	switch {
	case c.loop == nil:
		c.stream.conn.SetReadDeadline(time.Unix(1, 0))
	case c.readLock.Acquire():
		go c.handler.Finish()
	default:
		c.thawRead() // after Abandon there is no thaw
	}
}

// Abort breaks the connection: writes fail from now on, and reads fail once the input that
// has arrived is read.
func (c *Conn) Abort() {
	c.flags.Or(isAborted) // before: see Unacked
	if c.loop == nil {
		c.stream.conn.SetWriteDeadline(time.Unix(1, 0))
	}
	ask(c, func(fd uintptr) error { return syscall.Shutdown(int(fd), syscall.SHUT_RDWR) })
}

// Close sends what was written, waits a bounded time until the peer has closed its side,
// unless peerClosed says that it has, and closes the connection. The caller has both locks,
// and keeps them.
func (c *Conn) Close(peerClosed bool) {
	if c.loop == nil {
		CloseLingering(c.stream.conn, peerClosed)
		return
	}
	c.closeOnLoop(peerClosed)
}

// TryFreezeWrites acquires the write lock if it is free, so that nothing is written while
// the conn is handed over.
func (c *Conn) TryFreezeWrites() bool { return c.writeLock.TryAcquire() }

// ThawWrites releases the write lock after TryFreezeWrites or AdoptConn.
func (c *Conn) ThawWrites() { c.writeLock.Reset() }

// DisableRead takes the read lock for good, before Start: the handler gets no input and no
// Finish.
func (c *Conn) DisableRead() { c.readLock.TryAcquire() }

// FD is the descriptor of a transferable conn, for another process.
func (c *Conn) FD() int { return int(c.fd) }

// Transferable reports whether another process can take the conn over.
func (c *Conn) Transferable() bool { return c.stream == nil && !c.is(isBlocked) }

// ProbePeer asks the kernel whether bytes wait for the peer's acknowledgement, and whether
// it has been sending to the peer in vain for longer than the limit.
func (c *Conn) ProbePeer(limit time.Duration) (unacked, dead bool) {
	p := ask(c, probePeer)
	return p.unacked, p.resending && p.silence > limit
}

// OnWire returns how many bytes, modulo 1 << 32, the socket was given when the calls of Write
// have returned written bytes in all: the same number, but behind TLS that of the
// ciphertext. The caller has the write lock.
func (c *Conn) OnWire(written uint32) uint32 { return c.onWire(written) }

// Unacked returns how many bytes, of those that OnWire counts, the peer's kernel has not
// acknowledged, also after a reset or a time-out. Behind a proxy it is the proxy's kernel.
// ok is false where the system cannot tell.
//
// What OnWire returned before, less n, is acknowledged: a Write that comes in between makes
// the difference too small, never too large.
func (c *Conn) Unacked() (n uint32, ok bool) { return c.unacked() }

// WasReset reports whether the connection ended with a reset.
func (c *Conn) WasReset() bool { return ask(c, wasReset) }

// HungUp reports whether the peer has closed its side, or the connection is broken.
func (c *Conn) HungUp() bool { return ask(c, hungUp) }

// HasInput reports whether input has arrived that is not handled yet.
func (c *Conn) HasInput() bool {
	if c.loop == nil && c.stream.busy.Load() || c.loop != nil && c.readLock.isHeld() {
		return true
	}
	return ask(c, hasUnread)
}

// ask asks the kernel about the conn's descriptor.
func ask[T any](c *Conn, question func(fd uintptr) T) T {
	if c.loop != nil {
		return question(uintptr(c.fd))
	}
	var answer T
	control(c.stream.tcp, func(fd uintptr) { answer = question(fd) })
	return answer
}

// recoverPanic is deferred by the holder of the read lock: a bug ends this conn and no
// other.
func (c *Conn) recoverPanic() {
	if p := recover(); p != nil {
		c.handler.Panicked(p, debug.Stack())
		go c.handler.Finish()
	}
}

// freezeRead leaves the read lock to the goroutine that thaws the engine, or that stops
// reading. As either may have come just before, the state is looked at once more.
func (c *Conn) freezeRead() {
	c.flags.Or(isReadFrozen)
	if !c.engine().Suspended() || c.is(isReadStopped) {
		c.thawRead()
	}
}

// thawRead goes on reading a conn that is frozen.
func (c *Conn) thawRead() {
	if c.flags.And(^uint32(isReadFrozen))&isReadFrozen != 0 {
		c.startResume()
	}
}

package transport

import (
	"net/netip"
	"runtime/debug"
	"sync/atomic"
	"syscall"
	"time"
)

// Handler is what a conn's bytes go to. Its methods are called by event loops and by
// the conn's goroutines, Data, Resume and PeerClosed by one at a time, which has the
// read lock.
type Handler interface {
	// Data handles what was read, as far as that needs no waiting: Wait says that the
	// rest is kept, for Resume. p is the caller's again when it returns.
	Data(p []byte) Outcome
	// Resume handles what is kept of the input, and may wait.
	Resume() Outcome
	// PeerClosed handles the end of the input, and may wait: err is io.EOF, or what
	// reading met. It is called again after Park; else the conn is at its end.
	PeerClosed(err error) Outcome
	// Writable says that a conn that was full takes more.
	Writable()
	// WritePending writes what is pending, and may wait. It has the write lock, and gives it
	// back.
	WritePending()
	// Finish is called once, in a goroutine, when nothing is read any more: by EndRead,
	// the end of the input, or a panic. It closes the conn in the end.
	Finish()
	// Panicked reports a bug of the methods above.
	Panicked(p any, stack []byte)
	// Signal tells of an event that is for whoever has the read lock, and Pause waits
	// for that, or for the time d.
	Signal()
	WaitSignal(d time.Duration)
}

// Outcome is what a handler wants of a conn.
type Outcome uint8

const (
	Continue Outcome = iota // go on reading
	Defer                   // call Resume, in a goroutine
	Retry                   // the engine is frozen: call again when it thaws
	Stop                    // nothing more is to be read
	Replaced                // the conn was renewed: it is not the handler's any more
)

// Conn is a connection: TCP, plain or behind TLS, on a descriptor that an event loop
// serves, which never waits; or, where there are no event loops, with a goroutine that
// reads and one that writes.
//
// Its read lock belongs to the goroutine that handles input, its write lock to the
// one that writes. In the end both are kept for good by the goroutine that closes
// the conn: a descriptor is never used after it has become another conn's.
//
// Start and Close are called once. Write is for the holder of the write lock. The
// rest may be called by any goroutine until Close.
type Conn struct {
	// Set before Start returns, then read-only.
	loop    *loop   // nil: it has goroutines
	stream  *stream // nil: it is plain TCP on a loop
	handler Handler
	fd      int32

	writeLock, readLock Lock
	flags               atomic.Uint32
}

const (
	isFull         = 1 << iota // Writable follows
	hasUnsent                  // ciphertext is kept that the kernel has not taken
	isReadFrozen               // nobody reads until the engine thaws
	isReadStopped              // nothing is to be read any more
	isWriteStopped             // nothing is to be written any more
	isHandedOver               // another process has the connection
	isBlocked                  // the handler is in Away
)

const (
	lingerTime  = time.Second // for the peer to close its side
	lingerPoll  = 20 * time.Millisecond
	lingerBytes = 1 << 20
)

func (c *Conn) is(flag uint32) bool { return c.flags.Load()&flag != 0 }

func (c *Conn) engine() *Engine {
	if c.loop == nil {
		return c.stream.engine
	}
	return c.loop.engine
}

// Start begins to read, with Resume if input is pending that was read before. After
// an error nothing was begun.
func (c *Conn) Start(h Handler, pending bool) error {
	c.handler = h
	if c.loop == nil {
		c.startStream()
		return nil
	}
	return c.startOnLoop(pending)
}

// Handler is what Start was called with.
func (c *Conn) Handler() Handler { return c.handler }

// Detach gives the connection back, if Start was not called or has failed.
func (c *Conn) Detach(remote netip.AddrPort) HalfCloser {
	if c.loop == nil {
		return c.stream.conn
	}
	return c.detachOnLoop(remote)
}

// Replace returns a conn of the same connection for another handler: this conn is not used
// any more. Resume and PeerClosed of its handler may call it, which have the write lock
// for good (Drained), and return Gone.
func (c *Conn) Replace(remote netip.AddrPort) *Conn {
	if c.loop == nil {
		return c.engine().newStream(c.stream.conn, c.stream.tcp)
	}
	return c.replaceOnLoop(remote)
}

// AcquireWrite takes the write lock, or reports false: then its holder, or the writing
// goroutine, will look at what is pending.
func (c *Conn) AcquireWrite() bool {
	if c.loop == nil {
		c.stream.wake()
		return false
	}
	return c.writeLock.Acquire()
}

// ReleaseWrite gives the write lock back, or reports false: there may be more to write,
// and the caller still has the lock.
func (c *Conn) ReleaseWrite() bool {
	if c.writeLock.Release() {
		return true
	}
	c.flags.And(^uint32(isFull))
	return false
}

// StopWriting keeps the write lock for good: nothing more will be written.
func (c *Conn) StopWriting() { c.flags.Or(isWriteStopped) }

// Write gives the connection what it takes of p. If that is not all, it is full, and
// Writable follows, and a Write that begins with what it has not taken. A conn with
// goroutines waits instead. The caller has the write lock.
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

// Full reports whether the conn takes nothing now.
func (c *Conn) Full() bool { return c.is(isFull | hasUnsent) }

// Writing reports whether somebody has the write lock.
func (c *Conn) Writing() bool { return c.writeLock.isHeld() }

// StopReading has nothing read any more. Finish follows.
func (c *Conn) StopReading() {
	c.flags.Or(isReadStopped)
	switch {
	case c.loop == nil:
		c.stream.conn.SetReadDeadline(time.Unix(1, 0))
	case c.readLock.Acquire():
		go c.handler.Finish()
	default:
		c.thawRead() // nobody thaws an engine that another process has taken over from
	}
}

// Abort breaks the connection: every write fails from now on, and every read once
// what has come is read.
func (c *Conn) Abort() {
	if c.loop == nil {
		c.stream.conn.SetWriteDeadline(time.Unix(1, 0))
		control(c.stream.tcp, func(fd uintptr) { syscall.Shutdown(int(fd), syscall.SHUT_RDWR) })
		return
	}
	syscall.Shutdown(int(c.fd), syscall.SHUT_RDWR)
}

// Close lets the peer have what was written, waits a bounded time for it to close its
// side unless heard says that it has, and closes. The caller has the read lock and
// the write lock, for good.
func (c *Conn) Close(heard bool) {
	if c.loop == nil {
		CloseLingering(c.stream.conn, heard)
		return
	}
	c.closeOnLoop(heard)
}

// TryFreezeWrites takes the write lock, so that nothing is written while the conn is handed
// over, unless somebody has it.
func (c *Conn) TryFreezeWrites() bool { return c.writeLock.TryAcquire() }

// ThawWrites frees the write lock after TryHold or AdoptConn.
func (c *Conn) ThawWrites() { c.writeLock.Reset() }

// DisableRead takes the read lock for good: the handler wants no input, and no Finish. It is
// called before Start.
func (c *Conn) DisableRead() { c.readLock.TryAcquire() }

// FD is the descriptor of a movable conn, for another process.
func (c *Conn) FD() int { return int(c.fd) }

// Transferable reports whether another process can go on with the conn.
func (c *Conn) Transferable() bool { return c.stream == nil && !c.is(isBlocked) }

// OnLoop reports whether an event loop serves the conn: it is not read while the engine is
// frozen.
func (c *Conn) OnLoop() bool { return c.loop != nil }

// ProbePeer tells whether bytes wait for the peer's acknowledgement, and whether the
// kernel has been sending to it in vain for that long.
func (c *Conn) ProbePeer(limit time.Duration) (waiting, silent bool) {
	if c.loop != nil {
		return probePeer(uintptr(c.fd), limit)
	}
	control(c.stream.tcp, func(fd uintptr) { waiting, silent = probePeer(fd, limit) })
	return waiting, silent
}

// WasReset tells whether the end of the stream was a reset.
func (c *Conn) WasReset() bool { return c.ask(wasReset) }

// HungUp tells whether the peer has closed its side, or is gone.
func (c *Conn) HungUp() bool { return c.ask(hungUp) }

// HasInput tells whether input has come that is not handled yet.
func (c *Conn) HasInput() bool {
	if c.loop == nil && c.stream.busy.Load() || c.loop != nil && c.readLock.isHeld() {
		return true
	}
	return c.ask(hasUnread)
}

func (c *Conn) ask(probe func(fd uintptr) bool) (yes bool) {
	if c.loop != nil {
		return probe(uintptr(c.fd))
	}
	control(c.stream.tcp, func(fd uintptr) { yes = probe(fd) })
	return yes
}

// recoverPanic is deferred by the holder of the read lock: a bug ends this conn and no
// other.
func (c *Conn) recoverPanic() {
	if p := recover(); p != nil {
		c.handler.Panicked(p, debug.Stack())
		go c.handler.Finish()
	}
}

// freezeRead leaves the read lock to whoever thaws the engine, or has nothing more read:
// either may just have been done.
func (c *Conn) freezeRead() {
	c.flags.Or(isReadFrozen)
	if !c.engine().Suspended() || c.is(isReadStopped) {
		c.thawRead()
	}
}

// thawRead has a conn that is parked read on.
func (c *Conn) thawRead() {
	if c.flags.And(^uint32(isReadFrozen))&isReadFrozen != 0 {
		c.startResume()
	}
}

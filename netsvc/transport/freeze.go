package transport

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// blockedTime bounds how long AwaitAway waits for conns whose handlers are away.
	blockedTime = 500 * time.Millisecond
	// blockedGrace is for those that have gone away since. Others that still are away stay
	// behind.
	blockedGrace = 20 * time.Millisecond
)

// ErrChangeInProgress says that the gate was not free in time.
var ErrChangeInProgress = errors.New("something is just being changed; try again in a moment")

// ReadersError says how many conns are still being read.
type ReadersError int

func (n ReadersError) Error() string { return fmt.Sprintf("%d conns are still being read", int(n)) }

// freeze is what an engine needs to stand still while its sockets are handed over to
// another process: from Freeze to Thaw no conn of an event loop is read or written
// to, and nothing changes behind the gate but by conns of goroutines, which are not
// handed over. New connections wait in the kernel's backlog and input in its buffers.
//
// What can be taken up again elsewhere stops where it is: readers of pending input, and
// writers that need the disk. What can only wait where it is,
// waits: changes at the gate, accepting and reading in the loops, writing for the
// write locks.
type freeze struct {
	// changes is held, shared, for a change of what is handed over, and alone from
	// Freeze to Thaw. It comes before every other lock. Freeze only tries it, so
	// that sharing it twice does no harm.
	changes sync.RWMutex
	frozen  atomic.Bool  // set before the gate is tried
	readers atomic.Int64 // goroutines that read conns of loops
	closing atomic.Int64 // connections that have all they get and are just being closed

	mu        sync.Mutex
	blocked   int           // conns that could go over, and whose handlers are in Away
	settled   bool          // none of them comes back before Thaw
	started   chan struct{} // closed by Freeze
	thawed    chan struct{} // closed while there is no need to wait
	abandoned chan struct{} // closed by Abandon

	// Owned by the goroutine that freezes and thaws.
	thawLoops func() // lets the loops go on
}

func (f *freeze) init() {
	f.started, f.thawed, f.abandoned = make(chan struct{}), make(chan struct{}), make(chan struct{})
	close(f.thawed)
}

// BeginChange passes the gate, for a change of what is handed over: it waits while the engine
// is frozen. The caller must call end when the change is done.
func (e *Engine) BeginChange() (end func()) {
	e.freeze.changes.RLock()
	return e.freeze.changes.RUnlock
}

// TryBeginChange is Alter for a caller that must not wait there.
func (e *Engine) TryBeginChange() (end func(), ok bool) {
	return e.freeze.changes.RUnlock, e.freeze.changes.TryRLock()
}

// BeginChangeUnlessAbandoned is Alter for a caller that is left behind if the engine does not
// thaw, and then reports false.
func (e *Engine) BeginChangeUnlessAbandoned() (end func(), ok bool) {
	for {
		if end, ok := e.TryBeginChange(); ok {
			return end, true
		}
		if !e.AwaitThaw() {
			return nil, false
		}
	}
}

// AwaitThaw waits while the engine is frozen, and reports false if it does not thaw.
func (e *Engine) AwaitThaw() bool {
	e.freeze.mu.Lock()
	thawed, moved := e.freeze.thawed, e.freeze.abandoned
	e.freeze.mu.Unlock()
	select {
	case <-thawed:
		return true
	case <-moved:
		return false
	}
}

// Suspended reports whether the engine is frozen, or is to be: what waits is put off, and
// Resume takes it up.
func (e *Engine) Suspended() bool { return e.freeze.frozen.Load() }

// isAbandoned reports whether another process has taken over.
func (e *Engine) isAbandoned() bool {
	e.freeze.mu.Lock()
	defer e.freeze.mu.Unlock()
	select {
	case <-e.freeze.abandoned:
		return true
	default:
		return false
	}
}

// Suspending returns a channel that is closed when the engine is to be frozen.
func (e *Engine) Suspending() <-chan struct{} {
	e.freeze.mu.Lock()
	defer e.freeze.mu.Unlock()
	return e.freeze.started
}

// Thawed returns a channel that is closed while the engine is not frozen.
func (e *Engine) Thawed() <-chan struct{} {
	e.freeze.mu.Lock()
	defer e.freeze.mu.Unlock()
	return e.freeze.thawed
}

// BeginClose says that a connection gets nothing more and is about to be closed: Closed
// must follow.
func (e *Engine) BeginClose() { e.freeze.closing.Add(1) }

// EndClose says that it is closed.
func (e *Engine) EndClose() { e.freeze.closing.Add(-1) }

// start has everything look whether it is to stand still.
func (f *freeze) start() {
	f.mu.Lock()
	f.thawed = make(chan struct{})
	close(f.started)
	f.mu.Unlock()
	f.frozen.Store(true)
}

// AwaitBlocked waits a bounded time, while everything goes on, until no conn is away that
// Freeze would leave behind.
func (e *Engine) AwaitBlocked(ctx context.Context) {
	patient, cancel := context.WithTimeout(ctx, blockedTime)
	defer cancel()
	PollUntil(patient, func() bool {
		e.freeze.mu.Lock()
		defer e.freeze.mu.Unlock()
		return e.freeze.blocked == 0
	})
}

// Freeze brings the engine to a stand. wake has all handlers look around that wait for
// something. One caller at a time may freeze the engine. After an error it goes on as
// before.
func (e *Engine) Freeze(ctx context.Context, wake func()) (err error) {
	f := &e.freeze
	if !e.CanHandOver() {
		return ErrNoHandover
	}
	f.start()
	alone := false
	defer func() {
		if err != nil {
			e.thaw(alone)
		}
	}()
	// A handler that waits for something looks at Suspended when it is woken, and may
	// just have looked before: all are woken until they have seen it.
	if alone = PollUntil(ctx, func() bool { wake(); return f.changes.TryLock() }) == nil; !alone {
		return ErrChangeInProgress
	}
	if f.thawLoops, err = e.loops.freeze(ctx); err != nil {
		return errors.New("an event loop hangs")
	}
	if err := PollUntil(ctx, func() bool { wake(); return f.readers.Load() == 0 }); err != nil {
		return ReadersError(f.readers.Load())
	}
	patient, cancel := context.WithTimeout(ctx, blockedGrace)
	defer cancel()
	PollUntil(patient, func() bool { wake(); return f.settle(false) })
	f.settle(true)
	if err := PollUntil(ctx, func() bool { return f.readers.Load() == 0 }); err != nil { // one has just come back
		return ReadersError(f.readers.Load())
	}
	return nil
}

// settle has nobody come back from Away, if nobody is there, or else with force, and
// reports whether it does.
func (f *freeze) settle(force bool) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.settled = force || f.blocked == 0 && f.readers.Load() == 0
	return f.settled
}

// RunBlocking runs do, which waits for something that Freeze does not wait for: meanwhile the
// conn is not movable. Resume and PeerClosed of the conn's handler may call it. It waits
// while the engine is frozen, and reports false if it does not thaw.
func (c *Conn) RunBlocking(do func()) bool {
	if c.loop == nil {
		do()
		return true
	}
	f := &c.engine().freeze
	f.mu.Lock()
	f.blocked += c.counted()
	f.mu.Unlock()
	c.flags.Or(isBlocked)
	f.readers.Add(-1)
	back := false
	defer func() {
		if !back { // a panic, or the engine is left
			f.mu.Lock()
			defer f.mu.Unlock()
			f.endBlocking(c)
		}
	}()
	do()
	for !back {
		f.mu.Lock()
		if back = !f.settled; back {
			f.endBlocking(c)
			c.flags.And(^uint32(isBlocked))
		}
		f.mu.Unlock()
		if !back && !c.engine().AwaitThaw() {
			return false
		}
	}
	return true
}

// counted is 1 for a conn that another process could go on with. Nobody waits for the
// others.
func (c *Conn) counted() int {
	if c.stream != nil {
		return 0
	}
	return 1
}

// endBlocking ends Away. mu is held.
func (f *freeze) endBlocking(c *Conn) {
	f.blocked -= c.counted()
	f.readers.Add(1)
}

// StartFrozen is Freeze for an engine that takes over from another process, before
// Open. Thaw makes it run.
func (e *Engine) StartFrozen() error {
	e.freeze.start()
	e.freeze.changes.Lock()
	if !e.CanHandOver() {
		return ErrNoHandover
	}
	return nil
}

// PrepareThaw prepares an engine that has begun frozen to run when it thaws.
func (e *Engine) PrepareThaw() error {
	e.freeze.thawLoops = e.loops.run
	return e.loops.poll()
}

// Thaw ends Freeze or BeginFrozen. The caller has freed the write locks that it took.
func (e *Engine) Thaw() { e.thaw(true) }

// thaw undoes what Freeze has done so far. alone says whether the gate is ours.
func (e *Engine) thaw(alone bool) {
	f := &e.freeze
	f.frozen.Store(false)
	resume := f.thawLoops
	f.thawLoops = nil
	f.mu.Lock()
	f.started, f.abandoned = make(chan struct{}), make(chan struct{})
	f.settled = false
	close(f.thawed)
	f.mu.Unlock()
	if alone {
		f.changes.Unlock()
	}
	e.loops.thawReads()
	if resume != nil {
		resume()
	}
}

// Abandon is for an engine that another process has taken over from, after Freeze: it
// does not thaw. Conns and listeners that have been handed over are dropped before. Those
// of the others that wait are told. Conns that stay behind are written to, and not read
// any more.
func (e *Engine) Abandon() {
	close(e.freeze.abandoned)
	e.loops.freezeUnread()
	e.freeze.thawLoops()
	e.freeze.thawLoops = nil
}

// ClosingCount counts the connections that get nothing more and are not closed yet.
func (e *Engine) ClosingCount() int { return int(e.freeze.closing.Load()) + len(e.lingering) }

// PollUntil asks a millisecond apart until it hears yes or ctx ends.
func PollUntil(ctx context.Context, ok func() bool) error {
	if ok() {
		return nil
	}
	t := time.NewTicker(time.Millisecond)
	defer t.Stop()
	for {
		select {
		case <-t.C:
			if ok() {
				return nil
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

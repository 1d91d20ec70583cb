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
	// blockedTime bounds how long AwaitBlocked waits for handlers in RunBlocking.
	blockedTime = 500 * time.Millisecond
	// blockedGrace is how long Freeze waits for those that have blocked since. A conn whose
	// handler is still blocked then is not handed over.
	blockedGrace = 20 * time.Millisecond
)

// ErrChangeInProgress says that Freeze could not wait for a change to end.
var ErrChangeInProgress = errors.New("something is just being changed; try again in a moment")

// ReadersError says how many conns were still being read when Freeze gave up.
type ReadersError int

func (n ReadersError) Error() string { return fmt.Sprintf("%d conns are still being read", int(n)) }

// freeze is the state of an engine that is frozen while its sockets are handed over to
// another process. From Freeze to Thaw no event loop reads or writes a conn, and nothing
// changes that is handed over. New connections wait in the kernel's backlog, and input in
// the kernel's buffers.
//
// A handler that can go on in the other process stops where it is: one with pending input,
// or one that needs the disk to write. Everything else waits where it is: changes, accepting
// and reading in the loops, and writing at the write locks.
type freeze struct {
	// changes is held, shared, for each change of what is handed over, and alone from Freeze
	// to Thaw. It comes before every other lock. Freeze only tries it, so that holding it
	// twice does no harm.
	changes   sync.RWMutex
	suspended atomic.Bool  // set before changes is tried
	readers   atomic.Int64 // goroutines that handle the input of conns
	closing   atomic.Int64 // connections that get nothing more and are just being closed

	mu        sync.Mutex
	blocked   int           // handlers in RunBlocking whose conns could be handed over
	settled   bool          // no handler returns from RunBlocking before Thaw
	started   chan struct{} // closed by Freeze
	thawed    chan struct{} // closed while the engine is not suspended
	abandoned chan struct{} // closed by Abandon

	// Owned by the goroutine that freezes and thaws.
	thawLoops func()
}

func (f *freeze) init() {
	f.started, f.thawed, f.abandoned = make(chan struct{}), make(chan struct{}), make(chan struct{})
	close(f.thawed)
}

// BeginChange begins a change of what is handed over: it waits while the engine is frozen.
// The caller must call end when the change is done.
func (e *Engine) BeginChange() (end func()) {
	e.freeze.changes.RLock()
	return e.freeze.changes.RUnlock
}

// TryBeginChange is BeginChange for a caller that must not wait.
func (e *Engine) TryBeginChange() (end func(), ok bool) {
	return e.freeze.changes.RUnlock, e.freeze.changes.TryRLock()
}

// BeginChangeUnlessAbandoned is BeginChange for a caller that must not wait for ever: it
// reports false if the engine does not thaw.
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

// AwaitThaw waits while the engine is suspended, and reports false if it does not thaw.
func (e *Engine) AwaitThaw() bool {
	e.freeze.mu.Lock()
	thawed, abandoned := e.freeze.thawed, e.freeze.abandoned
	e.freeze.mu.Unlock()
	select {
	case <-thawed:
		return true
	case <-abandoned:
		return false
	}
}

// Suspended reports whether the engine is frozen or about to be: a handler that would wait
// returns Retry instead.
func (e *Engine) Suspended() bool { return e.freeze.suspended.Load() }

// IsAbandoned reports whether another process has taken over.
func (e *Engine) IsAbandoned() bool {
	e.freeze.mu.Lock()
	defer e.freeze.mu.Unlock()
	select {
	case <-e.freeze.abandoned:
		return true
	default:
		return false
	}
}

// Suspending returns a channel that is closed when the next Freeze begins.
func (e *Engine) Suspending() <-chan struct{} {
	e.freeze.mu.Lock()
	defer e.freeze.mu.Unlock()
	return e.freeze.started
}

// Thawed returns a channel that is closed as soon as the engine is not suspended.
func (e *Engine) Thawed() <-chan struct{} {
	e.freeze.mu.Lock()
	defer e.freeze.mu.Unlock()
	return e.freeze.thawed
}

// AwaitBlocked waits a bounded time, while everything goes on, until no handler is in
// RunBlocking whose conn Freeze would have to leave behind.
func (e *Engine) AwaitBlocked(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, blockedTime)
	defer cancel()
	PollUntil(ctx, func() bool {
		e.freeze.mu.Lock()
		defer e.freeze.mu.Unlock()
		return e.freeze.blocked == 0
	})
}

// start declares the engine suspended.
func (f *freeze) start() {
	f.mu.Lock()
	f.thawed = make(chan struct{})
	close(f.started)
	f.mu.Unlock()
	f.suspended.Store(true)
}

// Freeze freezes the engine. wake must wake all handlers that wait for something, so that
// they see that the engine is suspended. One caller at a time may freeze the engine. After
// an error the engine goes on as before.
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
	// A handler may have looked at Suspended just before it began to wait: all are woken
	// until they have seen it.
	if alone = PollUntil(ctx, func() bool { wake(); return f.changes.TryLock() }) == nil; !alone {
		return ErrChangeInProgress
	}
	if f.thawLoops, err = e.loops.freeze(ctx); err != nil {
		return errors.New("an event loop hangs")
	}
	if err := PollUntil(ctx, func() bool { wake(); return f.readers.Load() == 0 }); err != nil {
		return ReadersError(f.readers.Load())
	}
	grace, cancel := context.WithTimeout(ctx, blockedGrace)
	defer cancel()
	PollUntil(grace, func() bool { wake(); return f.settle(false) })
	f.settle(true)
	if err := PollUntil(ctx, func() bool { return f.readers.Load() == 0 }); err != nil { // one has just returned from RunBlocking
		return ReadersError(f.readers.Load())
	}
	return nil
}

// settle lets no handler return from RunBlocking any more if none is in it, or with force,
// and reports whether it does.
func (f *freeze) settle(force bool) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.settled = force || f.blocked == 0 && f.readers.Load() == 0
	return f.settled
}

// RunBlocking runs do, which waits for something that Freeze does not wait for: meanwhile
// the conn is not transferable. Resume and PeerClosed of the conn's handler may call
// RunBlocking. It returns after a thaw if the engine is frozen, and reports false if there
// is none.
func (c *Conn) RunBlocking(do func()) bool {
	if !c.engine().CanHandOver() {
		do()
		return true
	}
	f, counted := &c.engine().freeze, 0
	if c.stream == nil {
		counted = 1 // else the conn cannot be handed over, and nobody waits for it
	}
	count := func(n int) {
		f.blocked += n * counted
		f.readers.Add(int64(-n))
	}
	f.mu.Lock()
	c.flags.Or(isBlocked)
	count(1)
	f.mu.Unlock()
	returned := false
	defer func() {
		if !returned { // a panic, or the engine is abandoned
			f.mu.Lock()
			defer f.mu.Unlock()
			count(-1)
		}
	}()
	do()
	for !returned {
		f.mu.Lock()
		if returned = !f.settled; returned {
			count(-1)
			c.flags.And(^uint32(isBlocked))
		}
		f.mu.Unlock()
		if !returned && !c.engine().AwaitThaw() {
			return false
		}
	}
	return true
}

// StartFrozen is Freeze for an engine that takes over from another process, before Open.
func (e *Engine) StartFrozen() error {
	e.freeze.start()
	e.freeze.changes.Lock()
	if !e.CanHandOver() {
		return ErrNoHandover
	}
	return nil
}

// PrepareThaw prepares an engine after StartFrozen to run when it thaws.
func (e *Engine) PrepareThaw() error {
	e.freeze.thawLoops = e.loops.run
	return e.loops.poll()
}

// Thaw ends Freeze or StartFrozen. The caller has released the write locks that it acquired.
func (e *Engine) Thaw() { e.thaw(true) }

// thaw undoes what Freeze has done so far. alone says that Freeze has locked changes.
func (e *Engine) thaw(alone bool) {
	f := &e.freeze
	f.suspended.Store(false)
	thawLoops := f.thawLoops
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
	if thawLoops != nil {
		thawLoops()
	}
}

// Abandon ends an engine that is frozen and that another process has taken over from: it
// does not thaw. Before that the caller closes the conns and listeners that were handed over.
// The handlers of the other conns that wait for a thaw are told. Those conns are written to,
// and not read any more.
func (e *Engine) Abandon() {
	close(e.freeze.abandoned)
	e.loops.freezeUnread()
	e.freeze.thawLoops()
	e.freeze.thawLoops = nil
}

// PollUntil calls ok once a millisecond until it reports true or ctx ends.
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

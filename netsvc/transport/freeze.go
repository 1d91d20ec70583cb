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
	// awayTime bounds how long AwaitAway waits for conns whose handlers are away.
	awayTime = 500 * time.Millisecond
	// lastAway is for those that have gone away since. Others that still are away stay
	// behind.
	lastAway = 20 * time.Millisecond
)

// ErrAltered says that the gate was not free in time.
var ErrAltered = errors.New("something is just being changed; try again in a moment")

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
	// gate is held, shared, for a change of what is handed over, and alone from
	// Freeze to Thaw. It comes before every other lock. Freeze only tries it, so
	// that sharing it twice does no harm.
	gate    sync.RWMutex
	frozen  atomic.Bool  // set before the gate is tried
	working atomic.Int64 // goroutines that read conns of loops
	closing atomic.Int64 // connections that have all they get and are just being closed

	mu     sync.Mutex
	away   int           // conns that could go over, and whose handlers are in Away
	stands bool          // none of them comes back before Thaw
	begun  chan struct{} // closed by Freeze
	thawed chan struct{} // closed while there is no need to wait
	moved  chan struct{} // closed by Abandon

	// Owned by the goroutine that freezes and thaws.
	resume func() // lets the loops go on
}

func (f *freeze) init() {
	f.begun, f.thawed, f.moved = make(chan struct{}), make(chan struct{}), make(chan struct{})
	close(f.thawed)
}

// Alter passes the gate, for a change of what is handed over: it waits while the engine
// is frozen. The caller must call end when the change is done.
func (e *Engine) Alter() (end func()) {
	e.freeze.gate.RLock()
	return e.freeze.gate.RUnlock
}

// TryAlter is Alter for a caller that must not wait there.
func (e *Engine) TryAlter() (end func(), ok bool) {
	return e.freeze.gate.RUnlock, e.freeze.gate.TryRLock()
}

// AlterUnlessMoved is Alter for a caller that is left behind if the engine does not
// thaw, and then reports false.
func (e *Engine) AlterUnlessMoved() (end func(), ok bool) {
	for {
		if end, ok := e.TryAlter(); ok {
			return end, true
		}
		if !e.Outlast() {
			return nil, false
		}
	}
}

// Outlast waits while the engine is frozen, and reports false if it does not thaw.
func (e *Engine) Outlast() bool {
	e.freeze.mu.Lock()
	thawed, moved := e.freeze.thawed, e.freeze.moved
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

// hasMoved reports whether another process has taken over.
func (e *Engine) hasMoved() bool {
	e.freeze.mu.Lock()
	defer e.freeze.mu.Unlock()
	select {
	case <-e.freeze.moved:
		return true
	default:
		return false
	}
}

// Suspending returns a channel that is closed when the engine is to be frozen.
func (e *Engine) Suspending() <-chan struct{} {
	e.freeze.mu.Lock()
	defer e.freeze.mu.Unlock()
	return e.freeze.begun
}

// Thawed returns a channel that is closed while the engine is not frozen.
func (e *Engine) Thawed() <-chan struct{} {
	e.freeze.mu.Lock()
	defer e.freeze.mu.Unlock()
	return e.freeze.thawed
}

// Closing says that a connection gets nothing more and is about to be closed: Closed
// must follow.
func (e *Engine) Closing() { e.freeze.closing.Add(1) }

// Closed says that it is closed.
func (e *Engine) Closed() { e.freeze.closing.Add(-1) }

// begin has everything look whether it is to stand still.
func (f *freeze) begin() {
	f.mu.Lock()
	f.thawed = make(chan struct{})
	close(f.begun)
	f.mu.Unlock()
	f.frozen.Store(true)
}

// AwaitAway waits a bounded time, while everything goes on, until no conn is away that
// Freeze would leave behind.
func (e *Engine) AwaitAway(ctx context.Context) {
	patient, cancel := context.WithTimeout(ctx, awayTime)
	defer cancel()
	Until(patient, func() bool {
		e.freeze.mu.Lock()
		defer e.freeze.mu.Unlock()
		return e.freeze.away == 0
	})
}

// Freeze brings the engine to a stand. wake has all handlers look around that wait for
// something. One caller at a time may freeze the engine. After an error it goes on as
// before.
func (e *Engine) Freeze(ctx context.Context, wake func()) (err error) {
	f := &e.freeze
	if !e.CanMove() {
		return ErrCannotMove
	}
	f.begin()
	alone := false
	defer func() {
		if err != nil {
			e.goOn(alone)
		}
	}()
	// A handler that waits for something looks at Suspended when it is woken, and may
	// just have looked before: all are woken until they have seen it.
	if alone = Until(ctx, func() bool { wake(); return f.gate.TryLock() }) == nil; !alone {
		return ErrAltered
	}
	if f.resume, err = e.loops.park(ctx); err != nil {
		return errors.New("an event loop hangs")
	}
	if err := Until(ctx, func() bool { wake(); return f.working.Load() == 0 }); err != nil {
		return ReadersError(f.working.Load())
	}
	patient, cancel := context.WithTimeout(ctx, lastAway)
	defer cancel()
	Until(patient, func() bool { wake(); return f.stand(false) })
	f.stand(true)
	if err := Until(ctx, func() bool { return f.working.Load() == 0 }); err != nil { // one has just come back
		return ReadersError(f.working.Load())
	}
	return nil
}

// stand has nobody come back from Away, if nobody is there, or else with force, and
// reports whether it does.
func (f *freeze) stand(force bool) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.stands = force || f.away == 0 && f.working.Load() == 0
	return f.stands
}

// Away runs do, which waits for something that Freeze does not wait for: meanwhile the
// conn is not movable. Resume and PeerClosed of the conn's handler may call it. It waits
// while the engine is frozen, and reports false if it does not thaw.
func (c *Conn) Away(do func()) bool {
	if c.loop == nil {
		do()
		return true
	}
	f := &c.engine().freeze
	f.mu.Lock()
	f.away += c.goesOver()
	f.mu.Unlock()
	c.flags.Or(isAway)
	f.working.Add(-1)
	back := false
	defer func() {
		if !back { // a panic, or the engine is left
			f.mu.Lock()
			defer f.mu.Unlock()
			f.comeBack(c)
		}
	}()
	do()
	for !back {
		f.mu.Lock()
		if back = !f.stands; back {
			f.comeBack(c)
			c.flags.And(^uint32(isAway))
		}
		f.mu.Unlock()
		if !back && !c.engine().Outlast() {
			return false
		}
	}
	return true
}

// goesOver is 1 for a conn that another process could go on with. Nobody waits for the
// others.
func (c *Conn) goesOver() int {
	if c.stream != nil {
		return 0
	}
	return 1
}

// comeBack ends Away. mu is held.
func (f *freeze) comeBack(c *Conn) {
	f.away -= c.goesOver()
	f.working.Add(1)
}

// BeginFrozen is Freeze for an engine that takes over from another process, before
// Open. Thaw makes it run.
func (e *Engine) BeginFrozen() error {
	e.freeze.begin()
	e.freeze.gate.Lock()
	if !e.CanMove() {
		return ErrCannotMove
	}
	return nil
}

// RunThawed prepares an engine that has begun frozen to run when it thaws.
func (e *Engine) RunThawed() error {
	e.freeze.resume = e.loops.run
	return e.loops.poll()
}

// Thaw ends Freeze or BeginFrozen. The caller has freed the write locks that it took.
func (e *Engine) Thaw() { e.goOn(true) }

// goOn undoes what Freeze has done so far. alone says whether the gate is ours.
func (e *Engine) goOn(alone bool) {
	f := &e.freeze
	f.frozen.Store(false)
	resume := f.resume
	f.resume = nil
	f.mu.Lock()
	f.begun, f.moved = make(chan struct{}), make(chan struct{})
	f.stands = false
	close(f.thawed)
	f.mu.Unlock()
	if alone {
		f.gate.Unlock()
	}
	e.loops.readAgain()
	if resume != nil {
		resume()
	}
}

// Abandon is for an engine that another process has taken over from, after Freeze: it
// does not thaw. Conns and listeners that have been handed over are dropped before. Those
// of the others that wait are told. Conns that stay behind are written to, and not read
// any more.
func (e *Engine) Abandon() {
	close(e.freeze.moved)
	e.loops.parkUnread()
	e.freeze.resume()
	e.freeze.resume = nil
}

// Closings counts the connections that get nothing more and are not closed yet.
func (e *Engine) Closings() int { return int(e.freeze.closing.Load()) + len(e.gentle) }

// Until asks a millisecond apart until it hears yes or ctx ends.
func Until(ctx context.Context, ok func() bool) error {
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

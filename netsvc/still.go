package netsvc

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"roomd/netsvc/wire"
)

// A server stands still while it is handed over to another process: from Freeze
// to Thaw no direct member is read or written to, and no member, room or log
// changes but by streams, which are not handed over. Newcomers wait in the
// kernel's backlog and input in its buffers.
//
// What can be taken up again elsewhere leaves its place: readers of a leftover,
// feeders from the disk, and, parked, sessions and callers. What can only wait
// where it is, waits: changes of rooms and the ends of members at altering,
// accepting and reading in the loops, writing for the holds, which Freeze has.
type still struct {
	// altering is held, shared, by who changes rooms or members, and alone from
	// Freeze to Thaw. It comes before every other lock. Freeze only tries it, so
	// that sharing it twice does no harm.
	altering sync.RWMutex
	frozen   atomic.Bool  // set before altering is tried
	working  atomic.Int64 // goroutines that read direct members
	closing  atomic.Int64 // connections that have all they get and are just being closed

	mu      sync.Mutex
	freeze  chan struct{}      // closed by Freeze
	thawed  chan struct{}      // closed while there is no need to wait
	moved   chan struct{}      // closed by Abandon
	waiters map[parkable]place // connections with a goroutine

	// Owned by who freezes and thaws.
	rooms   []*Room   // whose flusher we are
	members []*Member // whose hold we have
	leave   func()    // lets the loops go on
}

// place is where the goroutine of a connection is.
type place uint8

const (
	moving place = iota
	parked
	given // parked, and the connection is handed over
)

// parkable is a connection with a goroutine that waits for input.
type parkable interface {
	wake()        // makes it look whether it is to park; it may do so in vain
	hungUp() bool // its peer has closed its side, or is gone
}

func (t *still) init() {
	t.freeze, t.thawed, t.moved = make(chan struct{}), make(chan struct{}), make(chan struct{})
	close(t.thawed)
	t.waiters = make(map[parkable]place)
}

// alter is for who changes rooms or members: it waits while the server stands
// still. The caller must call what it returns at the end.
func (s *Service) alter() (end func()) {
	s.still.altering.RLock()
	return s.still.altering.RUnlock
}

// tryAlter is alter for who must not wait there.
func (s *Service) tryAlter() (end func(), ok bool) {
	return s.still.altering.RUnlock, s.still.altering.TryRLock()
}

// alterUnlessMoved is alter for who is left behind if the server does not go on,
// and then reports false.
func (s *Service) alterUnlessMoved() (end func(), ok bool) {
	for {
		if end, ok := s.tryAlter(); ok {
			return end, true
		}
		if !s.outlast() {
			return nil, false
		}
	}
}

// alterOrRefuse is alter for a change that somebody has asked for and gets an answer
// to: it must not wait in a process that another one has taken over from.
func (s *Service) alterOrRefuse() (end func(), err error) {
	if end, ok := s.alterUnlessMoved(); ok {
		return end, nil
	}
	return nil, wire.Errorf(wire.CodeBusy, "another process of the server has just taken over, and nothing is changed; try again")
}

// outlast waits while the server is to stand still, and reports false if it does
// not go on.
func (s *Service) outlast() bool {
	select {
	case <-s.thawing():
		return true
	case <-s.still.moved:
		return false
	}
}

// alterParked is alter for a goroutine that is parked meanwhile. It reports false
// if the server does not go on.
func (s *Service) alterParked(p parkable) (end func(), ok bool) {
	for {
		if end, ok := s.tryAlter(); ok {
			return end, true
		}
		if !s.still.park(p) {
			return nil, false
		}
	}
}

// freezing returns what is closed when the server is to stand still.
func (t *still) freezing() <-chan struct{} {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.freeze
}

// thawing returns what is closed while the server need not be waited for.
func (s *Service) thawing() <-chan struct{} {
	s.still.mu.Lock()
	defer s.still.mu.Unlock()
	return s.still.thawed
}

// movedText is what is said to who could not be handed over.
const movedText = "the server is being upgraded; connect again"

// park is called by the goroutine of a connection that may be handed over, and
// returns when the server goes on. It reports false if it does not, and the
// connection was not handed over; if it was, it never returns.
func (t *still) park(p parkable) bool {
	t.mu.Lock()
	thawed := t.thawed
	t.note(p, parked)
	t.mu.Unlock()
	select {
	case <-thawed:
	case <-t.moved:
		t.mu.Lock()
		where := t.waiters[p]
		t.mu.Unlock()
		if where == given {
			select {}
		}
		return false
	}
	t.mu.Lock()
	t.note(p, moving)
	t.mu.Unlock()
	return true
}

// note notes where the goroutine of a connection is. mu is held.
func (t *still) note(p parkable, where place) {
	if _, known := t.waiters[p]; known {
		t.waiters[p] = where
	}
}

// register says that Freeze has to park a connection, and forget that it need
// not any more, as it is about to be closed: closing is then to be counted down.
func (t *still) register(p parkable) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.waiters[p] = moving
}

func (t *still) forget(p parkable) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closing.Add(1)
	delete(t.waiters, p)
}

// anyHungUp reports whether the peer of a connection with a goroutine has closed.
func (t *still) anyHungUp() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	for p := range t.waiters {
		if p.hungUp() {
			return true
		}
	}
	return false
}

// wakeAll wakes the connections that are not parked, and counts them.
func (t *still) wakeAll() (n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for p, where := range t.waiters {
		if where == moving {
			p.wake()
			n++
		}
	}
	return n
}

// behind counts the connections that are not handed over and not closed yet.
func (t *still) behind() (n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, where := range t.waiters {
		if where != given {
			n++
		}
	}
	return n + int(t.closing.Load())
}

// until asks again and again, a millisecond apart, until it hears yes or ctx
// ends.
func until(ctx context.Context, ok func() bool) error {
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

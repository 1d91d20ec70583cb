package netsvc

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
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
	freeze  chan struct{}     // closed by Freeze
	thawed  chan struct{}     // closed while there is no need to wait
	waiters map[parkable]bool // connections with a goroutine; whether it is parked

	// Owned by who freezes and thaws.
	rooms   []*Room   // whose flusher we are
	members []*Member // whose hold we have
	leave   func()    // lets the loops go on
}

// parkable is a connection with a goroutine that waits for input.
type parkable interface {
	wake() // makes it look whether it is to park; it may do so in vain
}

func (t *still) init() {
	t.freeze, t.thawed = make(chan struct{}), make(chan struct{})
	close(t.thawed)
	t.waiters = make(map[parkable]bool)
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

// alterParked is alter for a goroutine that is parked meanwhile.
func (s *Service) alterParked(p parkable) (end func()) {
	for {
		if end, ok := s.tryAlter(); ok {
			return end
		}
		s.still.park(p)
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

// park is called by the goroutine of a connection that may be handed over, and
// returns when the server goes on.
func (t *still) park(p parkable) {
	t.mu.Lock()
	thawed := t.thawed
	t.note(p, true)
	t.mu.Unlock()
	<-thawed
	t.mu.Lock()
	t.note(p, false)
	t.mu.Unlock()
}

// note notes whether a connection is parked. mu is held.
func (t *still) note(p parkable, parked bool) {
	if _, known := t.waiters[p]; known {
		t.waiters[p] = parked
	}
}

// register and forget say which connections Freeze has to park.
func (t *still) register(p parkable) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.waiters[p] = false
}

func (t *still) forget(p parkable) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.waiters, p)
}

// moving wakes the connections that are not parked, and counts them.
func (t *still) moving() (n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for p, parked := range t.waiters {
		if !parked {
			p.wake()
			n++
		}
	}
	return n
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

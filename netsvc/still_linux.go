package netsvc

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// parkTime bounds how long Freeze waits for sessions and callers that are busy.
// Those that still are stay behind.
const parkTime = 500 * time.Millisecond

// errNoLoops is why a server cannot hand over.
var errNoLoops = errors.New("only connections of event loops can be handed over, and this server has none")

// Freeze brings the server to a stand: see still. After an error it goes on as
// before. One caller at a time may freeze it.
func (s *Service) Freeze(ctx context.Context) (err error) {
	t := &s.still
	switch {
	case s.opts().Portable:
		return errNoLoops
	case s.stop.Err() != nil:
		return errors.New("the server is stopping")
	}
	t.mu.Lock()
	t.thawed = make(chan struct{})
	close(t.freeze)
	t.mu.Unlock()
	t.frozen.Store(true)
	alone := false
	defer func() {
		if err != nil {
			s.goOn(alone)
		}
	}()
	// Who waits for something looks at frozen when it is woken, and may just
	// have looked before: all are woken until they have seen it.
	if alone = until(ctx, func() bool { s.wakeMembers(); return t.altering.TryLock() }) == nil; !alone {
		return errors.New("a room or its members are just being changed; try again in a moment")
	}
	if t.leave, err = s.loops.park(ctx); err != nil {
		return errors.New("an event loop hangs")
	}
	if err := until(ctx, func() bool { s.wakeMembers(); return t.working.Load() == 0 }); err != nil {
		return fmt.Errorf("%s cannot be brought to a stand", counted(int(t.working.Load()), "member"))
	}
	patient, cancel := context.WithTimeout(ctx, parkTime)
	defer cancel()
	until(patient, func() bool { return t.wakeAll() == 0 }) // those that move still stay behind
	for _, r := range s.all() {
		if r.dropped.Load() {
			continue
		}
		if err := until(ctx, func() bool { return r.flushing.CompareAndSwap(free, held) }); err != nil {
			return fmt.Errorf("the room %s does not stop writing", r.name())
		}
		t.rooms = append(t.rooms, r)
	}
	for _, r := range t.rooms {
		if err := r.holdMembers(ctx); err != nil {
			return fmt.Errorf("a member of %s does not stop being written to", r.name())
		}
	}
	return ctx.Err()
}

// wakeMembers makes who waits for something of a member look around.
func (s *Service) wakeMembers() {
	for _, r := range s.all() {
		for _, m := range r.everybody() {
			m.signal()
		}
	}
}

// holdMembers takes the holds of a room's members that can be handed over.
func (r *Room) holdMembers(ctx context.Context) error {
	for _, m := range r.everybody() {
		if !m.movable() {
			continue
		}
		done := false
		if err := until(ctx, func() bool {
			// The hold of one that is drained is never released. If it has not
			// ended, what it sent is not handled yet.
			drained := m.isDrained()
			done = drained && m.hasEnded()
			return drained || m.hold.CompareAndSwap(free, held)
		}); err != nil {
			return err
		}
		if !done {
			r.svc.still.members = append(r.svc.still.members, m)
		}
	}
	return nil
}

// Thaw makes the server go on after Freeze or Adopt.
func (s *Service) Thaw() { s.goOn(true) }

// goOn undoes what Freeze has done so far. alone says whether it has altering.
func (s *Service) goOn(alone bool) {
	t := &s.still
	t.frozen.Store(false)
	rooms, members, leave := t.rooms, t.members, t.leave
	t.rooms, t.members, t.leave = nil, nil, nil
	t.mu.Lock()
	t.freeze = make(chan struct{})
	close(t.thawed)
	t.mu.Unlock()
	for _, m := range members {
		m.hold.Store(free)
	}
	for _, r := range rooms {
		r.flushing.Store(free)
	}
	if alone {
		t.altering.Unlock()
	}
	for _, r := range s.all() {
		for _, m := range r.everybody() {
			m.readAgain()
			m.flushAll() // for who has left word meanwhile
		}
		r.kick()
	}
	if leave != nil {
		leave()
	}
}

// Abandon is for a server that another process has taken over from, after
// Freeze: it does not go on. Members that could not be handed over are told so
// and get what is pending; those and other connections that are just being closed
// have so long at most. Nobody else's connection is touched: of what has been
// handed over the descriptors are closed here, which another process has too.
func (s *Service) Abandon(within time.Duration) {
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	close(s.still.moved)
	s.leaveGiven()
	for _, l := range s.loops.each {
		for _, k := range l.more { // whose turn does not come any more
			if !k.m.movable() {
				k.m.park()
			}
		}
	}
	for _, r := range s.all() {
		r.letOthersGo()
	}
	until(ctx, func() bool {
		s.still.wakeAll()
		n := s.still.behind() + len(refusals)
		for _, r := range s.all() {
			for _, m := range r.everybody() {
				if !m.movable() {
					n++
				}
			}
		}
		return n == 0
	})
}

// leaveGiven closes the descriptors of what has been handed over: a port that the
// other process gives up must not stay open here. Their holds are never released,
// the loops stand still, and the goroutines of the others never return.
func (s *Service) leaveGiven() {
	for _, l := range s.listening() {
		l.close()
	}
	for _, m := range s.still.members {
		unix.Close(m.link.(*direct).fd)
	}
	s.still.mu.Lock()
	defer s.still.mu.Unlock()
	for p, where := range s.still.waiters {
		if where != given {
			continue
		}
		switch p := p.(type) {
		case *session:
			p.conn.Close()
		case *caller:
			p.conn.Close()
		}
	}
}

// letOthersGo ends the members that cannot be handed over.
func (r *Room) letOthersGo() {
	if r.dropped.Load() { // its deletion ends them
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, m := range append([]*Member(nil), r.members...) {
		if m.movable() {
			continue
		}
		m.queue(insert{kind: sayMoved})
		m.endLocked(stopping)
	}
}

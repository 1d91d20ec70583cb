package netsvc

import (
	"context"
	"errors"
	"fmt"
	"time"

	"roomd/netsvc/transport"
	"roomd/netsvc/wire"
)

// upgrade is what stands still beside the engine, from Freeze or Adopt to Thaw. It is
// owned by the goroutine that freezes and thaws.
type upgrade struct {
	rooms   []*Room          // whose flushing we have
	members []*Member        // whose write lock we have
	masters []*masterSession // that are handed over
	callers []*caller
}

// movedText is what connections are told that could not be handed over.
const movedText = "the server is being upgraded; connect again"

// alterOrRefuse passes the gate for a change that somebody has asked for and gets an
// answer to: it must not wait in a process that another one has taken over from. Before
// the answer the change is in the log.
func (s *Service) alterOrRefuse() (end func(), err error) {
	if pass, ok := s.engine.AlterUnlessMoved(); ok {
		return func() {
			s.notes.complete()
			pass()
		}, nil
	}
	return nil, wire.Errorf(wire.CodeBusy, "another process of the server has just taken over, and nothing is changed; try again")
}

// Freeze brings the server to a stand while it is handed over to another process: no
// member, room or log changes but by members that are not handed over. After an error
// the server goes on as before. One caller at a time may freeze it.
func (s *Service) Freeze(ctx context.Context) (err error) {
	if s.stop.Err() != nil {
		return errors.New("the server is stopping")
	}
	if err := s.engine.Freeze(ctx, s.wakeMembers); err != nil {
		s.writeOn()
		var readers transport.ReadersError
		switch {
		case errors.Is(err, transport.ErrAltered):
			return errors.New("a room or its members are just being changed; try again in a moment")
		case errors.As(err, &readers):
			return fmt.Errorf("%s cannot be brought to a stand", counted(int(readers), "member"))
		}
		return err
	}
	defer func() {
		if err != nil {
			s.Thaw()
		}
	}()
	for _, r := range s.all() {
		if r.dropped.Load() {
			continue
		}
		if err := transport.Until(ctx, r.flushing.Try); err != nil {
			return fmt.Errorf("the room %s does not stop writing", r.name())
		}
		s.upgrade.rooms = append(s.upgrade.rooms, r)
	}
	for _, r := range s.upgrade.rooms {
		if err := r.holdMembers(ctx); err != nil {
			return fmt.Errorf("a member of %s does not stop being written to", r.name())
		}
	}
	return ctx.Err()
}

// wakeMembers makes goroutines look around that wait for something of a member or of a
// session.
func (s *Service) wakeMembers() {
	for _, r := range s.all() {
		for _, m := range r.everybody() {
			m.Signal()
		}
	}
	for _, v := range s.visitors() {
		v.Signal()
	}
}

// holdMembers takes the write locks of a room's members that can be handed over.
func (r *Room) holdMembers(ctx context.Context) error {
	for _, m := range r.everybody() {
		if !m.movable() {
			continue
		}
		done := false
		if err := transport.Until(ctx, func() bool {
			// The write lock of one that is drained is never released. If it has not
			// ended, what it sent is not handled yet.
			drained := m.isDrained()
			done = drained && m.hasEnded()
			return drained || m.conn.TryHold()
		}); err != nil {
			return err
		}
		if !done {
			r.svc.upgrade.members = append(r.svc.upgrade.members, m)
		}
	}
	return nil
}

// Thaw makes the server go on after Freeze or Adopt.
func (s *Service) Thaw() {
	for _, m := range s.upgrade.members {
		m.conn.Unhold()
	}
	for _, r := range s.upgrade.rooms {
		r.flushing.Reset()
	}
	s.upgrade = upgrade{}
	s.engine.Thaw()
	s.writeOn()
}

// writeOn has all members get what was put off, and what came meanwhile.
func (s *Service) writeOn() {
	for _, r := range s.all() {
		for _, m := range r.everybody() {
			m.flushAll()
		}
		r.kick()
	}
}

// Abandon is for a server that another process has taken over from, after
// Freeze: it does not go on. Members that could not be handed over are told so
// and get what is pending; those and other connections that are just being closed
// have this time at most. Of what has been handed over the descriptors are closed here,
// which another process has too: a port that it gives up must not stay open. Nobody
// else's connection is touched.
func (s *Service) Abandon(within time.Duration) {
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	for _, l := range s.listening() {
		l.Close()
	}
	for _, m := range s.upgrade.members { // whose write locks are never released
		m.conn.Drop()
	}
	s.mu.Lock()
	for _, c := range s.upgrade.masters {
		c.conn.Drop()
		delete(s.masters, c)
	}
	s.mu.Unlock()
	for _, c := range s.upgrade.callers {
		c.conn.Drop()
		s.gate.leave(c)
	}
	s.engine.Abandon()
	for _, v := range s.visitors() {
		v.hurry() // those that are left behind
	}
	for _, r := range s.all() {
		r.letOthersGo()
	}
	transport.Until(ctx, func() bool {
		n := s.engine.Closings() + len(s.visitors())
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

package netsvc

import (
	"maps"
	"slices"
	"time"
)

// startSweep has the sweep look at what was written. It never waits.
func (s *Service) startSweep() {
	select {
	case s.sweeping <- struct{}{}:
	default:
	}
}

// sweep looks for members whose peer has vanished without a word while data was
// on the way to it. Two looks in a row must agree: a probe that is just being
// answered looks the same for a moment. It sleeps while all that was written has
// been acknowledged.
func (s *Service) sweep() {
	for {
		select {
		case <-s.sweeping:
		case <-s.stop.Done():
			return
		}
		for again := true; again && s.pause(s.opts().DeadPeer/6); {
			again = false
			for _, r := range s.all() {
				if r.wrote.Swap(false) && r.sweep(s.opts().DeadPeer/2) {
					r.wrote.Store(true)
					again = true
				}
			}
		}
	}
}

// sweep looks at the members of a room and reports whether one has something on
// the way to it.
func (r *Room) sweep(limit time.Duration) (waiting bool) {
	defer r.svc.engine.Alter()()
	for _, m := range r.present() {
		on, silentNow := m.conn.Unanswered(limit)
		waiting = waiting || on
		if silentNow && m.suspect {
			m.giveUp()
		}
		m.suspect = silentNow
	}
	return waiting
}

// all is every room, those opening and closing included.
func (s *Service) all() []*Room {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.allLocked()
}

func (s *Service) allLocked() []*Room {
	return slices.AppendSeq(slices.Collect(maps.Values(s.rooms)), maps.Keys(s.draining))
}

// present is every member there is now.
func (r *Room) present() []*Member {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]*Member(nil), r.members...)
}

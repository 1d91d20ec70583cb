package netsvc

import (
	"slices"
	"time"
)

const (
	// lastWordsTime bounds how long Stop waits for what clients sent that have closed
	// since, and liveWordsTime for what others sent, who may send on and on.
	lastWordsTime = 5 * time.Second
	liveWordsTime = 500 * time.Millisecond
	lastWordsLook = 5 * time.Millisecond
)

// lastWords waits until what has come from members is handled, and all that clients
// sent who have closed their side since, or are gone: nobody tells them to send it
// again. Theirs is held back by no allowance. Everything goes on meanwhile.
func (s *Service) lastWords() {
	select {
	case <-s.lastCall: // Stop is called again
	default:
		close(s.lastCall)
	}
	for _, r := range s.all() {
		r.mu.Lock()
		for _, m := range r.members {
			m.Signal() // one that waits for its allowance looks again
		}
		r.mu.Unlock()
	}
	for _, v := range s.visitors() {
		v.Signal()
	}
	t := time.NewTicker(lastWordsLook)
	defer t.Stop()
	began, quiet := time.Now(), 0
	for quiet < 2 { // what is just between two places may be seen in neither
		took := time.Since(began)
		if took > lastWordsTime {
			s.log.Warn("something is left of what clients sent before they closed", "waited", lastWordsTime)
			return
		}
		if quiet++; s.isOwedAHearing(took < liveWordsTime) {
			quiet = 0
		}
		<-t.C
	}
}

// isOwedAHearing reports whether there is input of a client that has closed or, with
// live, of a member.
func (s *Service) isOwedAHearing(live bool) bool {
	if l := s.master.Load(); l != nil && l.Waiting() {
		return true
	}
	if slices.ContainsFunc(s.all(), func(r *Room) bool { return r.isOwedAHearing(live) }) {
		return true
	}
	return s.between.Load() > 0 || slices.ContainsFunc(s.visitors(), visitor.HungUp)
}

func (r *Room) isOwedAHearing(live bool) bool {
	r.mu.Lock()
	ln := r.ln
	owed := slices.ContainsFunc(r.members, func(m *Member) bool {
		return m.conn.HungUp() || live && !m.slowed.Load() && m.conn.HasInput()
	})
	r.mu.Unlock()
	return owed || ln != nil && ln.Waiting() // whose lock comes before that of a room
}

// stopsSoon reports whether the last words are being waited for.
func (s *Service) stopsSoon() bool {
	select {
	case <-s.lastCall:
		return true
	default:
		return false
	}
}

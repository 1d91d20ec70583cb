package netsvc

import (
	"errors"
	"slices"
	"time"
)

// What bounds the time of a member that has left and still takes what is pending:
// it takes something in each limits.dead_peer, leavePace bytes a second from the
// second one on, and all of it in leaveTime.
const (
	leavePace = 1 << 10
	leaveTime = time.Hour
)

// departure is what is known of a member that has ended and is not closed yet. It
// is guarded by Room.mu.
type departure struct {
	since time.Duration // the uptime at the end of the member
	cut   bool          // its connection is to be broken, or is
}

// errCut is why nothing is read for a member any more.
var errCut = errors.New("the connection is broken")

// seeOff is Finish for a member that has ended.
func (m *Member) seeOff(c Cause) {
	r := m.room
	defer r.readers.Done()
	defer r.svc.leave(m.remote.Addr())
	defer r.closed(m)
	defer m.forget()
	if c != kicked {
		r.remember(m.remote.Addr())
	}
	switch c {
	case vanished, silent, foreign, destroyed:
		m.breakOff()
	}
	if !m.drain(c) {
		// Somebody still has the write lock: closing would give the descriptor to a
		// stranger.
		r.svc.log.Error("a connection cannot be closed", "room", r.name(), "remote", m.remote)
		return
	}
	r.svc.engine.Closing()
	defer r.svc.engine.Closed()
	m.conn.Close(m.heard)
}

// forget gives up what nobody will write any more.
func (m *Member) forget() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.forgetLocked(len(m.inserts))
}

// drain waits until nothing more will be written, for as long as the cause
// deserves: one that has left takes what is pending at its own pace, within
// bounds; the others have drainTime, and one that the operator ends has no time at
// all. It reports false if even then somebody is writing.
func (m *Member) drain(c Cause) bool {
	r, svc := m.room, m.room.svc
	patience := drainTime
	var quit <-chan struct{}
	if c == left {
		patience = svc.opts().DeadPeer
		quit = r.quit // it is not to hold up a deletion
	}
	if m.flushAll(); m.isDrained() {
		return true
	}
	begun, wrote, took := svc.uptime(), m.wrote.Load(), uint64(0)
	timer := time.NewTimer(patience)
	defer timer.Stop()
	aborted := false
	for wait := m.waits(); !m.isDrained(); {
		since, cut := r.departed(m)
		suspended := m.movable() && svc.engine.Suspended() // it may be another process's
		if suspended && cut {
			timer.Reset(bindPause)
		}
		if !cut || aborted || suspended {
			select {
			case <-wait:
				continue
			case <-quit:
				quit, c = nil, deleted
				timer.Reset(drainTime)
				continue
			case <-timer.C:
			}
		}
		if m.movable() && svc.engine.Suspended() {
			timer.Reset(patience)
			continue
		}
		now, at := m.wrote.Load(), svc.uptime()
		took += uint64(now - wrote)
		if c == left && !cut && now != wrote && mayDrain(took, patience, at-begun, at-since) {
			wrote = now
			timer.Reset(patience)
			continue
		}
		if aborted {
			return false
		}
		aborted = true
		if c == left && !cut && now != wrote {
			svc.log.Info("a member that has left takes what is pending too slowly, and does not get the rest", "room", r.name(), "remote", m.remote)
		}
		m.breakOff()
		m.flushAll()
		timer.Reset(2 * drainTime)
	}
	return true
}

// mayDrain reports whether a member that has left may go on taking what is
// pending: it has taken so many bytes here, and has had patience for the first of
// them; inAll is its time in other processes, too.
func mayDrain(took uint64, patience, here, inAll time.Duration) bool {
	return inAll < leaveTime && float64(took) >= leavePace*(here-patience).Seconds()
}

// departed tells when the member ended, by the uptime, and whether its connection
// is to be broken.
func (r *Room) departed(m *Member) (since time.Duration, cut bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	d := r.leaving[m]
	if d == nil {
		return 0, false
	}
	return d.since, d.cut
}

// breakOff breaks the connection of a member that has ended.
func (m *Member) breakOff() {
	m.room.mu.Lock()
	m.room.leaving[m].cut = true
	m.room.mu.Unlock()
	m.conn.Abort()
}

// cutLocked has the connection of a member broken that has ended and is not closed
// yet. It reports false if that was asked for already. Room.mu is held.
func (m *Member) cutLocked() bool {
	d := m.room.leaving[m]
	if d == nil || d.cut {
		return false
	}
	d.cut = true
	m.Signal()
	return true
}

// everybody is the members of a room, and those that have ended and are not
// closed yet.
func (r *Room) everybody() []*Member {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := slices.Clone(r.members)
	for m := range r.leaving {
		all = append(all, m)
	}
	return all
}

// owed are those that have ended and have not got everything yet. The others that
// are leaving have readOutTime to close their side. mu is held.
func (r *Room) owed() (all []*Member) {
	for m := range r.leaving {
		if !m.isDrained() {
			all = append(all, m)
		}
	}
	return all
}

// full reports whether the room has no place for another one. Those that are owed
// something have theirs still. mu is held.
func (r *Room) full(most int) bool {
	n := len(r.members)
	return most > 0 && n+len(r.leaving) >= most && n+len(r.owed()) >= most
}

// fromDisk is Service.fromDisk for the member. Nothing is read for one whose
// connection is broken by then, and nothing, errLater, if the server is to stand
// still: thousands may wait for their turn, each with its write lock. The caller
// has that of the member.
func (m *Member) fromDisk(read func()) (err error) {
	s := m.room.svc
	var still <-chan struct{}
	if m.movable() {
		still = s.engine.Suspending()
	}
	select {
	case <-still:
		return errLater
	default:
	}
	select {
	case s.readers <- struct{}{}:
	case <-still:
		return errLater
	}
	defer func() { <-s.readers }()
	if _, cut := m.room.departed(m); cut {
		m.over, m.replay = true, nil
		return errCut
	}
	s.counters.pages.Add(1)
	read()
	return nil
}

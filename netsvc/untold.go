package netsvc

import (
	"time"

	"roomd/netsvc/wire"
)

// untoldTime is how long a newcomer may be silent until the room is told that it
// has joined. A probe that only looks whether somebody listens is gone by then,
// and a script has taken its nick.
const untoldTime = time.Second

// tellLater has the room told that a member has joined: once it speaks, or after
// untoldTime. mu is held.
func (r *Room) tellLater(m *Member) {
	m.untold.Store(true)
	if r.untold = append(r.untold, m); len(r.untold) == 1 {
		time.AfterFunc(untoldTime, r.tellDue)
	}
}

// tellDue tells the room of those whose time has come.
func (r *Room) tellDue() {
	defer r.svc.engine.Alter()()
	r.mu.Lock()
	defer r.mu.Unlock()
	for len(r.untold) > 0 {
		m := r.untold[0]
		if m.cause == "" && m.untold.Load() {
			if wait := untoldTime - time.Since(m.since); wait > 0 {
				time.AfterFunc(min(wait, untoldTime), r.tellDue)
				return
			}
			r.tellJoined(m)
		}
		r.untold[0] = nil
		r.untold = r.untold[1:]
	}
	r.untold = nil
}

// tellJoined tells the room that a member has joined, if it does not know. mu is held.
func (r *Room) tellJoined(m *Member) {
	if m.cause != "" || !m.untold.Swap(false) {
		return
	}
	r.announce(wire.Event{Type: wire.TypeJoin, From: m.nick.Shown, Members: len(r.members)})
	r.svc.hub.publish(Happening{Type: "join", Room: r.name(), Member: m.nick.Shown, Remote: m.remote.String()})
}

// tellLeft tells the room that a member has left, if it knows that it was there.
// mu is held.
func (r *Room) tellLeft(m *Member) {
	if !m.untold.Load() {
		r.announce(wire.Event{Type: wire.TypeLeave, From: m.nick.Shown, Members: len(r.members)})
	}
}

// tellNow has the room know that the member has joined, before it sees something
// that it says. The caller has the read lock.
func (m *Member) tellNow() {
	if m.untold.Load() {
		m.room.mu.Lock()
		defer m.room.mu.Unlock()
		m.room.tellJoined(m)
	}
}

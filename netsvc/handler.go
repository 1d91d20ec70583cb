package netsvc

import (
	"context"
	"log/slog"
	"time"

	"roomd/netsvc/transport"
)

// A member is the handler of its conn (transport.Handler). What conns with goroutines
// do passes the gate here: they stay in this process, and are to do nothing while the
// server is suspended, as another process may have taken over.

// alterHere is AlterUnlessMoved for the member's input. Conns on a loop need no gate:
// the engine is not suspended while somebody reads them.
func (m *Member) alterHere() (end func(), ok bool) {
	if m.conn.OnLoop() {
		return func() {}, true
	}
	return m.room.svc.engine.AlterUnlessMoved()
}

// Data handles what was read.
func (m *Member) Data(p []byte) transport.Next {
	end, ok := m.alterHere()
	if !ok {
		return transport.More
	}
	defer end()
	switch c, taken := m.input(p); {
	case !taken:
		return transport.Wait
	case c != "":
		m.end(c)
		return transport.End
	}
	m.flushAll()
	return transport.More
}

// Resume handles the leftover, if there is one.
func (m *Member) Resume() transport.Next {
	end, ok := m.alterHere()
	if !ok {
		return transport.More
	}
	defer end()
	switch c := m.readOn(); {
	case c != "":
		m.end(c)
		return transport.End
	case m.left != nil:
		return transport.Park
	}
	m.flushAll()
	return transport.More
}

// PeerClosed handles the end of the input.
func (m *Member) PeerClosed(err error) transport.Next {
	c := vanished
	if end, ok := m.alterHere(); ok {
		defer end()
		if c, ok = m.lastInput(err); !ok {
			return transport.Park
		}
	}
	m.end(c)
	return transport.End
}

// Writable says that the connection takes more.
func (m *Member) Writable() { m.flushAll() }

// Feed writes what has to be read from the disk first. It has the write lock.
func (m *Member) Feed() {
	for m.work(true) {
		if m.movable() && m.room.svc.engine.Suspended() || !m.conn.BeginWrite() {
			return
		}
	}
}

// Panicked reports a bug that is met while serving the member.
func (m *Member) Panicked(p any, stack []byte) {
	m.room.svc.log.Error("member", "room", m.room.name(), "remote", m.remote, "error", p, "stack", string(stack))
	go m.endStill(destroyed)
}

// Signal has a goroutine of the member look around that waits for something.
func (m *Member) Signal() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.signalLocked()
}

// Pause waits for a Signal, or for the time d.
func (m *Member) Pause(d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-m.waits():
	case <-t.C:
	}
}

// Finish ends the member, if nothing but a bug has, waits until all that is pending is
// written, and closes the connection.
func (m *Member) Finish() {
	m.endStill(destroyed)
	c := m.why()
	level := slog.LevelInfo
	if m.untold.Load() && (c == left || c == vanished) {
		level = slog.LevelDebug // it was there to see whether somebody listens
	}
	m.room.svc.log.Log(context.Background(), level, "member gone", "room", m.room.name(), "member", m.nick.Shown, "remote", m.remote, "cause", string(c))
	m.seeOff(c)
}

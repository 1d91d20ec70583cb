package netsvc

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"roomd/netsvc/roomlog"
	"roomd/netsvc/wire"
	"roomd/store"
)

// Cause is why a member's time in a room ended. The first one wins.
type Cause string

const (
	left      Cause = "left"          // it closed its side, or said /quit
	vanished  Cause = "vanished"      // reset, or the connection broke
	silent    Cause = "dead peer"     // acknowledged nothing for limits.dead_peer
	kicked    Cause = "kicked"        // by the operator
	lagged    Cause = "lagged"        // more than limits.max_lag lines behind
	foreign   Cause = "foreign"       // it speaks HTTP
	deleted   Cause = "room deleted"  // DELETE
	stopping  Cause = "stopping"      // the server stops
	unserved  Cause = "history error" // its lines could not be read from the disk
	destroyed Cause = "internal error"
)

const (
	// maxInFlight bounds a member's lines that are not committed yet, and
	// maxInserts what waits for it alone: then it is read no further.
	maxInFlight = 256
	maxInserts  = 256
)

// Member is a connection in a room: a reader that speaks, and a cursor.
type Member struct {
	// Set before serve, then read-only.
	id     uint64
	room   *Room
	sock   *sock
	remote netip.AddrPort
	since  time.Time

	// Owned by the reader.
	framer wire.Framer
	early  []byte // read before it was a member
	begun  bool   // a first line has been seen
	raw    bool
	heard  bool // the peer has closed its side

	suspect bool // owned by the sweep: was silent the last time

	// Guarded by Room.mu.
	index     int
	nick      wire.Name // written by the reader alone
	readsJSON bool      // written by the reader alone
	cause     Cause     // why it ended; empty: it has not

	lines   atomic.Uint64 // said
	spoke   atomic.Int64  // microseconds since 1970; 0: not yet
	mutedBy atomic.Pointer[store.Ban]

	hold    atomic.Int32
	pos     atomic.Uint64 // a copy of cursor.Pos
	drained chan struct{} // closed when nothing more will be written
	settled chan struct{} // capacity 1: inFlight or inserts went down, or ended

	// Owned by who has the hold.
	cursor roomlog.Cursor
	format roomlog.Format
	behind bool    // the cursor has fallen out of the log: feed from the store by cursor.Seq
	replay *replay // lines from the store that come before anything else
	rest   []byte  // to be written before anything else
	over   bool    // nothing comes after rest

	mu       sync.Mutex
	inserts  []insert
	inFlight int
	hideOwn  bool   // after /echo off
	saying   string // the command whose line is in flight
	failed   bool   // it was refused
	ended    bool   // no insert follows
}

func newMember(r *Room, k *sock, addr netip.AddrPort, nick wire.Name) *Member {
	return &Member{
		id: r.svc.members.Add(1), room: r, sock: k, remote: addr, nick: nick, since: time.Now(),
		framer:  wire.NewFramer(r.svc.opts().LineBytes),
		drained: make(chan struct{}), settled: make(chan struct{}, 1),
	}
}

// greet queues what a newcomer sees first. Room.mu is held.
func (m *Member) greet(members int, topic string) {
	hello := fmt.Appendf(nil, "* %s: %d here, you are %s (/help)\n", m.room.name(), members, m.nick.Shown)
	if topic != "" {
		hello = fmt.Appendf(hello, "* topic: %s\n", topic)
	}
	m.pos.Store(m.cursor.Pos)
	m.inserts = append(m.inserts, insert{kind: answer, at: m.cursor, bytes: hello})
	if n := m.room.replay(); n > 0 {
		m.inserts = append(m.inserts, insert{kind: newest, at: m.cursor, n: n})
	}
}

// serve is the member's reader. It ends the member, waits until all that is
// pending is written, and closes the socket.
func (m *Member) serve() {
	defer m.room.svc.leave(m.remote.Addr())
	defer m.room.closed()
	m.finish(m.read())
}

// read handles input until there is no more, and says why.
func (m *Member) read() (c Cause) {
	defer func() {
		if p := recover(); p != nil {
			m.room.svc.log.Error("reader", "room", m.room.name(), "remote", m.remote, "error", p, "stack", string(debug.Stack()))
			c = destroyed
		}
	}()
	if c := m.take(m.early); c != "" {
		return c
	}
	m.early = nil
	m.answerNow()
	for {
		p, err := m.sock.read()
		if err != nil {
			return m.lastLine(err)
		}
		c := m.take(p)
		m.sock.done()
		if c != "" {
			return c
		}
		m.answerNow()
	}
}

// take handles what was read.
func (m *Member) take(p []byte) Cause {
	for {
		line, over, rest, ok := m.framer.Cut(p)
		if !ok {
			return ""
		}
		if c := m.line(line, over); c != "" {
			return c
		}
		p = rest
	}
}

// lastLine handles the end of the stream. What was sent before it is said
// before the member leaves.
func (m *Member) lastLine(err error) Cause {
	c := vanished
	if errors.Is(err, io.EOF) && !m.sock.wasReset() {
		c, m.heard = left, true
		m.sock.bePatient(m.room.svc.opts().DeadPeer)
		if line, over, ok := m.framer.Tail(); ok {
			if why := m.line(line, over); why != "" {
				c = why
			}
		}
	}
	m.settle(1)
	return c
}

// finish ends the member and closes the socket when all is written.
func (m *Member) finish(c Cause) {
	m.end(c)
	c = m.why()
	m.room.svc.log.Info("member gone", "room", m.room.name(), "member", m.nick.Shown, "remote", m.remote, "cause", string(c))
	switch c {
	case destroyed:
		m.sock.tcp.Close() // the hold may be lost: nobody can be waited for
		return
	case vanished, silent, foreign:
		m.sock.tcp.Close() // ends a writer that waits
		m.drain()
		return
	case left:
		m.sock.bePatient(m.room.svc.opts().DeadPeer)
		go func() {
			select {
			case <-m.room.quit: // it is not to hold up a deletion
				m.sock.hurry(drainTime)
			case <-m.drained:
			}
		}()
	default:
		m.sock.hurry(drainTime)
	}
	m.drain()
	m.sock.closeGently(m.heard)
}

// end takes the member out of the room and queues the end of its stream. The
// first cause wins.
func (m *Member) end(c Cause) {
	r := m.room
	r.mu.Lock()
	defer r.mu.Unlock()
	if !m.endLocked(c) {
		return
	}
	r.announce(wire.Event{Type: wire.TypeLeave, From: m.nick.Shown, Members: len(r.members)})
}

// endLocked is end without a word to the others. Room.mu is held.
func (m *Member) endLocked(c Cause) bool {
	if m.cause != "" {
		return false
	}
	m.cause = c
	m.room.remove(m)
	m.mu.Lock()
	m.ended = true
	last := insert{kind: closeStream, at: m.room.log.End()}
	if c == lagged || c == unserved {
		// What is pending will not be taken: the end comes at once.
		last.kind, last.at = sayLagged, roomlog.Cursor{}
		m.inserts = nil
	}
	m.inserts = append(m.inserts, last)
	m.mu.Unlock()
	m.room.free(m)
	m.signal()
	m.sock.wakeReader()
	m.room.svc.counters.end(c)
	m.room.svc.hub.publish(Happening{Type: "leave", Room: m.room.name(), Member: m.nick.Shown, Remote: m.remote.String(), Cause: string(c)})
	return true
}

// why is the cause of the end; empty: the member is there.
func (m *Member) why() Cause {
	m.room.mu.Lock()
	defer m.room.mu.Unlock()
	return m.cause
}

// letGo ends a member that is too far behind.
func (m *Member) letGo() { m.end(lagged) }

// signal wakes the reader where it waits for room.
func (m *Member) signal() {
	select {
	case m.settled <- struct{}{}:
	default:
	}
}

// settle waits until fewer than n of the member's lines are in flight and what
// waits for it is within bounds. It reports false if the member has ended.
func (m *Member) settle(n int) bool {
	for {
		m.mu.Lock()
		ok, ended := m.inFlight < n && len(m.inserts) < maxInserts, m.ended
		m.mu.Unlock()
		if ok || ended {
			return !ended
		}
		m.answerNow()
		<-m.settled
	}
}

// say submits a line. It comes back by appended or refused.
func (m *Member) say(kind store.Kind, text string) {
	if !m.settle(maxInFlight) {
		return
	}
	// What is refused here is answered in its place: behind the lines before it.
	if b := m.silenced(); b != nil {
		if m.settle(1) {
			m.mute(b)
		}
		return
	}
	if m.room.own.Load().ReadOnly {
		if m.settle(1) {
			m.unsaid("the room is read-only")
		}
		return
	}
	m.mu.Lock()
	ended := m.ended
	if !ended {
		m.inFlight++
	}
	m.mu.Unlock()
	if ended {
		return
	}
	p := &store.Post{Room: m.room.id, Line: store.Line{Kind: kind, From: m.nick.Shown, Text: text}, Owner: m}
	if err := m.room.svc.store.Submit(context.Background(), p); err != nil {
		p.Err = err
		m.refused(p)
		m.room.mu.Lock()
		m.room.free(m)
		m.room.mu.Unlock()
	}
}

// mute answers a line of a member that may not speak.
func (m *Member) mute(b *store.Ban) {
	why := "you are muted"
	if !b.Until.IsZero() {
		why += " until " + b.Until.UTC().Format("2006-01-02 15:04:05 UTC")
	}
	m.unsaid(why)
}

// unsaid answers a line that may not be said.
func (m *Member) unsaid(why string) {
	m.mu.Lock()
	m.failed = true
	command := cmp.Or(m.saying, "say")
	m.mu.Unlock()
	m.answer(wire.Event{Type: wire.TypeError, Command: command, Code: wire.CodeDenied, Text: "not sent: " + why})
}

// appended puts a line of this member into the log. Room.mu is held.
func (m *Member) appended(log *roomlog.Log, e roomlog.Event) {
	m.mu.Lock()
	defer m.mu.Unlock()
	before := log.Append(e)
	if m.hideOwn && !m.ended {
		// In one section with the append: the holder must not read the line
		// before it knows that it is to be left out.
		m.inserts = append(m.inserts, insert{kind: skip, at: before, seq: e.Seq})
	}
	m.inFlight--
	m.lines.Add(1)
	m.spoke.Store(time.Now().UnixMicro())
	m.signal()
}

// refused answers a line that the store did not take.
func (m *Member) refused(p *store.Post) {
	code := wire.CodeInternal
	if errors.Is(p.Err, store.ErrNoRoom) {
		code = wire.CodeNoRoom
	} else if errors.Is(p.Err, store.ErrClosed) {
		code = wire.CodeShuttingDown
	}
	m.mu.Lock()
	m.inFlight--
	m.failed = true
	command := cmp.Or(m.saying, "say")
	m.mu.Unlock()
	m.answer(wire.Event{Type: wire.TypeError, Command: command, Code: code, Text: "not sent: " + sentence(p.Err)})
	m.signal()
}

package netsvc

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"roomd/netsvc/roomlog"
	"roomd/netsvc/wire"
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
	// maxInFlight bounds a member's lines that are not committed yet. maxInserts
	// bounds what waits for it alone, in bytes, and allInserts that of all members
	// together; one answer may always wait. At a bound the member is read no further.
	maxInFlight = 256
	maxInserts  = 64 << 10
	allInserts  = 64 << 20
)

// Member is a connection in a room: a reader that speaks, and a cursor. There
// may be very many: what few of them need is behind a pointer, and small fields
// stand together.
type Member struct {
	// Set before it is registered, then read-only.
	id     uint64
	room   *Room
	link   link
	remote netip.AddrPort
	since  time.Time

	// reading is held by who reads the connection: the loop or the goroutine
	// that is at it, and in the end finish, for good.
	reading atomic.Int32
	// hold is held by who writes to it, and in the end by nobody, for good.
	hold atomic.Int32

	// Owned by who has reading.
	begun   bool // a first line has been seen
	raw     bool
	heard   bool   // the peer has closed its side
	unended uint16 // bytes read since the last line end, or since they were paid for
	framer  wire.Framer
	left    *leftover // input that has to wait
	allowed int64     // when the allowance is whole again, in nanoseconds of uptime

	parked atomic.Bool // reading is nobody's until the server goes on
	slowed atomic.Bool // who has reading waits for the allowance

	suspect bool // owned by the sweep: was silent the last time

	// Guarded by Room.mu.
	index     int32
	readsJSON bool      // written by the reader alone
	nick      wire.Name // written by the reader alone
	cause     Cause     // why it ended; empty: it has not

	lines atomic.Uint64 // said
	spoke atomic.Int64  // microseconds since 1970; 0: not yet
	muted atomic.Pointer[mutesOf]

	untold atomic.Bool // the room does not know that it has joined; set with Room.mu

	reset atomic.Bool   // a write has met a reset that came before the end of the input
	gone  atomic.Bool   // nothing can be written to it any more
	full  atomic.Bool   // the connection is; writable follows
	wrote atomic.Uint32 // bytes, modulo 1 << 32
	pos   atomic.Uint64 // a copy of cursor.Pos

	// Owned by who has the hold.
	cursor roomlog.Cursor
	format roomlog.Format
	behind bool    // the cursor has fallen out of the log: feed from the store by cursor.Seq
	over   bool    // nothing comes after rest
	replay *replay // lines from the store that come before anything else
	rest   []byte  // to be written before anything else

	mu       sync.Mutex
	hideOwn  bool // after /echo off
	dead     bool // its peer is: it ends once its input is handled
	ended    bool // no insert follows
	drained  bool // nothing more will be written
	inFlight int
	inserts  []insert
	waiter   chan struct{} // capacity 1, made for who waits: something has changed
}

func newMember(r *Room, k link, addr netip.AddrPort, nick wire.Name) *Member {
	return &Member{
		id: r.svc.members.Add(1), room: r, link: k, remote: addr, nick: nick, since: time.Now(),
		framer: wire.NewFramer(r.svc.opts().LineBytes),
	}
}

// greet queues what a newcomer sees first. Room.mu is held.
func (m *Member) greet(members int, topic string) {
	r := m.room
	hello := fmt.Appendf(nil, "* %s: %d here, you are %s (/help)\n", r.name(), members, m.nick.Shown)
	if topic != "" {
		hello = fmt.Appendf(hello, "* topic: %s\n", topic)
	}
	m.pos.Store(m.cursor.Pos)
	m.insertLocked(insert{kind: answer, at: m.cursor, bytes: hello})
	n := r.replay()
	if st, err := r.svc.store.Stat(r.id); err == nil && st.Lines == 0 {
		n = 0 // the disk need not be asked
	}
	if n > 0 {
		m.insertLocked(insert{kind: newest, at: m.cursor, n: n})
	}
}

// finish ends the member, waits until all that is pending is written, and closes
// the connection. It is called once, by who has reading, which is kept: nobody
// reads any more.
func (m *Member) finish(c Cause) {
	m.endStill(c)
	c = m.why()
	level := slog.LevelInfo
	if m.untold.Load() && (c == left || c == vanished) {
		level = slog.LevelDebug // it was there to see whether somebody listens
	}
	m.room.svc.log.Log(context.Background(), level, "member gone", "room", m.room.name(), "member", m.nick.Shown, "remote", m.remote, "cause", string(c))
	m.seeOff(c)
}

// endStill is end for the member's own goroutine. Where the member is to be
// handed over it waits while the server stands still.
func (m *Member) endStill(c Cause) {
	if m.movable() {
		defer m.room.svc.alter()()
	}
	m.end(c)
}

// movable reports whether another process may go on with the member.
func (m *Member) movable() bool { return m.link.movable() && !m.room.dropped.Load() }

// end takes the member out of the room and queues the end of its stream. The
// first cause wins.
func (m *Member) end(c Cause) {
	r := m.room
	r.mu.Lock()
	defer r.mu.Unlock()
	if m.endLocked(c) {
		r.tellLeft(m)
	}
}

// endLocked is end without a word to the others. Room.mu is held.
func (m *Member) endLocked(c Cause) bool {
	if m.cause != "" {
		return false
	}
	m.cause = c
	m.room.remove(m)
	m.room.leaving[m] = &departure{since: m.room.svc.uptime()}
	m.mu.Lock()
	m.ended = true
	last := insert{kind: closeStream, at: m.room.log.End()}
	if c == lagged || c == unserved {
		// What is pending will not be taken: the end comes at once.
		last.kind, last.at = sayLagged, roomlog.Cursor{}
		m.forgetLocked(len(m.inserts))
	}
	if !m.drained {
		m.insertLocked(last)
	}
	m.signalLocked()
	m.mu.Unlock()
	m.room.free(m)
	m.link.wakeReader()
	m.room.svc.counters.end(c)
	if !m.untold.Load() {
		m.room.svc.hub.publish(Happening{Type: "leave", Room: m.room.name(), Member: m.nick.Shown, Remote: m.remote.String(), Cause: string(c)})
	}
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

// giveUp breaks the connection to a dead peer. The member ends as soon as what it
// has sent is handled.
func (m *Member) giveUp() {
	m.mu.Lock()
	m.dead = true
	m.mu.Unlock()
	m.gone.Store(true)
	m.link.abort()
}

// givenUp reports whether the peer was found dead.
func (m *Member) givenUp() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.dead
}

// panicked reports a bug that is met while serving the member.
func (m *Member) panicked(p any, stack []byte) {
	m.room.svc.log.Error("member", "room", m.room.name(), "remote", m.remote, "error", p, "stack", string(stack))
}

func (m *Member) hasEnded() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.ended
}

func (m *Member) isDrained() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.drained
}

// waits returns what gets a word whenever something has changed that a goroutine
// of this member may wait for. There is one at most.
func (m *Member) waits() <-chan struct{} {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.waiter == nil {
		m.waiter = make(chan struct{}, 1)
	}
	return m.waiter
}

// pause waits for a word, or for so long.
func (m *Member) pause(d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-m.waits():
	case <-t.C:
	}
}

func (m *Member) signal() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.signalLocked()
}

func (m *Member) signalLocked() {
	if m.waiter == nil {
		return
	}
	select {
	case m.waiter <- struct{}{}:
	default:
	}
}

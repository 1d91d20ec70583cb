package netsvc

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"roomd/netsvc/roomlog"
	"roomd/netsvc/transport"
	"roomd/netsvc/wire"
)

// Cause is why a member's time in a room ended. The first one wins.
type Cause string

const (
	causeLeft     Cause = "left"          // it closed its side, or said /quit
	causeVanished Cause = "vanished"      // reset, or the connection broke
	causeDeadPeer Cause = "dead peer"     // acknowledged nothing for limits.dead_peer
	causeKicked   Cause = "kicked"        // by the operator
	causeLagged   Cause = "lagged"        // more than limits.max_lag lines behind
	causeForeign  Cause = "foreign"       // it speaks HTTP
	causeDeleted  Cause = "room deleted"  // DELETE
	causeStopping Cause = "stopping"      // the server stops
	causeHistory  Cause = "history error" // its lines could not be read from the disk
	causeInternal Cause = "internal error"
)

const (
	// maxInFlight bounds a member's lines that are not committed yet. maxInserts
	// bounds what waits for it alone, in bytes, and allInserts that of all members
	// together; one answer may always wait. At a bound the member is read no further.
	maxInFlight = 256
	maxInserts  = 64 << 10
	allInserts  = 64 << 20
)

// Member is a participant in one room: a nick, and a cursor in the room's log. It belongs to
// a session, and knows of the conn only the output that it shares with the other members of
// the session. There may be very many: what few of them need is behind a pointer, and small
// fields stand together.
type Member struct {
	// Set before it is registered, then read-only.
	id     uint64
	room   *Room
	out    *output
	joined int64 // nanoseconds since 1970

	stream
	entry

	unannounced atomic.Bool // the room does not know that it has joined; set with Room.mu

	lines    atomic.Uint64 // said
	lastLine atomic.Int64  // microseconds since 1970; 0: not yet
	muted    atomic.Pointer[memberMutes]

	mu       sync.Mutex // guards what follows
	hideOwn  bool       // after /echo off
	ended    bool       // no insert follows
	drained  bool       // nothing more will be written
	inFlight int32
	inserts  []insert
}

// stream is how far a member has got in the log, and what comes next for it. The holder of
// the conn's write lock owns it, but for what is atomic.
type stream struct {
	cursor    roomlog.Cursor
	replay    *replay        // lines from the store that come before anything else
	reached   atomic.Uint64  // a copy of cursor.Pos
	next      *Member        // in the ring of its output
	taken     uint32         // bytes that were written in its turn
	format    roomlog.Format // that of reads, once the stream has come to the place
	fromStore bool           // the cursor has fallen out of the log: feed from the store by cursor.Seq
	over      bool           // nothing follows the output's unsent bytes
}

// entry is a member in the lists of its room. Room.mu guards it.
type entry struct {
	nick  wire.Name      // written by the holder of the read lock alone
	cause Cause          // why it ended; empty: it has not
	index int32          // in Room.members
	reads roomlog.Format // written by the holder of the read lock alone
}

// memberSession is a session that owns members: the handler of the conn that they write to.
type memberSession interface {
	transport.Handler
	// transferable reports whether another process can go on with the session.
	transferable() bool
	// memberEnded is called when a member has ended, with its Room.mu held.
	memberEnded(m *Member)
	// memberDrained is called when everything for a member that has ended is written, by
	// the holder of the write lock. It reports whether nothing more is to be written at all.
	memberDrained(m *Member) (last bool)
}

// init is for a member that joins a room now, and writes to out.
func (m *Member) init(r *Room, out *output, nick wire.Name) {
	m.id, m.room, m.out, m.joined, m.nick = r.svc.memberIDs.Add(1), r, out, time.Now().UnixNano(), nick
}

// since is when the member joined.
func (m *Member) since() time.Time { return time.Unix(0, m.joined) }

// greet queues what a newcomer sees first. Room.mu is held.
func (m *Member) greet(members int, topic string) {
	r := m.room
	hello := fmt.Appendf(nil, "* %s: %d%s%s (/help)\n", r.name(), members, wire.YouAre, m.nick.Shown)
	if topic != "" {
		hello = fmt.Appendf(hello, "* topic: %s\n", topic)
	}
	m.reached.Store(m.cursor.Pos)
	m.insertLocked(insert{kind: answer, at: m.cursor, bytes: hello})
	n := r.replayLines()
	if st, err := r.svc.store.Stat(r.id); err == nil && st.Lines == 0 {
		n = 0 // the disk need not be asked
	}
	if n > 0 {
		m.insertLocked(insert{kind: newest, at: m.cursor, n: n})
	}
}

// endAfterThaw is end for the member's own goroutine. Where the member is to be
// another process's it waits while the server is suspended.
func (m *Member) endAfterThaw(c Cause) {
	if m.transferable() {
		defer m.room.svc.engine.BeginChange()()
	}
	m.end(c)
}

// transferable reports whether another process may go on with the member.
func (m *Member) transferable() bool { return m.out.session().transferable() && !m.room.dropped.Load() }

// suspended reports whether the member must not go on here: another process may do that.
func (m *Member) suspended() bool { return m.transferable() && m.room.svc.engine.Suspended() }

// end takes the member out of the room and queues the end of its stream. The
// first cause wins.
func (m *Member) end(c Cause) {
	r := m.room
	r.mu.Lock()
	defer r.mu.Unlock()
	if m.endLocked(c) {
		r.announceLeave(m)
	}
}

// endLocked is end without a word to the others. Room.mu is held.
func (m *Member) endLocked(c Cause) bool {
	if m.cause != "" {
		return false
	}
	m.cause = c
	m.room.removeMember(m)
	m.room.leaving[m] = &departure{since: m.room.svc.uptime()}
	m.mu.Lock()
	m.ended = true
	last := insert{kind: endOfStream, at: m.room.log.End()}
	if c == causeLagged || c == causeHistory {
		// What is pending will not be taken: the end comes at once.
		last.kind, last.at = endLagged, roomlog.Cursor{}
		m.dropInsertsLocked(len(m.inserts))
	}
	if !m.drained {
		m.insertLocked(last)
	}
	m.mu.Unlock()
	m.out.Signal()
	m.room.releaseNickOfEnded(m)
	m.out.session().memberEnded(m)
	m.room.svc.counters.memberEnds.add(c)
	if !m.unannounced.Load() {
		m.room.svc.Publish(Event{Type: "leave", Room: m.room.name(), Member: m.nick.Shown, Remote: m.out.remote.String(), Cause: string(c)})
	}
	return true
}

// endCause is the cause of the end; empty: the member is there.
func (m *Member) endCause() Cause {
	m.room.mu.Lock()
	defer m.room.mu.Unlock()
	return m.cause
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

// setDrained notes that nothing more is written for the member. The caller has the write
// lock, for good or until the member is removed from its output.
func (m *Member) setDrained() {
	m.over, m.replay = true, nil
	m.reached.Store(math.MaxUint64) // it does not lag
	m.mu.Lock()
	m.drained = true
	m.dropInsertsLocked(len(m.inserts))
	m.mu.Unlock()
	m.out.Signal()
}

// dropInserts gives up what nobody will write any more.
func (m *Member) dropInserts() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.dropInsertsLocked(len(m.inserts))
}

// close has the room forget a member that has ended and is drained, or never will be.
func (m *Member) close() {
	m.dropInserts()
	m.room.removeLeaving(m)
	m.room.unclosed.Done()
}

// roster is the members of a room at one moment, those that came first at the
// top. It does not change: all that ask before somebody comes, goes or takes
// another nick share it.
type roster struct {
	Members []rosterMember `json:"members"`
}

type rosterMember struct {
	Nick  string    `json:"nick"`
	Since time.Time `json:"since"`
}

// size is about what the roster takes in memory, in bytes. Nicks are the
// members' own.
func (o *roster) size() int { return 48 * len(o.Members) }

// rosterLocked is the roster of this moment. Room.mu is held.
func (r *Room) rosterLocked() *roster {
	if r.roster != nil {
		return r.roster
	}
	members := slices.Clone(r.members)
	slices.SortFunc(members, func(a, b *Member) int {
		return cmp.Or(cmp.Compare(a.joined, b.joined), strings.Compare(a.nick.Key, b.nick.Key))
	})
	o := &roster{make([]rosterMember, len(members))}
	for i, m := range members {
		o.Members[i] = rosterMember{m.nick.Shown, m.since()}
	}
	r.roster = o
	return o
}

// queueRoster lists the members: the list is rendered as the member reads it.
func (m *Member) queueRoster() {
	r := m.room
	r.mu.Lock()
	defer r.mu.Unlock()
	m.queue(insert{kind: who, roster: r.rosterLocked()})
}

// beginRoster answers /who and leaves the list of the members.
func (m *Member) beginRoster(o *roster) {
	n := len(o.Members)
	head := okFor("who", fmt.Sprintf("%d here", n))
	head.Count = &n
	m.render(head)
	m.replay = &replay{upto: uint64(n), roster: o}
}

// rosterPage renders the next members of the list.
func (m *Member) rosterPage() {
	p := m.replay
	for ; p.after < p.upto && len(m.out.unsent) < writeBytes; p.after++ {
		o := p.roster.Members[p.after]
		m.render(wire.Event{Type: wire.TypeMember, Nick: o.Nick, Since: o.Since})
	}
	if p.after >= p.upto {
		m.replay = nil
	}
}

// claimNick gives a member a nick that is free. mu is held.
func (r *Room) claimNick(m *Member, n wire.Name) {
	m.nick = n
	r.nicks[n.Key] = m
	r.confusables.Add(n)
}

// releaseNick makes a member's nick free. mu is held.
func (r *Room) releaseNick(m *Member) {
	delete(r.nicks, m.nick.Key)
	r.confusables.Remove(m.nick)
}

// confusableRoom returns the room whose name n would imitate, but for own. mu is held.
func (s *Service) confusableRoom(n wire.Name, own *Room) *Room {
	look := n.Skeleton()
	for _, r := range s.rooms {
		if i := r.nameAndPort.Load(); i.skeleton == look && r != own && n.IsConfusable(wire.Name{Shown: i.name, Key: i.key}) {
			return r
		}
	}
	return nil
}

// confusableError is the error for a name of a room that looks like another one's.
func (r *Room) confusableError(n wire.Name) error {
	return wire.Errorf(wire.CodeExists, "%s looks like the name of a room that is already there, %s, in another script", n.Shown, r.name())
}

// announceDelay is how long a newcomer may be silent until the room is told that it
// has joined. A probe that only looks whether somebody listens is gone by then,
// and a script has taken its nick.
const announceDelay = time.Second

// announceLater has the room told that a member has joined: once it speaks, or after
// announceDelay. mu is held.
func (r *Room) announceLater(m *Member) {
	m.unannounced.Store(true)
	if r.unannounced = append(r.unannounced, m); len(r.unannounced) == 1 {
		time.AfterFunc(announceDelay, r.announceDue)
	}
}

// announceDue tells the room of those whose time has come.
func (r *Room) announceDue() {
	defer r.svc.engine.BeginChange()()
	r.mu.Lock()
	defer r.mu.Unlock()
	for len(r.unannounced) > 0 {
		m := r.unannounced[0]
		if m.cause == "" && m.unannounced.Load() {
			wait := announceDelay - time.Since(m.since())
			if wait > 0 && wait <= announceDelay { // else the clock was set back
				time.AfterFunc(wait, r.announceDue)
				return
			}
			r.announceJoin(m)
		}
		r.unannounced[0] = nil
		r.unannounced = r.unannounced[1:]
	}
	r.unannounced = nil
}

// announceJoin tells the room that a member has joined, if it does not know. mu is held.
func (r *Room) announceJoin(m *Member) {
	if m.cause != "" || !m.unannounced.Swap(false) {
		return
	}
	r.announce(wire.Event{Type: wire.TypeJoin, From: m.nick.Shown, Members: len(r.members)})
	r.svc.Publish(Event{Type: "join", Room: r.name(), Member: m.nick.Shown, Remote: m.out.remote.String()})
}

// announceLeave tells the room that a member has left, if it knows that it was there.
// mu is held.
func (r *Room) announceLeave(m *Member) {
	if !m.unannounced.Load() {
		r.announce(wire.Event{Type: wire.TypeLeave, From: m.nick.Shown, Members: len(r.members)})
	}
}

// announceNow has the room know that the member has joined, before it sees something
// that it says. The caller has the read lock.
func (m *Member) announceNow() {
	if m.unannounced.Load() {
		m.room.mu.Lock()
		defer m.room.mu.Unlock()
		m.room.announceJoin(m)
	}
}

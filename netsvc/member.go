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
	"weak"

	"roomd/netsvc/history"
	"roomd/netsvc/roomlog"
	"roomd/netsvc/transport"
	"roomd/netsvc/wire"
	"roomd/store"
)

// Cause is the reason why a member ended. The first one wins.
type Cause string

const (
	CauseLeft     Cause = "left"          // the client closed its side, or sent /quit
	CauseVanished Cause = "vanished"      // the connection was reset
	CauseDeadPeer Cause = "dead peer"     // the peer acknowledged nothing for limits.dead_peer
	CauseKicked   Cause = "kicked"        // by the operator
	CauseLagged   Cause = "lagged"        // more than limits.max_lag lines behind
	CauseForeign  Cause = "foreign"       // the client speaks another protocol
	CauseDeleted  Cause = "room deleted"  // by DELETE, or by the operator
	CauseStopping Cause = "stopping"      // the server stops
	CauseHistory  Cause = "history error" // its lines cannot be read from the disk
	CauseInternal Cause = "internal error"
)

const (
	// maxInFlight bounds the lines of a member that are not committed yet. maxInserts bounds the
	// bytes of its inserts, and allInserts those of all members together; one insert may always
	// wait. At a bound the session reads no further.
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

	unannounced atomic.Bool // its join is not announced yet; set with Room.mu

	lines    atomic.Uint64 // that the member has said
	lastLine atomic.Int64  // microseconds since 1970; 0: not yet
	muted    atomic.Pointer[memberMutes]

	mu       sync.Mutex // guards what follows
	hideOwn  bool       // after /echo off
	ended    bool       // no insert follows
	drained  bool       // nothing more will be written
	inFlight int32
	inserts  []insert
}

// stream is how far a member has got in the log, and what comes next for it. The holder of the
// conn's write lock owns it; others may read the atomic fields.
type stream struct {
	cursor    roomlog.Cursor
	replay    *replay        // lines from the store that come before anything else
	reached   atomic.Uint64  // a copy of cursor.Pos
	next      *Member        // in the ring of the output
	taken     uint32         // bytes written in its turn so far
	format    roomlog.Format // of what is written now; it becomes entry.reads where the stream comes to the insert
	fromStore bool           // the log has dropped the lines at the cursor: they are read from the store, by cursor.Seq
	over      bool           // nothing more is added to the unsent bytes
}

// entry is a member in the lists of its room. Room.mu guards it.
type entry struct {
	nick  wire.Name      // written by the holder of the read lock alone
	cause Cause          // empty: the member has not ended
	index int32          // in Room.members
	reads roomlog.Format // written by the holder of the read lock alone
}

// memberSession is a session that owns members: the handler of the conn that they write to.
type memberSession interface {
	transport.Handler
	// transferable reports whether another process can take over the session.
	transferable() bool
	// memberEnded is called when a member has ended, with its Room.mu held. The session has the
	// rest of the member's stream written.
	memberEnded(m *Member)
	// farewell returns what is written at the end of a member's stream. Room.mu and Member.mu are held.
	farewell(m *Member, c Cause) []byte
	// memberDrained is called when the stream of a member is written to its end, by the holder of
	// the write lock. It reports whether the session writes nothing more.
	memberDrained(m *Member) (last bool)
}

// init sets the fields of a member that joins a room and writes to out.
func (m *Member) init(r *Room, out *output, nick wire.Name) {
	m.id, m.room, m.out, m.joined, m.nick = r.svc.memberIDs.Add(1), r, out, time.Now().UnixNano(), nick
}

// since returns the time at which the member joined.
func (m *Member) since() time.Time { return time.Unix(0, m.joined) }

// greet queues the first lines that a new member gets. Room.mu is held.
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
		n = 0 // saves a read
	}
	if n > 0 {
		m.insertLocked(insert{kind: newest, at: m.cursor, n: n})
	}
}

// endInChange is end for a goroutine of the session: while the server is suspended it waits,
// because another process may own the member.
func (m *Member) endInChange(c Cause) {
	if m.transferable() {
		defer m.room.svc.engine.BeginChange()()
	}
	m.end(c)
}

// transferable reports whether another process can take over the member.
func (m *Member) transferable() bool { return m.out.session().transferable() && !m.room.dropped.Load() }

// suspended reports whether nothing must be done for the member now, because another process may
// take it over.
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

// endLocked is end without the announcement to the room. Room.mu is held.
func (m *Member) endLocked(c Cause) bool { return m.endLabeled(c, nil) }

// endLabeled is endLocked at a request that may have a label; nil: it has none. Room.mu is held.
func (m *Member) endLabeled(c Cause, label Label) bool {
	if m.cause != "" {
		return false
	}
	m.cause = c
	m.room.removeMember(m)
	m.room.leaving[m] = &departure{since: m.room.svc.uptime()}
	m.mu.Lock()
	m.ended = true
	last := insert{kind: endOfStream, at: m.room.log.End(), bytes: m.out.session().farewell(m, c)}
	if c == CauseLagged || c == CauseHistory {
		// The client does not read the pending lines: the end comes at once.
		last.kind, last.at = endLagged, roomlog.Cursor{}
		m.dropAllInsertsLocked()
	}
	if label != nil {
		last.bytes = label(last.bytes)
	}
	if !m.drained {
		m.insertLocked(last)
	}
	m.mu.Unlock()
	m.out.Signal()
	m.room.releaseNickOfEnded(m)
	m.out.session().memberEnded(m)
	m.room.deleteIfUnused()
	m.room.svc.counters.memberEnds.add(c)
	if !m.unannounced.Load() {
		m.room.svc.Publish(Event{Type: "leave", Room: m.room.name(), Member: m.nick.Shown, Remote: m.out.remote.String(), Door: m.door(), Cause: string(c)})
	}
	return true
}

// endCause returns the cause of the end; empty: the member has not ended.
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

// setDrained notes that nothing more is written for the member. The caller has the write lock and
// keeps it, or removes the member from its output.
func (m *Member) setDrained() {
	m.over, m.replay = true, nil
	m.reached.Store(math.MaxUint64) // it does not lag
	m.mu.Lock()
	m.drained = true
	m.dropAllInsertsLocked()
	m.mu.Unlock()
	m.out.Signal()
}

// dropInserts drops the inserts of a member that is not written to any more.
func (m *Member) dropInserts() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.dropAllInsertsLocked()
}

// close makes the room forget a member that has ended. It is drained, or its conn is closed.
func (m *Member) close() {
	m.dropInserts()
	m.room.removeLeaving(m)
	m.room.unclosed.Done()
}

// roster is the list of a room's members at one moment, the oldest first. It does not change, so
// all requests share it until a member joins, leaves or takes another nick.
type roster struct {
	Members []RosterMember `json:"members"`
}

// RosterMember is a member in a list.
type RosterMember struct {
	Nick  string    `json:"nick"`
	Since time.Time `json:"since"`
	Door  string    `json:"door,omitempty"` // by which it is here; empty: the room's port
}

// size is about how many bytes of memory the roster takes. The nicks belong to the members.
func (o *roster) size() int { return 64 * len(o.Members) }

// currentMembers returns a copy of the list of members.
func (r *Room) currentMembers() []*Member {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]*Member(nil), r.members...)
}

// rosterLocked returns the roster of this moment. Room.mu is held.
func (r *Room) rosterLocked() *roster {
	if o := r.roster.Value(); o != nil {
		return o
	}
	members := slices.Clone(r.members)
	slices.SortFunc(members, func(a, b *Member) int {
		return cmp.Or(cmp.Compare(a.joined, b.joined), strings.Compare(a.nick.Key, b.nick.Key))
	})
	o := &roster{make([]RosterMember, len(members))}
	for i, m := range members {
		o.Members[i] = m.inRoster()
	}
	r.roster = weak.Make(o)
	return o
}

// inRoster is the member in a roster. Room.mu is held.
func (m *Member) inRoster() RosterMember { return RosterMember{m.nick.Shown, m.since(), m.door()} }

// extendRoster makes the roster of this moment of the one before a new member, if there was one: many who
// enter a room one after the other get a list of it each, and the lists share their memory. Room.mu is
// held.
func (r *Room) extendRoster(before *roster, m *Member) {
	if before == nil {
		return
	}
	if n := len(before.Members); n == 0 || before.Members[n-1].Since.Before(m.since()) { // else it is not the last one of the new roster
		r.roster = weak.Make(&roster{append(before.Members, m.inRoster())})
	}
}

// announcedRoster is rosterLocked without the members whose join comes later: to a reader that keeps
// a list of the members, a join is of somebody who is not in it. Room.mu is held.
func (r *Room) announcedRoster() *roster {
	o := r.rosterLocked()
	var hidden map[string]bool
	for _, m := range r.unannounced {
		if m.cause == "" && m.unannounced.Load() {
			if hidden == nil {
				hidden = make(map[string]bool)
			}
			hidden[m.nick.Shown] = true
		}
	}
	if len(hidden) == 0 {
		return o
	}
	return &roster{slices.DeleteFunc(slices.Clone(o.Members), func(m RosterMember) bool { return hidden[m.Nick] })}
}

// queueRoster queues the answer to /who. The list is rendered when the member reads it.
func (m *Member) queueRoster(style int) {
	r := m.room
	r.mu.Lock()
	defer r.mu.Unlock()
	m.queue(insert{kind: who, n: style, roster: r.rosterLocked()})
}

// beginRoster renders the first line of the answer to /who. The list follows as a replay. Another style than 0 is a format's own.
func (m *Member) beginRoster(o *roster, style int) {
	n := len(o.Members)
	m.replay = &replay{upto: uint64(n), roster: o, style: style}
	if style != 0 {
		return
	}
	head := okFor("who", fmt.Sprintf("%d here", n))
	head.Count = &n
	m.render(head)
}

// rosterPage renders the next members of the list.
func (m *Member) rosterPage() {
	p, next, at := m.replay, 0, m.lockedPlace()
	at.Name = m.placeInStream().Name
	m.out.unsent, next = m.room.svc.formats[m.format].Members(m.out.unsent, at, p.roster.Members, p.style, int(p.after))
	p.after = uint64(next)
	if p.after >= p.upto {
		m.replay = nil
	}
}

// claimNick gives a member a free nick. mu is held.
func (r *Room) claimNick(m *Member, n wire.Name) {
	m.nick = n
	r.nicks[n.Key] = m
	r.confusables.Add(n)
}

// releaseNick makes the nick of a member free. mu is held.
func (r *Room) releaseNick(m *Member) {
	delete(r.nicks, m.nick.Key)
	r.confusables.Remove(m.nick)
}

// confusableRoom returns a room other than own whose name can be confused with n; nil: there is
// none. mu is held.
func (s *Service) confusableRoom(n wire.Name, own *Room) *Room {
	look := n.Skeleton()
	for _, r := range s.rooms {
		if i := r.nameAndPort.Load(); i.skeleton == look && r != own && n.IsConfusable(wire.Name{Shown: i.name, Key: i.key}) {
			return r
		}
	}
	return nil
}

// confusableError is the error for a name that can be confused with the room's.
func (r *Room) confusableError(n wire.Name) error {
	return wire.Errorf(wire.CodeExists, "%s looks like the name of a room that is already there, %s, in another script", n.Shown, r.name())
}

// announceDelay is the time after which the room is told of a new member that says nothing. By
// then a probe of the port has gone, and a script has taken its nick.
const announceDelay = time.Second

// announceLater has the room told of a new member when it speaks, or after announceDelay. mu is
// held.
func (r *Room) announceLater(m *Member) {
	m.unannounced.Store(true)
	if r.unannounced = append(r.unannounced, m); len(r.unannounced) == 1 {
		time.AfterFunc(announceDelay, r.announceDue)
	}
}

// announceDue announces the members whose announceDelay is over.
func (r *Room) announceDue() {
	defer r.svc.engine.BeginChange()()
	r.mu.Lock()
	defer r.mu.Unlock()
	for len(r.unannounced) > 0 {
		m := r.unannounced[0]
		if m.cause == "" && m.unannounced.Load() {
			wait := announceDelay - time.Since(m.since())
			if wait > 0 && wait <= announceDelay { // it is more if the clock was set back
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

// announceJoin announces a new member, unless that is done. mu is held.
func (r *Room) announceJoin(m *Member) {
	if m.cause != "" || !m.unannounced.Swap(false) {
		return
	}
	r.announce(wire.Event{Type: wire.TypeJoin, From: m.nick.Shown, Members: len(r.members)})
	r.svc.Publish(Event{Type: "join", Room: r.name(), Member: m.nick.Shown, Remote: m.out.remote.String(), Door: m.door()})
}

// announceLeave announces that a member has left this room, if its join was announced: somebody else
// may have its nick in another room of those who are told. mu is held.
func (r *Room) announceLeave(m *Member) {
	if !m.unannounced.Load() {
		r.announceLeaveOf(m, string(m.cause), true)
	}
}

// announceLeaveOf is announceLeave with a reason. parted says that the member may be in other rooms
// still. mu is held.
func (r *Room) announceLeaveOf(m *Member, reason string, parted bool) {
	r.announce(wire.Event{
		Type: wire.TypeLeave, From: m.nick.Shown, Members: len(r.members), Reason: reason, Parted: parted, Kicked: m.cause == CauseKicked,
	})
}

// announceNow announces the member before the room sees its first line. The caller has the read
// lock.
func (m *Member) announceNow() {
	if m.unannounced.Load() {
		m.room.mu.Lock()
		defer m.room.mu.Unlock()
		m.room.announceJoin(m)
	}
}

func (m *Member) acceptsInsert() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.acceptsInsertLocked()
}

// Room returns the name and the ID of the member's room. Any goroutine may call it.
func (m *Member) Room() Place { return m.room.place() }

// Nick returns the member's nick. It is for the holder of the read lock.
func (m *Member) Nick() wire.Name { return m.nick }

// RoomKey returns the folded name of the member's room. Any goroutine may call it.
func (m *Member) RoomKey() string { return m.room.key() }

// Newest returns the sequence number of the newest line in the room. Any goroutine may call it.
func (m *Member) Newest() uint64 { return m.room.log.End().Seq }

// Kind is the kind of a line of a room.
type Kind = store.Kind

const (
	Message = store.Message
	Notice  = store.Notice // no program answers it
	Action  = store.Action
	Topic   = store.Topic // the text is the new topic; "": none any more
)

// Label makes the answer to a request recognizable. It gets the answer as the member's format renders
// it, or nothing if there is none, and returns what the member gets instead. It is called with locks
// held, must not call the Service, and must not keep or change the bytes.
type Label func(answer []byte) []byte

// labeledLine is the owner of a line with a label, or an ID, in the store.
type labeledLine struct {
	member *Member
	label  Label // nil: none
	id     string
}

// Say submits a line: see Protocol.Line for wait. A line with an ID that was stored before is answered
// with that line, and not stored; "": no ID. The answer, which is the line in the member's stream,
// nothing after HideOwn, or a refusal, goes through label, unless that is nil.
func (m *Member) Say(kind Kind, text, id string, label Label, wait bool) bool {
	if ok, ended := m.withinBounds(maxInFlight); !ok && !ended && (!wait || !m.awaitBounds(maxInFlight) && !m.hasEnded()) {
		return false
	}
	return m.submit(kind, text, id, label, wait)
}

// Topic returns the topic of the member's room. Any goroutine may call it.
func (m *Member) Topic() string { return locked(&m.room.mu, &m.room.topic) }

// SetFormat has the member read another format of the log from this place on.
func (m *Member) SetFormat(f roomlog.Format) { m.readFormat(f) }

// HideOwn says whether the member's own lines are left out of what it gets.
func (m *Member) HideOwn(hide bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.hideOwn = hide
}

// Whisper sends a Message or a Notice to one member of the room, and not to the sender. The error is
// a *wire.Error: a mute, nobody with that nick, or somebody who does not read.
func (m *Member) Whisper(to, text string, kind Kind) error {
	return m.whisperTo(to, text, kind == Notice, false)
}

// MuteText is the sentence for a member that is muted; empty: it is not. It is for the holder of the
// read lock.
func (m *Member) MuteText() string {
	if b := m.activeMute(); b != nil {
		return muteText(b)
	}
	return ""
}

// IsProtected reports whether the member's room has a password. Any goroutine may call it.
func (m *Member) IsProtected() bool { return m.room.password.Load() != nil }

// Roster returns the members of the room, the oldest first. It is shared, and must not be changed.
// Any goroutine may call it.
func (m *Member) Roster() []RosterMember {
	m.room.mu.Lock()
	defer m.room.mu.Unlock()
	return m.room.announcedRoster().Members
}

// Other is a member of a room as those who are in the room see it.
type Other struct {
	Nick  wire.Name
	Since time.Time
	Spoke time.Time // when it sent its last line; the zero time: not yet
}

// Other returns the member of the room that has a folded nick. Any goroutine may call it.
func (m *Member) Other(key string) (o Other, ok bool) {
	m.room.mu.Lock()
	defer m.room.mu.Unlock()
	other := m.room.nicks[key]
	if other == nil || other.cause != "" {
		return o, false
	}
	o = Other{Nick: other.nick, Since: other.since()}
	if t := other.lastLine.Load(); t != 0 {
		o.Spoke = time.UnixMicro(t)
	}
	return o, true
}

// Replay is a part of the history that a member gets: the newest lines up to now, or a range of it.
type Replay struct {
	Newest         int    // if it is greater than 0 After and Upto do not count
	After, Upto    uint64 // sequence numbers
	Header, Footer string // before and after the lines
	Label          string // for Format.Replay
}

// History returns the history of the member's room. It is read from the disk, and the client is
// charged for the lines: only Line with wait may read it. A method of it returns ErrWait if the server
// is to be suspended or the session has ended.
func (m *Member) History() *history.History {
	return &history.History{Store: m.room.svc.store, Room: m.room.id, Turn: m.inTurn, Charge: m.charge}
}

// charge charges the session for lines that were read.
func (m *Member) charge(lines int) error {
	if !m.out.session().(*RoomsSession).AwaitTurn(float64(lines)/pageLines, true) {
		return ErrWait
	}
	return nil
}

// inTurn is Service.fromDisk for the holder of the read lock, who waits as long as the server is not
// to be suspended, and not to stop.
func (m *Member) inTurn(read func()) error {
	s := m.room.svc
	select {
	case s.diskReaders <- struct{}{}:
	case <-s.engine.Suspending():
		return ErrWait
	case <-s.stop.Done():
		return errStopped
	}
	defer func() { <-s.diskReaders }()
	s.counters.pages.Add(1)
	read()
	return nil
}

// Part is a part of what a member alone gets at one place: bytes, a list of the room's members in a
// style of its Format (which is not 0), or old lines.
type Part struct {
	Bytes   []byte
	Members int
	Replay  *Replay
}

// Queue queues parts for the member alone, behind everything that is in the room's log now.
func (m *Member) Queue(parts ...Part) {
	m.room.mu.Lock()
	defer m.room.mu.Unlock()
	m.queueParts(parts)
}

// queueParts is Queue. Room.mu is held.
func (m *Member) queueParts(parts []Part) {
	for _, p := range parts {
		if len(p.Bytes) > 0 {
			m.queue(insert{kind: answer, bytes: p.Bytes})
		}
		if p.Members != 0 {
			m.queue(insert{kind: who, n: p.Members, roster: m.room.announcedRoster()})
		}
		if r := p.Replay; r != nil {
			ins := insert{kind: stored, replay: &replay{after: r.After, upto: r.Upto, header: r.Header, footer: r.Footer, label: r.Label}}
			if r.Newest > 0 {
				ins.kind, ins.n = newest, r.Newest
			}
			m.queue(ins)
		}
	}
}

package netsvc

import (
	"net/netip"
	"time"

	"roomd/netsvc/passwd"
	"roomd/netsvc/roomlog"
	"roomd/netsvc/wire"
)

// What is handed over, as JSON. A field that is added must be one that an older
// state may lack; anything else is a new version of the states, which cmd/roomd
// counts.

type serviceState struct {
	Uptime   time.Duration `json:"uptime"`
	Members  uint64        `json:"members"`  // IDs given
	Sessions uint64        `json:"sessions"` // numbers given
	Counters Counters      `json:"counters"`
	Listen   []netip.Addr  `json:"listen,omitempty"`
	Port     int           `json:"port,omitempty"` // the master port

	Guesses  passwd.Notes `json:"guesses,omitempty"`
	Networks passwd.Notes `json:"networks,omitempty"` // of guessers, and what they have paid

	// What addresses have done of what they may, as limit.Buckets.Debts gives it.
	Connects map[netip.Prefix]time.Duration `json:"connects,omitempty"`
	Requests map[netip.Prefix]time.Duration `json:"requests,omitempty"`
	Work     map[netip.Prefix]time.Duration `json:"work,omitempty"`
}

type roomState struct {
	ID      uint64           `json:"id"`
	Creator uint64           `json:"creator,omitempty"` // session
	Guests  int              `json:"guests,omitempty"`
	Spoke   time.Time        `json:"spoke,omitzero"`
	Rate    float64          `json:"rate,omitempty"`  // lines a minute
	Addrs   []netip.AddrPort `json:"addrs,omitempty"` // of the listeners, in the order of the descriptors
	Binding string           `json:"binding,omitempty"`
	Log     roomlog.Snapshot `json:"log"`
	Lost    []string         `json:"lost,omitempty"` // nicks that cannot be handed over
	Rosters []*roster        `json:"rosters,omitempty"`

	Inside  passwd.Notes `json:"inside,omitempty"` // of a room with a password: who was
	Guessed time.Time    `json:"guessed,omitzero"`
	Tag     []byte       `json:"tag,omitempty"` // of the password, so that it need not be hashed again

	Coming time.Duration `json:"coming,omitempty"` // until the burst of comings is whole again
}

type memberState struct {
	Room   uint64         `json:"room"`
	ID     uint64         `json:"id"`
	Remote netip.AddrPort `json:"remote"`
	Since  time.Time      `json:"since"`
	Nick   string         `json:"nick"`
	Key    string         `json:"key"` // the folded nick
	Lines  uint64         `json:"lines,omitempty"`
	Spoke  int64          `json:"spoke,omitempty"`
	Cause  Cause          `json:"cause,omitempty"` // it has ended, and gets what is pending
	Went   time.Duration  `json:"went,omitempty"`  // the uptime when it ended

	Untold  bool             `json:"untold,omitempty"`
	Begun   bool             `json:"begun,omitempty"`
	Raw     bool             `json:"raw,omitempty"`
	Heard   bool             `json:"heard,omitempty"`
	Reset   bool             `json:"reset,omitempty"`
	JSON    bool             `json:"json,omitempty"`
	HideOwn bool             `json:"hide_own,omitempty"`
	Framer  wire.FramerState `json:"framer,omitzero"`
	Left    *leftoverState   `json:"left,omitempty"`
	Allowed time.Duration    `json:"allowed,omitempty"`
	Unended uint16           `json:"unended,omitempty"`

	Cursor  roomlog.Cursor `json:"cursor"`
	Format  roomlog.Format `json:"format,omitempty"`
	Behind  bool           `json:"behind,omitempty"`
	Over    bool           `json:"over,omitempty"`
	Replay  *replayState   `json:"replay,omitempty"`
	Rest    []byte         `json:"rest,omitempty"`
	Inserts []insertState  `json:"inserts,omitempty"`
}

type leftoverState struct {
	Line []byte `json:"line"`
	Over int    `json:"over,omitempty"`
	Rest []byte `json:"rest,omitempty"`
}

type replayState struct {
	After  uint64 `json:"after"`
	Upto   uint64 `json:"upto"`
	Footer string `json:"footer,omitempty"`
	Roster int    `json:"roster,omitempty"` // which of the room's, from 1 on; 0: none
}

type insertState struct {
	Kind  insertKind     `json:"kind"`
	N     int            `json:"n,omitempty"`
	At    roomlog.Cursor `json:"at"`
	Seq   uint64         `json:"seq,omitempty"`
	Bytes []byte         `json:"bytes,omitempty"`

	Roster int `json:"roster,omitempty"`
}

type sessionState struct {
	ID      uint64           `json:"id"`
	Remote  netip.AddrPort   `json:"remote"`
	Since   time.Time        `json:"since,omitzero"`
	Lines   int              `json:"lines,omitempty"`
	Begun   bool             `json:"begun,omitempty"`
	Reset   bool             `json:"reset,omitempty"`
	Framer  wire.FramerState `json:"framer,omitzero"`
	Held    []byte           `json:"held,omitempty"`
	Unended int              `json:"unended,omitempty"`
	Rest    time.Duration    `json:"rest,omitempty"` // until its burst of requests is whole again
	Idle    time.Duration    `json:"idle,omitempty"` // until it has been idle for too long; 0: it is not known
}

// callerState is a connection that is to give a room's password.
type callerState struct {
	Room    uint64           `json:"room"`
	Remote  netip.AddrPort   `json:"remote"`
	Since   time.Time        `json:"since,omitzero"`
	Asked   bool             `json:"asked,omitempty"`
	Passed  bool             `json:"passed,omitempty"`
	Reset   bool             `json:"reset,omitempty"`
	Lines   int              `json:"lines,omitempty"`
	Framer  wire.FramerState `json:"framer,omitzero"`
	Held    []byte           `json:"held,omitempty"`
	Between int              `json:"between,omitempty"`
}

const (
	// batch is how many connections go in one frame; Linux takes 253 descriptors
	// with one message. batchBytes is about how large it may become.
	batch      = 250
	batchBytes = 1 << 20
)

// What bounds the states beside what each connection may have: it is made and read
// while everything stands still.
const (
	// mostListed bounds the lists of members that others are to be shown, in
	// members over all of them. Beyond it they are shown the list of this moment.
	mostListed = 1 << 16
	// handedLog bounds what goes along of a room's log, in bytes, and handedLogs
	// that of all rooms. Members that need more are fed from the disk.
	handedLog  = 256 << 10
	handedLogs = 32 << 20
)

// handed is what has been handed over so far of what is bounded in all.
type handed struct {
	rosters map[*roster]int // the number of each in its room, from 1 on
	listed  int             // members in all of them
	logs    int             // bytes
}

// Send hands a frame to the other process: what it is, a value as JSON, and
// descriptors.
type Send func(kind string, v any, fds ...int) error

// Receive is the other end of Send. An empty kind is the end.
type Receive func() (kind string, body []byte, fds []int, err error)

// HandOver sends all there is after Freeze. It returns how many members it has
// sent. The store may be closed.
func (s *Service) HandOver(send Send) (members int, err error) {
	now := time.Now()
	guesses, networks := s.guesses.State(now)
	if err := send("service", serviceState{
		s.uptime(), s.members.Load(), s.sessions.Load(), s.Counters(), s.opts().Listen, s.opts().Port, guesses, networks,
		s.connects.Debts(now), s.requests.Debts(now), s.work.Debts(now),
	}); err != nil {
		return 0, err
	}
	addrs, fds := s.master.Load().HandOver()
	if err := send("master", addrs, fds...); err != nil {
		return 0, err
	}
	all := &handed{rosters: make(map[*roster]int)}
	held := make(map[*Room][]*Member)
	for _, m := range s.upgrade.members {
		held[m.room] = append(held[m.room], m)
	}
	for _, r := range s.upgrade.rooms {
		st, fds := r.handOver(held[r], all)
		if err := send("room", st, fds...); err != nil {
			return 0, err
		}
	}
	out := &batcher[memberState]{kind: "members", send: send}
	for _, r := range s.upgrade.rooms {
		for _, m := range held[r] {
			st, size := m.handOver(all.rosters)
			if err := out.add(st, m.conn.FD(), size); err != nil {
				return 0, err
			}
			if st.Cause == "" {
				members++
			}
		}
	}
	if err := out.flush(); err != nil {
		return 0, err
	}
	return members, s.handOverVisitors(send)
}

// batcher gathers states and their descriptors into frames.
type batcher[T any] struct {
	kind  string
	send  Send
	all   []T
	fds   []int
	bytes int
}

func (b *batcher[T]) add(v T, fd, size int) error {
	b.all, b.fds = append(b.all, v), append(b.fds, fd)
	if b.bytes += size; len(b.all) < batch && b.bytes < batchBytes {
		return nil
	}
	return b.flush()
}

func (b *batcher[T]) flush() error {
	if len(b.all) == 0 {
		return nil
	}
	err := b.send(b.kind, b.all, b.fds...)
	b.all, b.fds, b.bytes = b.all[:0], b.fds[:0], 0
	return err
}

// handOver is the room without its members. The rosters that they are to be shown
// go with it once, and are numbered.
func (r *Room) handOver(members []*Member, all *handed) (roomState, []int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	st := roomState{
		ID: r.id, Creator: r.creator, Guests: r.guests, Spoke: r.spoke, Rate: r.rate.now(time.Now()), Binding: r.binding,
	}
	st.Coming = max(0, time.Until(r.coming))
	p := r.password.Load()
	st.Inside, st.Guessed = r.svc.guesses.RoomState(p)
	st.Tag = p.Tag()
	var fds []int
	st.Addrs, fds = r.ln.HandOver()
	from := r.log.End().Pos
	note := func(o *roster) {
		if o == nil || all.rosters[o] != 0 {
			return
		}
		goes := o
		if all.listed+len(o.Members) > mostListed {
			goes = r.rosterLocked()
		}
		if all.rosters[goes] == 0 {
			st.Rosters = append(st.Rosters, goes)
			all.rosters[goes] = len(st.Rosters)
			all.listed += len(goes.Members)
		}
		all.rosters[o] = all.rosters[goes]
	}
	for _, m := range members {
		if !m.over {
			from = min(from, m.cursor.Pos)
		}
		if m.replay != nil {
			note(m.replay.roster)
		}
		m.mu.Lock()
		for i := range m.inserts {
			note(m.inserts[i].roster)
		}
		m.mu.Unlock()
	}
	st.Log = r.log.Snapshot(from, min(handedLog, handedLogs-all.logs))
	all.logs += st.Log.Size()
	for _, m := range r.members {
		if !m.conn.Movable() && !m.untold.Load() {
			st.Lost = append(st.Lost, m.nick.Shown)
		}
	}
	return st, fds
}

// handOver is the member, and about how many bytes of it are not of a fixed
// size. Nobody reads or writes it.
func (m *Member) handOver(rosters map[*roster]int) (st memberState, size int) {
	m.room.mu.Lock()
	defer m.room.mu.Unlock()
	m.mu.Lock()
	defer m.mu.Unlock()
	st = memberState{
		Room: m.room.id, ID: m.id, Remote: m.remote, Since: m.since, Nick: m.nick.Shown, Key: m.nick.Key,
		Lines: m.lines.Load(), Spoke: m.spoke.Load(), Cause: m.cause,
		Untold: m.untold.Load(), Begun: m.begun, Raw: m.raw, Heard: m.heard, Reset: m.reset.Load(), JSON: m.reads == roomlog.JSON, HideOwn: m.hideOwn, Framer: m.framer.State(), Allowed: time.Duration(m.allowed), Unended: m.unended,
		Cursor: m.cursor, Format: m.format, Behind: m.behind, Over: m.over, Rest: m.rest,
	}
	if d := m.room.leaving[m]; d != nil {
		st.Went = d.since
	}
	size = len(m.rest) + len(st.Framer.Part)
	if l := m.left; l != nil {
		st.Left = &leftoverState{l.line, l.over, l.rest}
		size += len(l.line) + len(l.rest)
	}
	if p := m.replay; p != nil {
		st.Replay = &replayState{p.after, p.upto, p.footer, rosters[p.roster]}
	}
	for _, i := range m.inserts {
		st.Inserts = append(st.Inserts, insertState{i.kind, i.n, i.at, i.seq, i.bytes, rosters[i.roster]})
		size += len(i.bytes)
	}
	return st, size
}

// handOverVisitors sends the connections that are no members'.
func (s *Service) handOverVisitors(send Send) error {
	s.upgrade.masters, s.upgrade.callers = nil, nil
	out := &batcher[sessionState]{kind: "sessions", send: send}
	waiting := &batcher[callerState]{kind: "callers", send: send}
	for _, v := range s.visitors() {
		switch c := v.(type) {
		case *masterSession:
			if !c.movable() {
				continue
			}
			s.upgrade.masters = append(s.upgrade.masters, c)
			st := c.handOver()
			if err := out.add(st, c.conn.FD(), len(st.Held)+len(st.Framer.Part)); err != nil {
				return err
			}
		case *caller:
			if !c.movable() {
				continue
			}
			s.upgrade.callers = append(s.upgrade.callers, c)
			st := c.handOver()
			if err := waiting.add(st, c.conn.FD(), len(st.Held)+len(st.Framer.Part)); err != nil {
				return err
			}
		}
	}
	if err := out.flush(); err != nil {
		return err
	}
	return waiting.flush()
}

// handOver is the session, which nobody reads or writes.
func (c *masterSession) handOver() sessionState {
	c.mu.Lock()
	defer c.mu.Unlock()
	st := sessionState{
		ID: c.id, Remote: c.remote, Since: c.since, Lines: c.lines, Begun: c.begun, Reset: c.reset, Framer: c.framer.State(),
		Held: c.heldBytes(), Unended: c.unended, Rest: max(0, time.Until(c.rest)),
	}
	if !c.due.IsZero() {
		st.Idle = max(1, time.Until(c.due))
	}
	return st
}

// handOver is the caller, which nobody reads or writes.
func (c *caller) handOver() callerState {
	c.mu.Lock()
	defer c.mu.Unlock()
	return callerState{
		Room: c.room.id, Remote: c.remote, Since: c.since, Asked: true, Passed: c.passed, Reset: c.reset, Lines: c.lines,
		Framer: c.framer.State(), Held: c.heldBytes(), Between: c.between,
	}
}

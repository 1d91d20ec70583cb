package netsvc

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"roomd/netsvc/history"
	"roomd/netsvc/passwd"
	"roomd/netsvc/readers"
	"roomd/netsvc/roomlog"
	"roomd/netsvc/transport"
	"roomd/netsvc/wire"
)

// The states that are handed over, as JSON. A new field must be one that an older state can
// lack; anything else needs a new version of the states, which cmd/roomd counts.

type serviceState struct {
	Uptime   time.Duration `json:"uptime"`
	Members  uint64        `json:"members"`  // IDs given
	Sessions uint64        `json:"sessions"` // numbers given
	Counters Counters      `json:"counters"`
	Listen   []netip.Addr  `json:"listen,omitempty"`
	Port     int           `json:"port,omitempty"` // the master port

	Guesses  passwd.Records `json:"guesses,omitempty"`
	Networks passwd.Records `json:"networks,omitempty"` // of guessers, and what they have paid

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

	Inside  passwd.Records `json:"inside,omitempty"` // of a room with a password: who was
	Guessed time.Time      `json:"guessed,omitzero"`
	Tag     []byte         `json:"tag,omitempty"` // of the password, so that it need not be hashed again

	Coming time.Duration `json:"coming,omitempty"` // until the whole burst of join notices is available again
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
	Cause  Cause          `json:"cause,omitempty"` // it has ended, and is not drained
	Went   time.Duration  `json:"went,omitempty"`  // the uptime when it ended

	Untold  bool               `json:"untold,omitempty"`
	Begun   bool               `json:"begun,omitempty"`
	Raw     bool               `json:"raw,omitempty"`
	Heard   bool               `json:"heard,omitempty"`
	Reset   bool               `json:"reset,omitempty"`
	JSON    bool               `json:"json,omitempty"`
	HideOwn bool               `json:"hide_own,omitempty"`
	Framer  wire.FramerState   `json:"framer,omitzero"`
	Left    *pendingLinesState `json:"left,omitempty"`
	Allowed time.Duration      `json:"allowed,omitempty"`
	Unended uint16             `json:"unended,omitempty"`

	outboundState
}

// outboundState is the rest of memberState, in the same JSON object.
type outboundState struct {
	Cursor  roomlog.Cursor `json:"cursor"`
	Format  roomlog.Format `json:"format,omitempty"`
	Behind  bool           `json:"behind,omitempty"`
	Over    bool           `json:"over,omitempty"`
	Replay  *replayState   `json:"replay,omitempty"`
	Rest    []byte         `json:"rest,omitempty"`
	Inserts []insertState  `json:"inserts,omitempty"`
}

type pendingLinesState struct {
	Line []byte `json:"line"`
	Over int    `json:"over,omitempty"`
	Rest []byte `json:"rest,omitempty"`
}

type replayState struct {
	After  uint64 `json:"after"`
	Upto   uint64 `json:"upto"`
	Footer string `json:"footer,omitempty"`
	Roster int    `json:"roster,omitempty"` // which of the room's, from 1 on; 0: none
	Style  int    `json:"style,omitempty"`
	Label  string `json:"label,omitempty"`
	Header string `json:"header,omitempty"`

	Lookup *lookupState `json:"lookup,omitempty"`
}

type lookupState struct {
	Text string   `json:"text,omitempty"`
	Hits []uint64 `json:"hits,omitempty"`
}

type insertState struct {
	Kind  insertKind     `json:"kind"`
	N     int            `json:"n,omitempty"`
	At    roomlog.Cursor `json:"at"`
	Seq   uint64         `json:"seq,omitempty"`
	Bytes []byte         `json:"bytes,omitempty"`

	Roster int          `json:"roster,omitempty"`
	Replay *replayState `json:"replay,omitempty"`
	After  int          `json:"after,omitempty"` // which of the session's answers, from 1 on; 0: none
}

type masterState struct {
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

// doorState is an address on which a door is open.
type doorState struct {
	Name   string           `json:"name"`
	Wanted netip.AddrPort   `json:"wanted"`
	Addrs  []netip.AddrPort `json:"addrs"` // of the listeners, in the order of the descriptors
}

type roomsSessionState struct {
	Door     string             `json:"door"`
	Remote   netip.AddrPort     `json:"remote"`
	Since    time.Time          `json:"since"`
	State    []byte             `json:"state,omitempty"` // of the protocol
	Members  []memberState      `json:"members,omitempty"`
	Answers  [][]byte           `json:"answers,omitempty"` // that are delayed
	Framer   wire.FramerState   `json:"framer,omitzero"`
	Left     *pendingLinesState `json:"left,omitempty"`
	Rest     []byte             `json:"rest,omitempty"`
	Allowed  time.Duration      `json:"allowed,omitempty"`
	Unended  uint16             `json:"unended,omitempty"`
	Reset    bool               `json:"reset,omitempty"`
	Admitted bool               `json:"admitted,omitempty"`
	Reader   *readers.State     `json:"reader,omitempty"`
}

// passwordState is a session before a room's password.
type passwordState struct {
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

// Receive is the opposite of Send. An empty kind is the end.
type Receive func() (kind string, body []byte, fds []int, err error)

// adoption is a server that takes over from another process.
type adoption struct {
	*Service
	adopted map[uint64]bool // by the ID of the room

	rosters map[uint64][]*roster // of the rooms, that members are to be shown
	lost    map[*Room][]string   // nicks of members that could not be handed over
}

// Adopt is Start for a server that takes over from another process. When it returns nil the server
// has everything and is suspended; Thaw resumes it. After an error the process must end at once:
// everything still belongs to the other process.
func (s *Service) Adopt(receive Receive) error {
	if err := s.engine.StartFrozen(); err != nil {
		return err
	}
	rooms, err := s.load()
	if err != nil {
		return err
	}
	a := &adoption{s, make(map[uint64]bool), make(map[uint64][]*roster), make(map[*Room][]string)}
	for _, r := range rooms {
		r.flushing.TryAcquire()
		s.upgrade.rooms = append(s.upgrade.rooms, r)
	}
	for {
		kind, body, fds, err := receive()
		if err != nil {
			return fmt.Errorf("take over: %w", err)
		}
		if kind == "" {
			break
		}
		if err := a.adopt(kind, body, fds); err != nil {
			return fmt.Errorf("take over %s: %w", kind, err)
		}
	}
	here := uint64(0)
	for _, r := range rooms {
		if !a.adopted[r.id] {
			return fmt.Errorf("the other process has sent no state of the room %s", r.name())
		}
		a.announceLost(r)
		r.noteWritten() // the other process may have written to a peer that is dead
		here += uint64(len(r.members))
		r.mu.Lock()
		r.deleteIfUnused() // after the thaw
		r.mu.Unlock()
	}
	s.uncounted.Store(s.memberIDs.Load() - s.endedMembers() - here)
	if s.master.Load() == nil {
		return errors.New("the other process has no master port")
	}
	if err := s.engine.PrepareThaw(); err != nil {
		return err
	}
	s.tasks.Go(s.detectDeadPeers)
	s.openDoors()
	return nil
}

// announceLost announces the members of a room that could not be handed over as gone.
func (a *adoption) announceLost(r *Room) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, nick := range a.lost[r] {
		r.announce(wire.Event{Type: wire.TypeLeave, From: nick, Members: len(r.members)})
	}
}

func (a *adoption) adopt(kind string, body []byte, fds []int) error {
	switch kind {
	case "service":
		var st serviceState
		if err := json.Unmarshal(body, &st); err != nil {
			return err
		}
		a.started = time.Now().Add(-st.Uptime)
		a.Service.memberIDs.Store(st.Members)
		a.Service.sessionIDs.Store(st.Sessions)
		a.restoreCounters(st.Counters)
		a.guesses.Restore(st.Guesses, st.Networks)
		now := time.Now()
		a.connects.Restore(now, st.Connects)
		a.requests.Restore(now, st.Requests)
		a.commands.Restore(now, st.Work)
		a.adoptListening(st.Listen, st.Port)
		return nil
	case "master":
		var addrs []netip.AddrPort
		if err := json.Unmarshal(body, &addrs); err != nil {
			return err
		}
		ln, err := a.engine.Adopt(addrs, fds)
		if err != nil {
			return err
		}
		if ln == nil { // its addresses are missing
			ln = &transport.Endpoint{Port: a.opts().Port}
		}
		a.Service.master.Store(ln)
		return ln.Open(a.admitMaster, busyReply)
	case "room":
		var st roomState
		if err := json.Unmarshal(body, &st); err != nil {
			return err
		}
		return a.adoptRoom(st, fds)
	case "members":
		return each(body, fds, a.lineSession)
	case "sessions":
		return each(body, fds, a.masterSession)
	case "callers":
		return each(body, fds, a.passwordSession)
	case "door":
		var st doorState
		if err := json.Unmarshal(body, &st); err != nil {
			return err
		}
		return a.adoptDoor(st, fds)
	case "rooms sessions":
		return each(body, fds, a.roomsSession)
	}
	return fmt.Errorf("this roomd does not know this kind of state")
}

// adoptListening takes over the addresses and the port of the other process. Our own take effect
// with Prepare and Commit.
func (a *adoption) adoptListening(listen []netip.Addr, port int) {
	if len(listen) == 0 {
		return
	}
	o := *a.opts()
	o.Listen, o.Port = listen, port
	a.mu.Lock()
	defer a.mu.Unlock()
	a.ports.Claim(port)
	a.options.Store(&o)
}

// each calls adopt with each state and its descriptor.
func each[T any](body []byte, fds []int, adopt func(*T, int) error) error {
	var all []T
	if err := json.Unmarshal(body, &all); err != nil {
		return err
	}
	if len(all) != len(fds) {
		return fmt.Errorf("%d came with %d descriptors", len(all), len(fds))
	}
	for i := range all {
		if err := adopt(&all[i], fds[i]); err != nil {
			return err
		}
	}
	return nil
}

// adoptRoom restores the state of a room.
func (a *adoption) adoptRoom(st roomState, fds []int) error {
	r := a.byID(st.ID)
	if r == nil {
		return fmt.Errorf("the database has no room %d", st.ID)
	}
	a.adopted[st.ID] = true
	last := r.log.End().Seq
	if st.Log.Start.Seq > last {
		return fmt.Errorf("the database is older than what the members of %s have: it ends at %d", r.name(), last)
	}
	log, err := roomlog.Restore(logWindow, a.logs, st.Log)
	if err != nil {
		return err
	}
	if end := log.End().Seq; end > last {
		return fmt.Errorf("the database is older than what the members of %s have: it ends at %d, and not at %d", r.name(), last, end)
	}
	r.log = log
	r.creator, r.guests, r.lastLine, r.unboundReason = st.Creator, st.Guests, st.Spoke, st.Binding
	r.rate, r.joinNoticesDue = rate{st.Rate, time.Now()}, time.Now().Add(st.Coming)
	if p := r.password.Load(); p != nil {
		a.guesses.RestoreRoom(p, st.Inside, st.Guessed)
		p.SetTag(st.Tag)
	}
	ln, err := a.engine.Adopt(st.Addrs, fds)
	if err != nil {
		return err
	}
	if ln == nil {
		r.state = unbound
		a.tasks.Go(r.rebind)
	} else {
		if err := ln.Open(r.admit, r.noticeLine(busyText)); err != nil {
			return err
		}
		r.state, r.ln = open, ln
	}
	a.lost[r], a.rosters[st.ID] = st.Lost, st.Rosters
	return nil
}

// lineSession restores a line session and its member. Nothing is read or written before Thaw.
func (a *adoption) lineSession(st *memberState, fd int) error {
	s := &lineSession{
		output: output{conn: a.engine.AdoptConn(fd), remote: st.Remote, unsent: st.Rest},
		framer: wire.RestoreFramer(a.opts().LineBytes, st.Framer), allowance: int64(st.Allowed), unpaid: st.Unended, begun: st.Begun, raw: st.Raw, peerClosed: st.Heard,
	}
	m := &s.member
	if err := a.member(m, st, &s.output, nil); err != nil {
		return err
	}
	if st.Reset {
		s.set(isReset)
	}
	if l := st.Left; l != nil && !m.ended {
		s.pending = &pendingLines{l.Line, l.Over, l.Rest}
		a.engine.AddPending(s.pending.size())
	}
	if m.ended {
		s.conn.DisableRead()
	}
	a.countConn(st.Remote)
	a.upgrade.lines = append(a.upgrade.lines, s)
	if err := s.conn.Start(s, s.pending != nil); err != nil {
		return err
	}
	if m.ended {
		go func() {
			<-a.engine.Thawed()
			s.disconnect(m.cause)
		}()
	}
	return nil
}

// member restores a member that writes to an output. answers are the delayed ones of its session.
func (a *adoption) member(m *Member, st *memberState, out *output, answers []*delayedAnswer) error {
	r := a.byID(st.Room)
	if r == nil || !a.adopted[st.Room] {
		return fmt.Errorf("there is no room %d", st.Room)
	}
	m.id, m.room, m.joined, m.out = st.ID, r, st.Since.UnixNano(), out
	m.cursor, m.format, m.fromStore, m.over = st.Cursor, st.Format, st.Behind, st.Over
	m.nick, m.cause, m.reads = wire.Name{Shown: st.Nick, Key: st.Key}, st.Cause, st.Format
	m.hideOwn, m.ended = st.HideOwn, st.Cause != ""
	out.add(m)
	if st.JSON { // the insert that switches it may still be pending
		m.reads = roomlog.JSON
	}
	for _, i := range st.Inserts {
		if i.Kind == toFormat {
			m.reads = roomlog.Format(i.N)
		}
	}
	if int(m.reads) >= len(a.formats) || int(m.format) >= len(a.formats) {
		return fmt.Errorf("a member of %s reads a format that this roomd does not know", r.name())
	}
	if a.formats[m.reads] == nil {
		return fmt.Errorf("this roomd does not know the format of a member of %s", r.name())
	}
	m.lines.Store(st.Lines)
	m.lastLine.Store(st.Spoke)
	m.reached.Store(st.Cursor.Pos)
	if st.Cause == "" {
		r.rememberAddr(st.Remote.Addr())
	}
	var err error
	if m.replay, err = a.replay(st.Room, st.Replay); err != nil {
		return err
	}
	for _, i := range st.Inserts {
		o, err := a.roster(st.Room, i.Roster)
		if err != nil {
			return err
		}
		p, err := a.replay(st.Room, i.Replay)
		if err != nil {
			return err
		}
		ins := insert{i.Kind, i.N, i.At, i.Seq, i.Bytes, o, p, nil}
		if i.After > 0 && i.After <= len(answers) {
			ins.after = answers[i.After-1]
			ins.after.left++
		}
		m.insertLocked(ins)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if m.ended {
		r.leaving[m] = &departure{since: cmp.Or(st.Went, a.uptime())}
	} else {
		r.addMember(m)
	}
	if st.Untold {
		r.announceLater(m)
	}
	r.unclosed.Add(1)
	return nil
}

// replay is nil for nil.
func (a *adoption) replay(room uint64, p *replayState) (*replay, error) {
	if p == nil {
		return nil, nil
	}
	o, err := a.roster(room, p.Roster)
	if err != nil {
		return nil, err
	}
	r := &replay{after: p.After, upto: p.Upto, header: p.Header, footer: p.Footer, roster: o, style: p.Style, label: p.Label}
	if o != nil { // the roster may be a newer one
		r.upto = min(p.Upto, uint64(len(o.Members)))
	}
	if l := p.Lookup; l != nil {
		r.lookup = &history.Lookup{Text: l.Text, Hits: l.Hits}
	}
	return r, nil
}

// adoptDoor takes over an address on which a door is open. If the door is not wanted there any more
// it is closed.
func (a *adoption) adoptDoor(st doorState, fds []int) error {
	e, err := a.engine.Adopt(st.Addrs, fds)
	if err != nil || e == nil {
		return err
	}
	d, err := a.doorNamed(st.Name)
	if err != nil || !slices.Contains(d.listen, st.Wanted) {
		e.Close()
		return nil
	}
	d.bound[st.Wanted] = e
	return e.Open(d.admit, d.Refusal(busyText))
}

// countConn counts a connection.
func (a *adoption) countConn(remote netip.AddrPort) {
	a.conns.Acquire(remote.Addr(), 0, 0) // without a limit it always counts
	a.trimmer.Connected()
}

// roomsSession restores a session of a door, and its members. Nothing is read or written before
// Thaw.
func (a *adoption) roomsSession(st *roomsSessionState, fd int) error {
	d, err := a.doorNamed(st.Door)
	if err != nil {
		return err
	}
	s := d.newSession(a.engine.AdoptConn(fd), st.Remote, st.Since)
	s.unsent, s.framer = st.Rest, wire.RestoreFramer(d.lineBytes(), st.Framer)
	s.allowance, s.unpaid, s.admitted = int64(st.Allowed), st.Unended, st.Admitted
	if st.Reset {
		s.set(isReset)
	}
	if st.Reader != nil {
		s.setReader(a.readers.Restore(st.Reader, s.conn))
	}
	answers := make([]*delayedAnswer, len(st.Answers))
	for i, b := range st.Answers {
		answers[i] = &delayedAnswer{bytes: b}
	}
	for i := range st.Members {
		m := &Member{}
		if err := a.member(m, &st.Members[i], &s.output, answers); err != nil {
			return err
		}
		if m.ended {
			p := s.pass()
			p.leaving = append(p.leaving, m)
			s.limitDrain(m, 0, false)
		} else {
			s.members = append(s.members, m)
		}
	}
	if len(answers) > 0 {
		s.pass().answers = answers
		s.releaseAnswers()
	}
	if l := st.Left; l != nil {
		s.pending = &pendingLines{l.Line, l.Over, l.Rest}
		a.engine.AddPending(s.pending.size())
	}
	a.countConn(st.Remote)
	a.upgrade.sessions = append(a.upgrade.sessions, s)
	return d.begin(s, st.State)
}

// roster returns a roster of a room by its number, which begins at 1; 0 is none.
func (a *adoption) roster(room uint64, n int) (*roster, error) {
	all := a.rosters[room]
	if n == 0 {
		return nil, nil
	}
	if n < 0 || n > len(all) {
		return nil, fmt.Errorf("the room %d has %d rosters, and no number %d", room, len(all), n)
	}
	return all[n-1], nil
}

// sinceOrNow is the time of a connection, or now if an older process has not sent it.
func sinceOrNow(t time.Time) time.Time {
	if t.IsZero() {
		return time.Now()
	}
	return t
}

// masterSession restores a master session. Nothing is read or written before Thaw.
func (a *adoption) masterSession(st *masterState, fd int) error {
	c := a.newMaster(a.engine.AdoptConn(fd), st.Remote, st.ID, sinceOrNow(st.Since))
	c.conn.ThawWrites()
	c.lines, c.begun, c.sawReset, c.framer = st.Lines, st.Begun, st.Reset, wire.RestoreFramer(a.opts().LineBytes, st.Framer)
	c.unended, c.fullAt = st.Unended, time.Now().Add(st.Rest)
	if len(st.Held) > 0 {
		c.setPendingInput(&pendingInput{pendingLines: pendingLines{rest: st.Held}})
	}
	a.countConn(st.Remote)
	return a.beginMaster(c, st.Idle)
}

// passwordSession restores a session before a room's password.
func (a *adoption) passwordSession(st *passwordState, fd int) error {
	r := a.byID(st.Room)
	if r == nil {
		return fmt.Errorf("there is no room %d", st.Room)
	}
	p := r.password.Load()
	c := r.newPasswordSession(a.engine.AdoptConn(fd), st.Remote, sinceOrNow(st.Since), p)
	c.conn.ThawWrites()
	c.lines, c.sawReset, c.unended, c.framer = st.Lines, st.Reset, st.Between, wire.RestoreFramer(a.opts().LineBytes, st.Framer)
	c.passed = st.Passed || p == nil // it has none any more
	if len(st.Held) > 0 {
		c.setPendingInput(&pendingInput{pendingLines: pendingLines{rest: st.Held}})
	}
	a.countConn(st.Remote)
	c.begin(st.Asked, true)
	return nil
}

package netsvc

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"roomd/netsvc/roomlog"
	"roomd/netsvc/transport"
	"roomd/netsvc/wire"
)

const (
	// batch is how many connections go in one frame; Linux takes 253 descriptors
	// with one message. batchBytes is about how large it may become.
	batch      = 250
	batchBytes = 1 << 20
)

// Bounds of the state beyond that of each connection: it is written and read while the server
// is suspended.
const (
	// maxRosterMembers bounds the lists of members that others are to be shown, in
	// members over all of them. Beyond it they are shown the list of this moment.
	maxRosterMembers = 1 << 16
	// maxRoomLog bounds what goes along of a room's log, in bytes, and handedLogs
	// that of all rooms. Members that need more are fed from the disk.
	maxRoomLog = 256 << 10
	maxAllLogs = 32 << 20
)

// handedOver counts the parts of the state that are bounded over all rooms.
type handedOver struct {
	rosters       map[*roster]int // its number in its room, from 1 on
	rosterMembers int             // members in all of them
	logs          int             // bytes
}

// Send sends a frame to the other process: its kind, a value as JSON, and descriptors.
type Send func(kind string, v any, fds ...int) error

// HandOver sends the whole state after Freeze. It returns how many members it has sent. The store
// may be closed.
func (s *Service) HandOver(send Send) (members int, err error) {
	now := time.Now()
	guesses, networks := s.guesses.State(now)
	if err := send("service", serviceState{
		s.uptime(), s.memberIDs.Load(), s.sessionIDs.Load(), s.Counters(), s.opts().Listen, s.opts().Port, guesses, networks,
		s.connects.Debts(now), s.requests.Debts(now), s.commands.Debts(now),
	}); err != nil {
		return 0, err
	}
	addrs, fds := s.master.Load().HandOver()
	if err := send("master", addrs, fds...); err != nil {
		return 0, err
	}
	all := &handedOver{rosters: make(map[*roster]int)}
	held, lines := make(map[*Room][]*Member), make(map[*Room][]*lineSession)
	for _, l := range s.upgrade.lines {
		r := l.member.room
		held[r], lines[r] = append(held[r], &l.member), append(lines[r], l)
	}
	for _, k := range s.upgrade.sessions {
		k.takeNews()
		for _, m := range k.allMembers() {
			held[m.room] = append(held[m.room], m)
		}
	}
	for _, r := range s.upgrade.rooms {
		st, fds := r.handOver(held[r], all)
		if err := send("room", st, fds...); err != nil {
			return 0, err
		}
	}
	out := &batcher[memberState]{kind: "members", send: send}
	for _, r := range s.upgrade.rooms {
		for _, l := range lines[r] {
			st, size := l.handOver(all.rosters)
			if err := out.add(st, l.conn.FD(), size); err != nil {
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
	more, err := s.handOverDoors(send, all.rosters)
	if err != nil {
		return 0, err
	}
	return members + more, s.handOverNonMembers(send)
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

// handOver returns the state of the room without its members, and its descriptors. It has the
// rosters that its members are to be shown, each once.
func (r *Room) handOver(members []*Member, all *handedOver) (roomState, []int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	st := roomState{
		ID: r.id, Creator: r.creator, Guests: r.guests, Spoke: r.lastLine, Rate: r.rate.now(time.Now()), Binding: r.unboundReason,
	}
	st.Coming = max(0, time.Until(r.joinNoticesDue))
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
		if all.rosterMembers+len(o.Members) > maxRosterMembers {
			goes = r.rosterLocked()
		}
		if all.rosters[goes] == 0 {
			st.Rosters = append(st.Rosters, goes)
			all.rosters[goes] = len(st.Rosters)
			all.rosterMembers += len(goes.Members)
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
	st.Log = r.log.Snapshot(from, min(maxRoomLog, maxAllLogs-all.logs))
	all.logs += st.Log.Size()
	for _, m := range r.members {
		if !m.transferable() && !m.unannounced.Load() {
			st.Lost = append(st.Lost, m.nick.Shown)
		}
	}
	return st, fds
}

// handOver returns the state of the session and its member, and about how many bytes of it vary in
// size. No goroutine reads or writes the conn.
func (s *lineSession) handOver(rosters map[*roster]int) (st memberState, size int) {
	st, size = s.member.handOver(rosters, nil)
	st.Begun, st.Raw, st.Heard, st.Reset, st.Framer = s.begun, s.raw, s.peerClosed, s.is(isReset), s.framer.FramerState
	st.Allowed, st.Unended, st.Rest = time.Duration(s.allowance), s.unpaid, s.unsent
	size += len(s.unsent) + len(st.Framer.Partial)
	if l := s.pending; l != nil {
		st.Left = &pendingLinesState{l.line, l.over, l.rest}
		size += len(l.line) + len(l.rest)
	}
	return st, size
}

// handOver returns the state of the member without that of its session, and about how many bytes of
// it vary in size. answers are the delayed answers of the session. No goroutine reads or writes the
// conn.
func (m *Member) handOver(rosters map[*roster]int, answers *[]*delayedAnswer) (st memberState, size int) {
	m.room.mu.Lock()
	defer m.room.mu.Unlock()
	m.mu.Lock()
	defer m.mu.Unlock()
	st = memberState{
		Room: m.room.id, ID: m.id, Remote: m.out.remote, Since: m.since(), Nick: m.nick.Shown, Key: m.nick.Key,
		Lines: m.lines.Load(), Spoke: m.lastLine.Load(), Cause: m.cause,
		Untold: m.unannounced.Load(), JSON: m.reads == roomlog.JSON, HideOwn: m.hideOwn,
		outboundState: outboundState{Cursor: m.cursor, Format: m.format, Behind: m.fromStore, Over: m.over},
	}
	if d := m.room.leaving[m]; d != nil {
		st.Went = d.since
	}
	if p := m.replay; p != nil {
		st.Replay = p.state(rosters)
	}
	for _, i := range m.inserts {
		st.Inserts = append(st.Inserts, insertState{i.kind, i.n, i.at, i.seq, i.bytes, rosters[i.roster], i.replay.state(rosters), numberOf(i.after, answers)})
		size += len(i.bytes)
	}
	return st, size
}

// state is nil for nil.
func (p *replay) state(rosters map[*roster]int) *replayState {
	if p == nil {
		return nil
	}
	st := &replayState{After: p.after, Upto: p.upto, Footer: p.footer, Roster: rosters[p.roster], Style: p.style, Label: p.label, Header: p.header}
	if l := p.lookup; l != nil {
		st.Lookup = &lookupState{l.Text, l.Hits}
	}
	return st
}

// numberOf returns the number of an answer among all, from 1 on, and appends it if it is not there;
// nil has 0.
func numberOf(a *delayedAnswer, all *[]*delayedAnswer) int {
	if a == nil {
		return 0
	}
	if i := slices.Index(*all, a); i >= 0 {
		return i + 1
	}
	*all = append(*all, a)
	return len(*all)
}

// handOverDoors sends the doors and their sessions, and returns how many members these have.
func (s *Service) handOverDoors(send Send, rosters map[*roster]int) (members int, err error) {
	if s.doorsStay.Load() {
		return 0, nil
	}
	for _, d := range s.doors {
		for _, a := range d.listen {
			d.mu.Lock()
			e := d.bound[a]
			d.mu.Unlock()
			if e == nil {
				continue
			}
			addrs, fds := e.HandOver()
			if err := send("door", doorState{d.Name(), a, addrs}, fds...); err != nil {
				return 0, err
			}
		}
	}
	out := &batcher[roomsSessionState]{kind: "rooms sessions", send: send}
	for _, k := range s.upgrade.sessions {
		st, size := k.handOver(rosters)
		members += len(k.Members())
		if err := out.add(st, k.conn.FD(), size); err != nil {
			return 0, err
		}
	}
	return members, out.flush()
}

// handOver returns the state of the session and its members, and about how many bytes of it vary in
// size. No goroutine reads or writes the conn.
func (s *RoomsSession) handOver(rosters map[*roster]int) (st roomsSessionState, size int) {
	s.mu.Lock() // a member of a deleted room may be closed just now
	answers := slices.Clone(s.answers)
	s.mu.Unlock()
	var farewells []byte
	for _, m := range s.allMembers() {
		if m.room.dropped.Load() { // the other process does not know the room
			m.mu.Lock()
			for _, i := range m.inserts {
				farewells = append(farewells, i.bytes...)
			}
			m.mu.Unlock()
			continue
		}
		ms, n := m.handOver(rosters, &answers)
		st.Members = append(st.Members, ms)
		size += n
	}
	st.Door, st.Remote, st.Since, st.State = s.door.Name(), s.remote, s.Since(), s.proto.State()
	st.Framer, st.Allowed, st.Unended = s.framer.FramerState, time.Duration(s.allowance), s.unpaid
	st.Reset, st.Rest, st.Admitted = s.is(isReset), append(slices.Clone(s.unsent), farewells...), s.admitted
	if r := s.reader.Load(); r != nil {
		s.noteWritten(r)
		st.Reader = r.State()
	}
	for _, a := range answers {
		st.Answers = append(st.Answers, a.bytes)
		size += len(a.bytes)
	}
	if l := s.pending; l != nil {
		st.Left = &pendingLinesState{l.line, l.over, l.rest}
		size += len(l.line) + len(l.rest)
	}
	return st, size + len(st.State) + len(st.Rest) + len(st.Framer.Partial)
}

// handOverNonMembers sends the sessions that have no member.
func (s *Service) handOverNonMembers(send Send) error {
	s.upgrade.masters, s.upgrade.passwords = nil, nil
	out := &batcher[masterState]{kind: "sessions", send: send}
	waiting := &batcher[passwordState]{kind: "callers", send: send}
	for _, v := range s.nonMembers() {
		switch c := v.(type) {
		case *masterSession:
			if !c.movable() {
				continue
			}
			s.upgrade.masters = append(s.upgrade.masters, c)
			st := c.handOver()
			if err := out.add(st, c.conn.FD(), len(st.Held)+len(st.Framer.Partial)); err != nil {
				return err
			}
		case *passwordSession:
			if !c.movable() {
				continue
			}
			s.upgrade.passwords = append(s.upgrade.passwords, c)
			st := c.handOver()
			if err := waiting.add(st, c.conn.FD(), len(st.Held)+len(st.Framer.Partial)); err != nil {
				return err
			}
		}
	}
	if err := out.flush(); err != nil {
		return err
	}
	return waiting.flush()
}

// handOver returns the state of the session. No goroutine reads or writes the conn.
func (c *masterSession) handOver() masterState {
	c.mu.Lock()
	defer c.mu.Unlock()
	st := masterState{
		ID: c.id, Remote: c.remote, Since: c.since, Lines: c.lines, Begun: c.begun, Reset: c.sawReset, Framer: c.framer.FramerState,
		Held: c.pendingBytes(), Unended: c.unended, Rest: max(0, time.Until(c.fullAt)),
	}
	if !c.deadline.IsZero() {
		st.Idle = max(1, time.Until(c.deadline))
	}
	return st
}

// handOver returns the state of the session. No goroutine reads or writes the conn.
func (c *passwordSession) handOver() passwordState {
	c.mu.Lock()
	defer c.mu.Unlock()
	return passwordState{
		Room: c.room.id, Remote: c.remote, Since: c.since, Asked: true, Passed: c.passed, Reset: c.sawReset, Lines: c.lines,
		Framer: c.framer.FramerState, Held: c.pendingBytes(), Between: c.unended,
	}
}

// upgrade is what is frozen beside the engine, from Freeze or Adopt to Thaw. It belongs to the
// goroutine that freezes and thaws.
type upgrade struct {
	rooms     []*Room          // whose lock flushing is held
	lines     []*lineSession   // whose write lock is held
	masters   []*masterSession // that are handed over
	passwords []*passwordSession
	sessions  []*RoomsSession // whose write lock is held
}

// upgradeText is the answer to connections that cannot be handed over.
const upgradeText = "the server is being upgraded; connect again"

// beginChange passes the gate for a change that somebody has asked for and gets an
// answer to: it must not wait in a process that another one has taken over from. Before
// the answer the change is in the log.
func (s *Service) beginChange() (end func(), err error) {
	if pass, ok := s.engine.BeginChangeUnlessAbandoned(); ok {
		return func() {
			s.logQueue.wait()
			pass()
		}, nil
	}
	return nil, wire.Errorf(wire.CodeBusy, "another process of the server has just taken over, and nothing is changed; try again")
}

// AwaitBlocked comes before Freeze. While everything goes on it waits half a second at most for
// sessions that could not be handed over now: their clients do not take an answer, or their
// deletion of a room has not ended.
func (s *Service) AwaitBlocked(ctx context.Context) { s.engine.AwaitBlocked(ctx) }

// Freeze suspends the server for a handover: only members that are not handed over change, and no
// room or log. After an error the server goes on as before. Only one goroutine at a time may call
// it.
func (s *Service) Freeze(ctx context.Context) (err error) {
	defer func() {
		if err != nil {
			s.doorsStay.Store(false)
		}
	}()
	if s.stop.Err() != nil {
		return errors.New("the server is stopping")
	}
	if err := s.engine.Freeze(ctx, s.wakeMembers); err != nil {
		s.flushAllMembers()
		var readers transport.ReadersError
		switch {
		case errors.Is(err, transport.ErrChangeInProgress):
			return errors.New("a room or its members are just being changed; try again in a moment")
		case errors.As(err, &readers):
			return fmt.Errorf("the input of %s does not stop", plural(int(readers), "member"))
		}
		return err
	}
	defer func() {
		if err != nil {
			s.Thaw()
		}
	}()
	for _, r := range s.allRooms() {
		if r.dropped.Load() {
			continue
		}
		if err := transport.PollUntil(ctx, r.flushing.TryAcquire); err != nil {
			return fmt.Errorf("the room %s does not stop writing", r.name())
		}
		s.upgrade.rooms = append(s.upgrade.rooms, r)
	}
	for _, r := range s.upgrade.rooms {
		if err := r.holdMembers(ctx); err != nil {
			return fmt.Errorf("a member of %s does not stop being written to", r.name())
		}
	}
	for _, k := range s.allRoomsSessions() {
		if !k.transferable() {
			continue
		}
		if err := transport.PollUntil(ctx, func() bool {
			// The write lock of a finished session is never released. Some of its input is not
			// handled yet.
			return k.is(isFinished) || k.conn.TryFreezeWrites()
		}); err != nil {
			return errors.New("a session does not stop being written to")
		}
		s.upgrade.sessions = append(s.upgrade.sessions, k)
	}
	s.readers.Save() // the store may be closed soon
	return ctx.Err()
}

// wakeMembers wakes the goroutines that wait for a change of a member or a session.
func (s *Service) wakeMembers() {
	for _, r := range s.allRooms() {
		for _, m := range r.membersAndLeaving() {
			m.out.Signal()
		}
	}
	for _, v := range s.nonMembers() {
		v.Signal()
	}
}

// holdMembers takes the write locks of the line sessions of a room that can be handed over.
func (r *Room) holdMembers(ctx context.Context) error {
	for _, m := range r.membersAndLeaving() {
		l, ok := m.out.session().(*lineSession)
		if !ok || !m.transferable() {
			continue
		}
		done := false
		if err := transport.PollUntil(ctx, func() bool {
			// The write lock of a drained member is never released. If the member has
			// not ended, some of its input is not handled yet.
			drained := m.isDrained()
			done = drained && m.hasEnded()
			return drained || l.conn.TryFreezeWrites()
		}); err != nil {
			return err
		}
		if !done {
			r.svc.upgrade.lines = append(r.svc.upgrade.lines, l)
		}
	}
	return nil
}

// LeaveDoors says, before Freeze, that the other process knows no doors: Abandon tells their sessions
// of the upgrade, and ends them. It holds until Thaw, or until Freeze fails.
func (s *Service) LeaveDoors() { s.doorsStay.Store(true) }

// Thaw resumes the server after Freeze or Adopt.
func (s *Service) Thaw() {
	s.doorsStay.Store(false)
	for _, l := range s.upgrade.lines {
		l.conn.ThawWrites()
	}
	for _, k := range s.upgrade.sessions {
		if !k.is(isFinished) { // its write lock is kept
			k.conn.ThawWrites()
		}
	}
	sessions := s.upgrade.sessions
	for _, r := range s.upgrade.rooms {
		r.flushing.Reset()
	}
	s.upgrade = upgrade{}
	s.engine.Thaw()
	s.flushAllMembers()
	for _, k := range sessions {
		k.flushAll()
	}
}

// flushAllMembers writes what was put off, and what came meanwhile.
func (s *Service) flushAllMembers() {
	for _, r := range s.allRooms() {
		for _, m := range r.membersAndLeaving() {
			m.out.flushAll()
		}
		r.wake()
	}
}

// Abandon ends the server after Freeze, when another process has taken over. Members that could
// not be handed over are told so and get the rest of their stream; they, and connections that are
// being closed, have the time within. Descriptors that were handed over are closed: a port that
// the other process gives up must not stay open. Their connections are not touched.
func (s *Service) Abandon(within time.Duration) {
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	for _, l := range s.allListeners() {
		l.Close()
	}
	for _, d := range s.doors {
		if d.http != nil {
			d.http.Close()
		}
	}
	for _, l := range s.upgrade.lines { // their write locks are never released
		l.conn.CloseAfterHandover()
	}
	s.mu.Lock()
	for _, c := range s.upgrade.masters {
		c.conn.CloseAfterHandover()
		delete(s.masterSessions, c)
	}
	for _, k := range s.upgrade.sessions { // their write locks are never released
		if r := k.reader.Load(); r != nil {
			r.Drop()
		}
		k.conn.CloseAfterHandover()
		delete(s.roomsSessions, k)
	}
	s.mu.Unlock()
	for _, k := range s.upgrade.sessions {
		s.queue.remove(k)
		for _, m := range k.allMembers() {
			if m.room.dropped.Load() { // its deletion waits for it
				m.setDrained()
				k.closeMember(m)
			}
		}
	}
	for _, c := range s.upgrade.passwords {
		c.conn.CloseAfterHandover()
		s.queue.remove(c)
	}
	s.engine.Abandon()
	s.readers.Stop()
	s.trimmer.Stop()
	for _, v := range s.nonMembers() {
		v.terminate() // those that could not be handed over
	}
	for _, r := range s.allRooms() {
		r.endNotTransferable()
	}
	transport.PollUntil(ctx, func() bool {
		n := s.engine.ClosingCount() + len(s.nonMembers())
		for _, r := range s.allRooms() {
			for _, m := range r.membersAndLeaving() {
				if !m.transferable() {
					n++
				}
			}
		}
		return n == 0
	})
}

// endNotTransferable ends the members that cannot be handed over.
func (r *Room) endNotTransferable() {
	if r.dropped.Load() { // its deletion ends them
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, m := range append([]*Member(nil), r.members...) {
		if m.transferable() {
			continue
		}
		if _, isLine := m.out.session().(*lineSession); isLine {
			m.queue(insert{kind: upgradeNotice})
		}
		m.endLocked(CauseStopping)
	}
}

package netsvc

import (
	"bytes"
	"errors"
	"io"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"roomd/netsvc/history"
	"roomd/netsvc/passwd"
	"roomd/netsvc/readers"
	"roomd/netsvc/roomlog"
	"roomd/netsvc/transport"
	"roomd/netsvc/wire"
	"roomd/store"
)

// Protocol is what a client of a RoomsSession says, and what it gets. The methods are called by the
// holder of the conn's read lock, except where it is said otherwise.
type Protocol interface {
	// Line handles a line of the client. If over is greater than 0 the line was longer than the
	// limit: it had so many bytes and is not given. Without wait it must not wait, and returns
	// false if it has to: then it has done nothing, and is called again with wait. With wait false
	// says that the server is to be suspended or the session has ended.
	Line(line []byte, over int, wait bool) bool
	// Farewell returns what tells the client of the end of its member in a room. Any goroutine may
	// call it, with locks held: it must not call the Service.
	Farewell(at Place, c Cause) []byte
	// Renamed returns what tells the client that a room has another name than before. It is as
	// Farewell.
	Renamed(at Place, was, topic string) []Part
	// LastWords returns what the client gets last. Nothing else is called then but Closed.
	LastWords(why EndReason) []byte
	// Closed is called when the connection is closed, or is another process's.
	Closed()
	// State returns what Door.Begin needs in another process. The server is suspended.
	State() []byte
	// Nick is the name for the operator's lists; empty: none yet. Any goroutine may call it.
	Nick() string
}

// EndReason is why a RoomsSession ends.
type EndReason string

const (
	EndLeft     EndReason = "left"     // the client closed its side, or the protocol called End
	EndVanished EndReason = "vanished" // the connection was reset, or the peer is dead
	EndStopping EndReason = "stopping"
	EndUpgrade  EndReason = "upgrade" // another process has taken over, and the connection stays behind
	EndBanned   EndReason = "banned"
	EndKicked   EndReason = "kicked" // by the operator
	EndEvicted  EndReason = "evicted"
	EndTimeout  EndReason = "timed out" // it was not admitted in time
	EndRefused  EndReason = "refused"
	EndInternal EndReason = "internal error"
)

// RoomsSession is a session of another protocol than that of the rooms' ports: its client may be in
// several rooms over one conn. It has a member in each of them, and goes on when one of them ends.
// It is the handler of the conn. All exported methods but those of transport.Handler are for the
// session's Protocol, and for the holder of the read lock unless said otherwise.
type RoomsSession struct {
	output
	svc   *Service
	door  *openDoor
	proto Protocol
	since time.Time

	reader atomic.Pointer[readers.Reader] // nil: nothing is kept of what the client has

	// Owned by the holder of the read lock.
	framer     wire.Framer
	pending    *pendingLines
	allowance  int64 // as in lineSession
	unpaid     uint16
	peerClosed bool

	mu       sync.Mutex // comes after Member.mu; guards what follows
	members  []*Member  // have not ended
	leaving  []*Member  // have ended and are not closed
	arrivals []*Member  // are not in the output yet
	cut      []*Member  // are to be taken out of the output before they are drained
	answers  []*delayedAnswer
	ready    []byte    // written as soon as possible; Service.insertBytes counts it
	why      EndReason // empty: the session has not ended
	admitted bool
	aborted  bool
	closed   bool // the conn is closed, or about to be
}

// delayedAnswer is an answer that is written when every member has passed its place, and all answers
// before it are written. RoomsSession.mu guards left.
type delayedAnswer struct {
	left  int // members that have not passed yet
	share int // of the bytes, for each member
	bytes []byte
}

// passed notes that a member has passed the place of an answer. The caller may hold Member.mu.
func (s *RoomsSession) passed(a *delayedAnswer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a.left--
	s.releaseAnswers()
}

// releaseAnswers makes the answers ready that wait for no member. mu is held.
func (s *RoomsSession) releaseAnswers() {
	for len(s.answers) > 0 && s.answers[0].left == 0 {
		s.addReadyLocked(s.answers[0].bytes)
		if s.answers = s.answers[1:]; len(s.answers) == 0 {
			s.answers = nil
		}
	}
}

// Service returns the server. Any goroutine may call it.
func (s *RoomsSession) Service() *Service { return s.svc }

// Remote returns the address of the client. Any goroutine may call it.
func (s *RoomsSession) Remote() netip.AddrPort { return s.remote }

// IsTLS reports whether the connection is behind TLS. It is for Door.Begin.
func (s *RoomsSession) IsTLS() bool { return s.conn.IsTLS() }

// Since returns when the client connected. Any goroutine may call it.
func (s *RoomsSession) Since() time.Time { return s.since }

// Members returns the members that have not ended, the oldest first. Any goroutine may call it.
func (s *RoomsSession) Members() []*Member {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.members)
}

// In returns the member in a room, by the folded name; nil: there is none. Any goroutine may call
// it.
func (s *RoomsSession) In(key string) *Member {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range s.members {
		if m.room.key() == key {
			return m
		}
	}
	return nil
}

// Tell queues bytes that wait for nothing. It reports false if the client does not read what it
// gets. Any goroutine may call it.
func (s *RoomsSession) Tell(b []byte) bool {
	s.mu.Lock()
	takes := s.takesReadyLocked()
	s.mu.Unlock()
	if !takes {
		return false
	}
	s.addReady(b)
	s.flushAll()
	return true
}

// takesReadyLocked reports whether one more answer may be ready: there is none, or the bytes are
// below the bounds of inserts. mu is held.
func (s *RoomsSession) takesReadyLocked() bool {
	return len(s.ready) == 0 || len(s.ready) <= maxInserts && s.svc.insertBytes.Load() < allInserts
}

// addReady is Tell without a bound, and without the write. The caller may hold Member.mu.
func (s *RoomsSession) addReady(b []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.addReadyLocked(b)
}

// addReadyLocked is addReady. mu is held.
func (s *RoomsSession) addReadyLocked(b []byte) {
	if len(b) == 0 || s.is(isFinished) {
		return
	}
	s.ready = append(s.ready, b...)
	s.svc.insertBytes.Add(int64(len(b)))
	s.set(hasNews)
	if len(s.members) == 0 { // else the room does that
		s.svc.wakeDeadPeerDetection()
	}
}

// takeReady returns the answers that are ready, and forgets them.
func (s *RoomsSession) takeReady() (b []byte) {
	s.mu.Lock()
	b, s.ready = s.ready, nil
	s.mu.Unlock()
	if len(b) > 0 {
		s.svc.insertBytes.Add(-int64(len(b)))
		s.Signal() // the reader may wait for that
	}
	return b
}

// Answer queues bytes behind everything that is in the session's rooms now, and behind the answers
// before.
func (s *RoomsSession) Answer(b []byte) {
	a := &delayedAnswer{bytes: b, left: 1} // until all members have it
	s.mu.Lock()
	all := append(slices.Clone(s.members), s.leaving...)
	s.answers = append(s.answers, a)
	s.mu.Unlock()
	if n := len(all); n > 0 {
		a.share = len(b) / n
	}
	for _, m := range all {
		m.mu.Lock()
		if !m.drained {
			s.mu.Lock()
			a.left++
			s.mu.Unlock()
			m.insertLocked(insert{kind: barrier, at: m.room.log.End(), after: a})
		}
		m.mu.Unlock()
	}
	s.passed(a)
}

// AwaitTurn reports whether the next request may be handled: the client takes its answers, and the
// rate limit allows the cost (1 is a line's). With wait it waits for both. Then false says that the
// session has ended, or that the server is to be suspended.
func (s *RoomsSession) AwaitTurn(cost float64, wait bool) bool {
	for !s.acceptsAnswers() {
		signal := s.signals()
		if s.flushAll(); s.acceptsAnswers() {
			break
		}
		if !wait || s.hasEnded() || s.svc.engine.Suspended() {
			return false
		}
		<-signal
	}
	return s.awaitAllowance(s.svc, &s.allowance, cost, wait, s.hasEnded) &&
		(cost <= 1 || wait && s.awaitAddressTurn(s.svc, cost-1, s.hasEnded))
}

// acceptsAnswers reports whether what waits for the client is within its bounds.
func (s *RoomsSession) acceptsAnswers() bool {
	if s.is(isFinished) {
		return true // nobody gets them
	}
	s.mu.Lock()
	takes := s.takesReadyLocked()
	s.mu.Unlock()
	if !takes {
		return false
	}
	for _, m := range s.Members() {
		if ok, ended := m.withinBounds(maxInFlight); !ok && !ended {
			return false
		}
	}
	return true
}

// AwaitLines waits until the lines that the client said in its rooms before are in their logs. It
// returns false if they are not and wait is false, or the server is to be suspended.
func (s *RoomsSession) AwaitLines(wait bool) bool {
	for _, m := range s.Members() {
		if ok, ended := m.withinBounds(1); !ok && !ended && (!wait || !m.awaitBounds(1) && !m.hasEnded()) {
			return false
		}
	}
	return true
}

// RunBlocking is Conn.RunBlocking, for something that takes long. Only Line with wait may call it.
func (s *RoomsSession) RunBlocking(do func()) bool { return s.conn.RunBlocking(do) }

// Suspended reports whether the server is to be suspended: Line must return false soon.
func (s *RoomsSession) Suspended() bool { return s.svc.engine.Suspended() }

// Admit says that the client is known: the connection no longer waits in the admission queue.
func (s *RoomsSession) Admit() {
	s.mu.Lock()
	s.admitted = true
	s.mu.Unlock()
	s.svc.mu.Lock()
	s.svc.roomsSessions[s] = true
	s.svc.mu.Unlock()
	s.svc.queue.remove(s)
}

// End ends the session; the first reason counts. Any goroutine may call it that does not run while
// the server is suspended: for a timer there is EndAt.
func (s *RoomsSession) End(why EndReason) {
	s.mu.Lock()
	first := s.why == ""
	if first {
		s.why = why
	}
	s.mu.Unlock()
	if first {
		s.conn.StopReading()
		s.Signal()
	}
}

// EndAt ends the session at a time, unless the server is abandoned by then. It returns the timer.
func (s *RoomsSession) EndAt(at time.Time, why EndReason) *time.Timer {
	return time.AfterFunc(time.Until(at), func() {
		if done, ok := s.svc.engine.BeginChangeUnlessAbandoned(); ok { // not while the server is suspended
			defer done()
			s.End(why)
		}
	})
}

func (s *RoomsSession) hasEnded() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.why != ""
}

// handleInput is lineSession.handleInput for a session that may be in several rooms.
func (s *RoomsSession) handleInput(p []byte) (handled bool) {
	for lines := 0; ; lines++ {
		line, over, rest, ok := s.framer.Cut(p)
		s.framer.TelnetRequests() // which are not answered
		if n := int(s.unpaid) + chargedBytes(len(p)-len(rest), false, ok); !ok && n < limitedRead {
			s.unpaid = uint16(n)
			return true
		}
		s.unpaid = 0
		if s.hasEnded() {
			return true
		}
		if lines >= loopLines || !s.handleLine(line, over, false) {
			s.pending = &pendingLines{bytes.Clone(line), over, bytes.Clone(rest)}
			s.svc.engine.AddPending(s.pending.size())
			return false
		}
		if p = rest; len(p) == 0 {
			return true
		}
	}
}

// resumeInput handles the pending lines. It returns false if the server is to be suspended.
func (s *RoomsSession) resumeInput() bool {
	if s.pending == nil {
		return true
	}
	held := s.pending.size()
	defer func() { s.svc.engine.AddPending(s.pending.size() - held) }()
	for s.pending != nil {
		if s.hasEnded() {
			s.pending = nil
			return true
		}
		if !s.handleLine(s.pending.line, s.pending.over, true) {
			if s.hasEnded() {
				continue
			}
			return false
		}
		s.flushAll()
		line, over, rest, ok := s.framer.Cut(s.pending.rest)
		s.framer.TelnetRequests()
		if !ok {
			s.pending = nil
			break
		}
		s.pending.line, s.pending.over, s.pending.rest = line, over, rest
	}
	return true
}

// handleLine handles a line, or charges bytes that are none.
func (s *RoomsSession) handleLine(line []byte, over int, wait bool) bool {
	if over == 0 && wire.IsBlank(line) {
		cost := emptyLine
		if line == nil {
			cost = 1
		}
		return s.AwaitTurn(cost, wait)
	}
	return s.proto.Line(line, over, wait)
}

// Data handles what was read.
func (s *RoomsSession) Data(p []byte) transport.Outcome {
	if !s.handleInput(p) {
		return transport.Defer
	}
	return s.goOn()
}

// Resume handles the pending lines.
func (s *RoomsSession) Resume() transport.Outcome {
	if !s.resumeInput() {
		return transport.Retry
	}
	return s.goOn()
}

func (s *RoomsSession) goOn() transport.Outcome {
	if s.hasEnded() {
		return transport.Stop
	}
	s.flushAll()
	return transport.Continue
}

// PeerClosed handles the end of the input: the last line, if it is complete.
func (s *RoomsSession) PeerClosed(err error) transport.Outcome {
	for !s.is(isGone) && s.conn.Writing() && s.conn.WasReset() {
		s.WaitSignal(time.Millisecond) // a write may be about to meet the reset
	}
	if endsByReset(err) {
		s.set(isReset) // if this call is repeated, err is io.EOF
	}
	s.peerClosed = errors.Is(err, io.EOF) && !s.is(isReset)
	before := s.framer
	if line, over, ok := s.framer.Tail(); ok && !s.is(isReset) && (errors.Is(err, io.EOF) || errors.Is(err, syscall.EPIPE)) && !s.hasEnded() {
		if !s.handleLine(line, over, true) && !s.hasEnded() {
			s.framer = before
			return transport.Retry
		}
	}
	if !s.AwaitLines(true) && !s.hasEnded() {
		return transport.Retry
	}
	why := EndVanished
	if s.peerClosed {
		why = EndLeft
	}
	s.End(why)
	return transport.Stop
}

// Panicked logs a panic and ends the session.
func (s *RoomsSession) Panicked(p any, stack []byte) {
	s.svc.log.Error("panic while serving a session; the connection is closed", "door", s.door.Name(), "remote", s.remote, "error", p, "stack", string(stack))
	go s.End(EndInternal)
}

func (s *RoomsSession) transferable() bool {
	return s.conn.Transferable() && !s.svc.doorsStay.Load() && !s.hasEnded()
}

// cause is the Cause of the members that end with the session.
func (why EndReason) cause() Cause {
	switch why {
	case EndLeft:
		return CauseLeft
	case EndStopping, EndUpgrade:
		return CauseStopping
	case EndBanned, EndKicked:
		return CauseKicked
	case EndInternal:
		return CauseInternal
	}
	return CauseVanished
}

// farewell asks the protocol.
func (s *RoomsSession) farewell(m *Member, c Cause) []byte {
	at := m.place()
	if c == CauseLagged || c == CauseHistory { // its stream ends at once
		at.Name = m.nameInStreamLocked(at.Name)
	}
	return s.proto.Farewell(at, c)
}

// tellRename has the client told, at this place of its stream, that the room has another name.
// Room.mu is held.
func (m *Member) tellRename(was string) {
	m.queue(insert{kind: renamed, bytes: []byte(was)})
	m.queueParts(m.out.session().(*RoomsSession).proto.Renamed(m.place(), was, m.room.topic))
}

// memberEnded lets the member have what is pending, for drainTime if its room ends.
func (s *RoomsSession) memberEnded(m *Member) {
	s.mu.Lock()
	s.members = slices.DeleteFunc(s.members, func(o *Member) bool { return o == m })
	s.leaving = append(s.leaving, m)
	last := len(s.members) == 0
	s.mu.Unlock()
	go func() {
		if s.flushAll(); m.isDrained() { // it was before it ended
			s.closeMember(m)
		}
	}()
	s.limitDrain(m, s.written.Load(), false)
	if last && s.svc.stop.Err() != nil {
		s.End(EndStopping)
	}
}

// limitDrain cuts a member off that is not drained when drainTime is over, unless its room does not
// wait for it and the client reads. written is how many bytes the client had taken before, and isCut
// says that the member is to be cut off already: then a write does not return, which only happens
// where there is no event loop, and the connection is broken.
func (s *RoomsSession) limitDrain(m *Member, written uint32, isCut bool) {
	time.AfterFunc(drainTime, func() {
		now := s.written.Load()
		since, _ := m.room.departureOf(m)
		reads := now != written && s.svc.uptime()-since < maxDrainTime && s.svc.stop.Err() == nil
		select {
		case <-m.room.quit:
			reads = false
		default:
		}
		switch {
		case m.isDrained():
		case s.transferable() && s.svc.engine.Suspended():
			if done, ok := s.svc.engine.BeginChangeUnlessAbandoned(); ok { // else it is another process's
				done()
				s.limitDrain(m, now, isCut)
			}
		case isCut:
			s.breakConn()
		case reads:
			s.limitDrain(m, now, false)
		default:
			s.cutOff(m)
			s.flushAll()
			s.limitDrain(m, now, true)
		}
	})
}

// cutOff has a member that has ended taken out of the output. The caller may hold any lock.
func (s *RoomsSession) cutOff(m *Member) {
	s.mu.Lock()
	s.cut = append(s.cut, m)
	s.mu.Unlock()
	s.set(hasNews)
}

// breakConn breaks the connection, unless it is closed.
func (s *RoomsSession) breakConn() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed { // its descriptor may be another connection's
		s.conn.Abort()
	}
}

// takeNews puts arrived members into the output, takes those out that are to be cut off, and has
// ready answers written. The caller has the write lock.
func (s *RoomsSession) takeNews() {
	s.unset(hasNews)
	s.takeMembers()
	s.unsent = append(s.unsent, s.takeReady()...)
}

// takeMembers is takeNews without the answers.
func (s *RoomsSession) takeMembers() {
	s.mu.Lock()
	arrivals, cut := s.arrivals, s.cut
	s.arrivals, s.cut = nil, nil
	s.mu.Unlock()
	for _, m := range arrivals {
		s.add(m)
	}
	for _, m := range cut {
		s.remove(m)
	}
}

// writeAndTakeNews is takeNews, but leaves answers until the client has taken most of what came before
// them: so the bound of Tell holds for a client that does not read. The result is idle, full or
// finished.
func (s *RoomsSession) writeAndTakeNews() outcome {
	if len(s.unsent) >= writeBytes {
		s.takeMembers()
		if result := s.writeRest(); result != idle {
			return result
		}
	}
	s.takeNews()
	return idle
}

// discard drops what nobody can be told any more: the output is finished. Members that have arrived
// meanwhile get nothing.
func (s *RoomsSession) discard() {
	s.takeReady()
	s.mu.Lock()
	arrivals := s.arrivals
	s.arrivals, s.cut = nil, nil
	s.mu.Unlock()
	for _, m := range arrivals {
		m.setDrained()
	}
}

// remove takes a member off the output before all that is pending is written: its client is told of
// the end alone. The caller has the write lock.
func (s *RoomsSession) remove(m *Member) {
	for p := s.last; p != nil; {
		if p.next == m {
			s.last = p
			s.removeNext()
			s.addReady(m.farewell())
			s.closeMember(m)
			m.setDrained()
			return
		}
		if p = p.next; p == s.last {
			return
		}
	}
}

// farewell returns what the client is told of the end of the member, if it has not got to that.
func (m *Member) farewell() []byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i := range m.inserts {
		if k := m.inserts[i].kind; k == endOfStream || k == endLagged {
			return m.inserts[i].bytes
		}
	}
	return nil
}

// memberDrained has the room of the member go on.
func (s *RoomsSession) memberDrained(m *Member) bool {
	s.closeMember(m)
	return false
}

// closeMember closes a member that has ended, once.
func (s *RoomsSession) closeMember(m *Member) {
	s.mu.Lock()
	i := slices.Index(s.leaving, m)
	if i >= 0 {
		s.leaving = slices.Delete(s.leaving, i, i+1)
	}
	s.mu.Unlock()
	if i >= 0 {
		m.close()
	}
}

// Finish ends all members, lets the client have what is pending, and closes the connection.
func (s *RoomsSession) Finish() {
	defer s.svc.tasks.Done()
	s.End(EndInternal) // has no effect if the session has ended
	s.mu.Lock()
	why := s.why
	if s.aborted {
		why = EndKicked
	}
	s.mu.Unlock()
	if s.is(isDead) {
		why = EndVanished
	}
	done, ok := s.svc.engine.BeginChangeUnlessAbandoned()
	s.endAll(why) // otherwise the rooms are another process's, which announces that the members have left
	if ok {
		done()
	}
	s.svc.engine.AddPending(-s.pending.size())
	s.pending = nil
	if why == EndVanished || why == EndInternal {
		s.conn.Abort()
	}
	s.Answer(s.proto.LastWords(why)) // behind all that was in the rooms
	s.set(isEnding)
	if r := s.reader.Load(); r != nil {
		r.Ending()
	}
	closed := s.drainAll()
	s.svc.log.Info("session ended", "door", s.door.Name(), "nick", s.proto.Nick(), "remote", s.remote, "cause", string(why))
	for _, m := range s.allMembers() {
		if !m.isDrained() { // it has just arrived
			m.setDrained()
		}
		s.closeMember(m)
	}
	s.svc.queue.remove(s)
	s.svc.mu.Lock()
	delete(s.svc.roomsSessions, s)
	s.svc.mu.Unlock()
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.proto.Closed()
	s.svc.releaseConn(s.remote.Addr())
	s.endReader(why)
	if !closed {
		s.svc.log.Error("connection cannot be closed: a write does not return", "remote", s.remote)
		return
	}
	s.svc.engine.BeginClose()
	defer s.svc.engine.EndClose()
	s.conn.Close(s.peerClosed)
}

// drainAll waits until everything is written, as long as the client reads. It returns false if a
// goroutine has the write lock even after the connection was broken.
func (s *RoomsSession) drainAll() bool {
	s.flushAll()
	aborted := false
	took := uint64(0)
	for began, at, wrote := time.Now(), time.Now(), s.written.Load(); !s.is(isFinished); s.flushAll() {
		s.WaitSignal(min(drainTime, 100*time.Millisecond))
		now, here := s.written.Load(), time.Since(began)
		took += uint64(now - wrote)
		if now != wrote && s.svc.stop.Err() == nil && mayDrain(took, drainTime, here, here) {
			at = time.Now()
		}
		wrote = now
		switch stuck := time.Since(at); {
		case !aborted && stuck > drainTime:
			aborted = true
			s.conn.Abort()
		case stuck > 3*drainTime:
			return false
		}
	}
	return true
}

// allMembers returns the members that are not closed.
func (s *RoomsSession) allMembers() []*Member {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append(slices.Clone(s.members), s.leaving...)
}

// location, connectedAt and the others make the session a nonMember: its connection has no place in a
// single room.
func (s *RoomsSession) location() (*Room, netip.AddrPort) { return nil, s.remote }
func (s *RoomsSession) connectedAt() time.Time            { return s.since }
func (s *RoomsSession) HungUp() bool                      { return !s.hasEnded() && s.conn.HungUp() }
func (s *RoomsSession) evict()                            { s.End(EndEvicted) }

func (s *RoomsSession) info() ConnInfo {
	var rooms []string
	for _, m := range s.Members() {
		rooms = append(rooms, m.room.name())
	}
	return ConnInfo{Remote: s.remote.String(), State: s.door.Name(), Room: strings.Join(rooms, " "), Nick: s.proto.Nick(), Since: s.since.UTC()}
}

// terminate ends the session if there is a reason: a ban in all rooms, the end of the server once the
// members have ended, or an upgrade that leaves the connection behind.
func (s *RoomsSession) terminate() {
	switch {
	case s.svc.banned(0, s.remote.Addr(), "") != nil:
		s.End(EndBanned)
	case s.svc.stop.Err() != nil:
		if len(s.Members()) == 0 {
			s.End(EndStopping)
		}
	case s.svc.engine.IsAbandoned():
		s.End(EndUpgrade)
	}
}

func (s *RoomsSession) abort() bool {
	s.mu.Lock()
	first := !s.aborted && !s.closed
	s.aborted = true
	s.mu.Unlock()
	if first {
		s.breakConn()
		s.End(EndKicked)
	}
	return first
}

// lockRooms locks the rooms of members, in the order that everybody has who locks several.
func (s *Service) lockRooms(members []*Member) (unlock func()) {
	s.mu.Lock() // one at a time: so no order of the rooms is needed
	for _, m := range members {
		m.room.mu.Lock()
	}
	s.mu.Unlock()
	return func() {
		for _, m := range members {
			m.room.mu.Unlock()
		}
	}
}

// announceOnce announces an event of a person in all of its rooms, which are locked. Sessions that
// are in several of them see it once, and except does not see it.
func announceOnce(rooms []*Room, except *output, announce func(*Room)) {
	seen := map[*output]bool{except: true}
	for _, r := range rooms {
		r.skipSeen(seen)
		announce(r)
	}
}

// skipSeen has the sessions that have seen an event in another room not see it in this one, where it is
// announced next, and notes the others. mu is held.
func (r *Room) skipSeen(seen map[*output]bool) {
	for _, m := range r.members {
		if m.reads < roomlog.IRC {
			continue
		}
		if seen[m.out] {
			end := r.log.End()
			m.mu.Lock()
			if !m.ended && !m.drained && m.acceptsInsertLocked() { // else a client that does not read may see it twice
				m.insertLocked(insert{kind: skip, at: end, seq: end.Seq})
			}
			m.mu.Unlock()
		}
		seen[m.out] = true
	}
}

// otherRoomsWith returns the other rooms in which a member has one of two nicks; nil if no session in
// several rooms may be in this one.
func (r *Room) otherRoomsWith(key, other string) (all []*Room) {
	if len(r.svc.doors) == 0 || !r.isReadByDoors() {
		return nil
	}
	for _, o := range r.svc.allRooms() {
		if o != r && o.hasNick(key, other) {
			all = append(all, o)
		}
	}
	return all
}

func (r *Room) isReadByDoors() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.ContainsFunc(r.reads.of[roomlog.IRC:], func(n int) bool { return n > 0 })
}

func (r *Room) hasNick(key, other string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.nicks[key] != nil || r.nicks[other] != nil
}

func (m *Member) acceptsInsert() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.acceptsInsertLocked()
}

// announceRename announces the new nick of a member of this room alone. Sessions that are in one of
// the rooms elsewhere, where somebody else has the old nick or the new one, see that a member leaves
// and another one joins, unless they do not read: for their clients a nick is one person in all rooms.
// mu is held.
func (r *Room) announceRename(ev wire.Event, elsewhere []*Room) {
	var viewers []*Member
	if len(elsewhere) > 0 {
		for _, m := range r.members {
			if m.reads >= roomlog.IRC && slices.ContainsFunc(m.out.session().(*RoomsSession).Members(), func(o *Member) bool { return slices.Contains(elsewhere, o.room) }) && m.acceptsInsert() {
				viewers = append(viewers, m)
			}
		}
	}
	end := r.log.End()
	for _, m := range viewers {
		m.queue(insert{kind: skip, seq: end.Seq})
	}
	r.announce(ev)
	at := time.Now()
	for _, m := range viewers {
		m.answer(
			wire.Event{Time: at, Type: wire.TypeLeave, From: ev.From, Parted: true, Members: len(r.members) - 1},
			wire.Event{Time: at, Type: wire.TypeJoin, From: ev.Nick, Members: len(r.members)})
	}
}

// Rename gives all members of the session another nick, or none of them. The others see one event.
// The client is not told. The error is a *wire.Error.
func (s *RoomsSession) Rename(n wire.Name) error {
	members := s.Members()
	defer s.svc.lockRooms(members)()
	var rooms []*Room
	old := n
	for _, m := range members {
		if m.cause != "" {
			continue
		}
		if err := m.mayTakeNick(n); err != nil {
			return wire.Errorf(err.(*wire.Error).Code, "%s: %s", m.room.name(), err.(*wire.Error).Text)
		}
		rooms, old = append(rooms, m.room), m.nick
	}
	for _, m := range members {
		if m.cause == "" {
			m.room.releaseNick(m)
			m.room.claimNick(m, n)
			m.room.roster = nil
		}
	}
	announceOnce(rooms, &s.output, func(r *Room) {
		r.announce(wire.Event{Type: wire.TypeNick, From: old.Shown, Nick: n.Shown})
		r.svc.Publish(Event{Type: "nick", Room: r.name(), Member: old.Shown, Remote: s.remote.String(), Text: n.Shown})
	})
	return nil
}

// Quit ends all members of the session, with one event for those who are in several of their rooms.
func (s *RoomsSession) Quit(reason string) {
	s.quit(CauseLeft, reason)
}

func (s *RoomsSession) endAll(why EndReason) { s.quit(why.cause(), string(why)) }

func (s *RoomsSession) quit(c Cause, reason string) {
	members := s.Members()
	defer s.svc.lockRooms(members)()
	var rooms []*Room
	by := make(map[*Room]*Member)
	for _, m := range members {
		if m.endLocked(c) {
			rooms, by[m.room] = append(rooms, m.room), m
		}
	}
	announceOnce(rooms, &s.output, func(r *Room) { r.announceLeaveOf(by[r], reason, false) })
}

// Leave ends one member, with a reason for the others, and forgets what the client has of the room. Its
// farewell goes through label, unless that is nil.
func (m *Member) Leave(reason string, label Label) {
	m.room.mu.Lock()
	defer m.room.mu.Unlock()
	if m.endLabeled(CauseLeft, label) {
		m.room.announceLeaveOf(m, reason, true)
	}
	if r := m.reader(); r != nil {
		r.Leave(m.room.id)
	}
}

// Room returns the name and the ID of the member's room. Any goroutine may call it.
func (m *Member) Room() Place { return m.room.place() }

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

// labeledLine is the owner of a line with a label in the store.
type labeledLine struct {
	member *Member
	label  Label
}

// Say submits a line: see Protocol.Line for wait. The answer, which is the line in the member's
// stream, nothing after HideOwn, or a refusal, goes through label, unless that is nil.
func (m *Member) Say(kind Kind, text string, label Label, wait bool) bool {
	if ok, ended := m.withinBounds(maxInFlight); !ok && !ended && (!wait || !m.awaitBounds(maxInFlight) && !m.hasEnded()) {
		return false
	}
	return m.submit(kind, text, label, wait)
}

// Topic returns the topic of the member's room. Any goroutine may call it.
func (m *Member) Topic() string { return locked(&m.room.mu, &m.room.topic) }

// SetFormat has the member read another format of the log from this place on.
func (m *Member) SetFormat(f roomlog.Format) { m.readFormat(f) }

// HasRoom reports whether there is a room with that folded name. Any goroutine may call it.
func (s *Service) HasRoom(key string) bool {
	_, err := s.room(key)
	return err == nil
}

// LineBytes returns the length of the longest line that a room takes.
func (s *Service) LineBytes() int { return s.opts().LineBytes }

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

// Neighbours returns the protocols of the other sessions that are in one of the session's rooms, each
// once. Any goroutine may call it.
func (s *RoomsSession) Neighbours() (all []Protocol) {
	seen := map[*output]bool{&s.output: true}
	for _, m := range s.Members() {
		m.room.mu.Lock()
		for _, o := range m.room.members {
			if o.reads >= roomlog.IRC && !seen[o.out] {
				seen[o.out] = true
				all = append(all, o.out.session().(*RoomsSession).proto)
			}
		}
		m.room.mu.Unlock()
	}
	return all
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

// Join is a request of a session to enter a room.
type Join struct {
	Room, Password string
	Nick           wire.Name
	Format         roomlog.Format
	HideOwn        bool
	Create         bool // the room if it is not there, and clients may create rooms
	// Resume is for how long a client finds its place in a room again, if the session has a reader
	// (RoomsSession.SetReader); 0: its place is neither looked for nor kept.
	Resume time.Duration
	// Greet returns what the member gets first. Room.mu is held: it must be quick, and must not call
	// the Service.
	Greet func(Welcome) []Part
}

// Welcome is a room as a new member finds it.
type Welcome struct {
	Place
	Topic   string
	Members int
	Newest  uint64 // the sequence number of the newest line
	Removed uint64 // the sequence number up to which lines are not kept any more
	Lines   uint64 // that are kept
	Replay  int    // how many lines a new member is to get

	// Known says that the reader was here within Join.Resume, and did not leave for good: it has the
	// lines up to After, as of Since.
	Known bool
	After uint64
	Since time.Time
}

// start returns the place at which a new member begins: it has the lines up to there, or does not get
// them.
func (w *Welcome) start(parts []Part) uint64 {
	if w.Known {
		return w.After
	}
	for _, p := range parts {
		if r := p.Replay; r != nil && r.Newest > 0 {
			return max(w.Removed, w.Newest-min(w.Newest, uint64(r.Newest)))
		} else if r != nil {
			return r.After
		}
	}
	return w.Newest
}

// SetReader names the client as a reader of rooms: it is the same one that had the key before, in
// another session. It is called once, before the first Join; the key has 1 to store.MaxReaderBytes
// bytes. What the client has got of the rooms is kept from then on, where Join.Resume says so.
func (s *RoomsSession) SetReader(key string) { s.setReader(s.svc.readers.New(key, s.conn)) }

func (s *RoomsSession) setReader(r *readers.Reader) {
	s.reader.Store(r)
	s.set(hasReader)
}

// reader returns the reader that a member writes to; nil: there is none.
func (m *Member) reader() *readers.Reader {
	if !m.out.is(hasReader) {
		return nil
	}
	return m.out.session().(*RoomsSession).reader.Load()
}

// noteReader tells the reader how far it is written for. The caller has the write lock.
func (m *Member) noteReader() {
	seq, old := m.cursor.Seq, false
	if p := m.replay; p != nil && p.roster == nil {
		seq, old = p.after, true
	}
	m.reader().Wrote(m.room.id, seq, old, m.out.written.Load(), len(m.out.unsent))
}

// noteWritten tells a reader of bytes that no member has written.
func (s *RoomsSession) noteWritten(r *readers.Reader) {
	r.Wrote(0, 0, false, s.written.Load(), len(s.unsent))
}

// endReader saves what the client has, when its kernel has acknowledged everything or lets it wait.
func (s *RoomsSession) endReader(why EndReason) {
	r := s.reader.Load()
	if r == nil {
		return
	}
	s.noteWritten(r)
	_, known := s.conn.Unacked()
	clean := why != EndVanished && why != EndInternal && !s.is(isReset)
	for began := time.Now(); clean && known && !r.IsAcked() && !s.conn.WasReset() && time.Since(began) < ackTime; {
		s.WaitSignal(ackPoll)
	}
	r.End(clean && !known)
}

const (
	// ackTime is how long the acknowledgement of the last bytes is waited for, and ackPoll how often
	// the kernel is asked: it does not tell by itself.
	ackTime = time.Second
	ackPoll = 5 * time.Millisecond
)

// JoinError is why a client cannot enter a room.
type JoinError struct {
	Reason RefusalReason
	Text   string // a sentence
}

func (e *JoinError) Error() string { return e.Text }

// ErrWait is returned where something has to wait and must not.
var ErrWait = errMustWait

// Join makes a member of the session in a room. The error is a *JoinError, a *wire.Error of
// CodeNoRoom or CodeBadName, or ErrWait: the room has a password, which takes time, and wait is
// false, or the server is to be suspended.
func (s *RoomsSession) Join(j Join, wait bool) (*Member, error) {
	for {
		if m, err := s.enter(j, wait); err != errVacating {
			return m, err
		}
	}
}

// errVacating is the error for a room that is being deleted because it is unused.
var errVacating = errors.New("the room is being deleted")

// enter is Join, and fails with errVacating instead of ErrWait where it can be made again.
func (s *RoomsSession) enter(j Join, wait bool) (*Member, error) {
	r, err := s.svc.room(j.Room)
	if err != nil && j.Create {
		if r, err = s.create(j.Room, wait); err == nil {
			defer func() { // if it cannot be entered
				r.mu.Lock()
				defer r.mu.Unlock()
				r.deleteIfUnused()
			}()
		}
	}
	if err != nil {
		return nil, err
	}
	if err := s.checkPassword(r, j.Password, wait); err != nil {
		return nil, err
	}
	if !s.awaitLeft(r, wait) {
		return nil, ErrWait
	}
	var w Welcome
	reader := s.reader.Load()
	if reader != nil && j.Resume > 0 {
		if !reader.AwaitEnding(s.svc.engine.Suspending()) {
			return nil, ErrWait
		}
		w.After, w.Since, w.Known = s.svc.readers.Last(reader, r.id, j.Resume) // before Room.mu: it reads the store
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if why, text := r.refuses(s.remote); text != "" {
		if r.vacating && j.Create {
			return nil, errVacating
		}
		s.svc.publishRefusal(r.name(), s.remote, why, text)
		return nil, &JoinError{why, sentence(text)}
	}
	m := &Member{}
	m.init(r, &s.output, j.Nick)
	m.reads, m.format, m.hideOwn = j.Format, j.Format, j.HideOwn
	if err := m.mayTakeNick(j.Nick); err != nil {
		s.svc.uncounted.Add(1)
		return nil, &JoinError{RefusalReason(err.(*wire.Error).Code), err.(*wire.Error).Text}
	}
	r.unclosed.Add(1)
	r.addMember(m)
	m.unannounced.Store(true)
	s.mu.Lock()
	s.members = append(s.members, m)
	s.mu.Unlock()
	r.announceJoin(m) // before its cursor is set: it does not see the event
	m.moveTo(r.log.End())
	st, _ := s.svc.store.Stat(r.id)
	w.Place, w.Topic, w.Members, w.Replay = m.place(), r.topic, len(r.members), r.replayLines()
	w.Newest, w.Removed, w.Lines = m.cursor.Seq, st.Removed, st.Lines
	w.After = min(w.After, w.Newest)
	parts := j.Greet(w)
	m.queueParts(parts)
	if reader != nil && j.Resume > 0 {
		reader.Enter(r.id, w.start(parts))
		m.queue(insert{kind: begun})
	}
	s.mu.Lock()
	s.arrivals = append(s.arrivals, m) // from here on the holder of the write lock owns its cursor
	s.mu.Unlock()
	if s.set(hasNews); s.is(isFinished) {
		s.discard()
	}
	return m, nil
}

// awaitLeft waits until the client has got all of a member that it had in the room before: the end of
// that one must not come behind the new one's beginning. False is as of AwaitTurn.
func (s *RoomsSession) awaitLeft(r *Room, wait bool) bool {
	drains := func() bool {
		s.mu.Lock()
		leaving := slices.Clone(s.leaving)
		s.mu.Unlock() // Member.mu comes before it
		return slices.ContainsFunc(leaving, func(m *Member) bool { return (m.room == r || m.room.key() == r.key()) && !m.isDrained() })
	}
	for drains() {
		signal := s.signals()
		if s.flushAll(); !drains() {
			break
		}
		if !wait || s.hasEnded() || s.svc.engine.Suspended() {
			return false
		}
		<-signal
	}
	return true
}

// create makes a provisional room that is not there, as CREATE at the master port does.
func (s *RoomsSession) create(name string, wait bool) (*Room, error) {
	n, err := wire.ParseName(name)
	if err != nil {
		return nil, err
	}
	if !s.svc.opts().CreateAnyone {
		return nil, wire.Errorf(wire.CodeDenied, "there is no room of that name, and only the operator creates rooms")
	}
	if !wait || !s.AwaitTurn(4, true) {
		return nil, ErrWait
	}
	for {
		if err := s.awaitDeletion(n.Key); err != nil {
			return nil, err
		}
		end, ok := s.svc.engine.TryBeginChange()
		if !ok {
			return nil, ErrWait
		}
		_, _, err = s.svc.Create(name, Creation{Addr: s.remote.String(), Door: s.door.Name(), Provisional: true})
		end()
		if r, again := s.svc.room(name); again == nil { // somebody else may have been quicker
			return r, nil
		}
		if code, _, _ := ClientError(err); err != nil && (code != wire.CodeExists || s.svc.keyed(n.Key) == nil) {
			return nil, err
		}
		if !s.svc.sleep(createInterval) {
			return nil, wire.Errorf(wire.CodeShuttingDown, "the server is stopping")
		}
	}
}

// createInterval is how often a session looks at a room that another one is creating.
const createInterval = time.Millisecond

// awaitDeletion waits until no room of a folded name is being deleted.
func (s *RoomsSession) awaitDeletion(key string) error {
	for r := s.svc.keyed(key); r != nil && !r.work.idle(); r = s.svc.keyed(key) {
		select {
		case <-r.work.done():
		case <-s.svc.engine.Suspending():
			return ErrWait
		}
	}
	return nil
}

// keyed returns the room of a folded name, in any state; nil: there is none.
func (s *Service) keyed(key string) *Room {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.rooms[key]
}

// checkPassword checks a room's password as its port does.
func (s *RoomsSession) checkPassword(r *Room, text string, wait bool) error {
	p := r.password.Load()
	if p == nil {
		return nil
	}
	if !wait {
		return ErrWait
	}
	text, _ = wire.ParsePassword(text)
	err := s.svc.guesses.Check(s.svc.stop, s.svc.engine.Suspending(), p, s.remote.Addr(), text)
	var throttled passwd.Throttled
	var wrong passwd.Wrong
	q := &s.svc.queue
	switch {
	case err == nil:
		q.right.Add(1)
		r.rememberAddr(s.remote.Addr())
		return nil
	case errors.Is(err, passwd.ErrSuspended):
		return ErrWait
	case errors.As(err, &throttled):
		q.throttled.Add(1)
		return &JoinError{RefusedPassword, string(throttled)}
	case errors.As(err, &wrong):
		q.wrong.Add(1)
		s.svc.log.Info("wrong password", "room", r.name(), "remote", s.remote, "next_after", wrong.Next)
		return &JoinError{RefusedPassword, wrong.Error()}
	case s.svc.stop.Err() == nil:
		s.svc.log.Error("password cannot be compared", "room", r.name(), "error", err)
	}
	return &JoinError{RefusedPassword, "the server could not compare the password"}
}

// mayTakeNick returns why the member cannot have a nick in its room; nil: it can. Room.mu is held.
func (m *Member) mayTakeNick(n wire.Name) error {
	r := m.room
	if other := r.nicks[n.Key]; other != nil && other != m {
		return wire.Errorf(wire.CodeExists, "somebody here is called %s already", other.nick.Shown)
	}
	own := wire.Name{}
	if r.nicks[m.nick.Key] == m {
		own = m.nick
		if m.activeMute() != nil && n.Key != m.nick.Key && !m.unannounced.Load() { // before its join is announced no member sees it
			return wire.Errorf(wire.CodeDenied, "you are muted: you keep your name")
		}
	}
	if r.svc.banned(r.id, netip.Addr{}, n.Key) != nil {
		return wire.Errorf(wire.CodeDenied, "that name is banned here")
	}
	if r.confusables.HasConfusable(n, own) {
		return wire.Errorf(wire.CodeExists, "%s looks like the name of somebody here, in another script", n.Shown)
	}
	return nil
}

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

	"roomd/netsvc/readers"
	"roomd/netsvc/roomlog"
	"roomd/netsvc/transport"
	"roomd/netsvc/wire"
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
	EndReplaced EndReason = "replaced" // by another session of the same client
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
	began int64 // nanoseconds since 1970

	reader atomic.Pointer[readers.Reader] // nil: nothing is kept of what the client has

	// Owned by the holder of the read lock.
	framer     wire.Framer
	pending    *pendingLines
	allowance  int64 // as in lineSession
	unpaid     uint16
	peerClosed bool

	admitted bool // mu guards this and what follows
	aborted  bool
	closed   bool       // the conn is closed, or about to be
	mu       sync.Mutex // comes after Member.mu
	members  []*Member  // have not ended
	*passing
}

// passing is the part of a session that it only has while something goes on. All idle sessions share
// nothingPassing, which is never written to: whoever changes a field calls pass before, and settle where
// it may be the last one.
type passing struct {
	leaving  []*Member // have ended and are not closed
	arrivals []*Member // are not in the output yet
	cut      []*Member // are to be taken out of the output before they are drained
	answers  []*delayedAnswer
	ready    []byte    // written as soon as possible; Service.insertBytes counts it
	why      EndReason // empty: the session has not ended
}

var nothingPassing passing

// pass returns the part of the session that may be changed. mu is held.
func (s *RoomsSession) pass() *passing {
	if s.passing == &nothingPassing {
		s.passing = new(passing)
	}
	return s.passing
}

// settle drops the part of the session that it does not need any more. mu is held.
func (s *RoomsSession) settle() {
	if p := s.passing; len(p.leaving)+len(p.arrivals)+len(p.cut)+len(p.answers)+len(p.ready) == 0 && p.why == "" {
		s.passing = &nothingPassing
	}
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
		s.addReadyLocked(s.answers[0].bytes, true)
		if s.answers = s.answers[1:]; len(s.answers) == 0 {
			s.answers = nil
			s.settle() // nothing is ready if the output is finished
		}
	}
}

// Service returns the server. Any goroutine may call it.
func (s *RoomsSession) Service() *Service { return s.svc }

// Remote returns the address of the client. Any goroutine may call it.
func (s *RoomsSession) Remote() netip.AddrPort { return s.remote }

// Frames returns the connection of a session that BeginSession has begun. It is for Door.Begin.
func (s *RoomsSession) Frames() FrameConn { return s.conn.Frames() }

// DeclareDead says that the client does not answer any more: the connection is broken, and the session
// ends. Any goroutine may call it.
func (s *RoomsSession) DeclareDead() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		s.declareDead()
	}
}

// Replace ends another session of the same client, and returns when its nick is free and all that it has
// said is in its rooms. False is as of AwaitTurn.
func (s *RoomsSession) Replace(old *RoomsSession, wait bool) bool {
	if !wait {
		return false
	}
	members := old.allMembers()
	old.End(EndReplaced)
	old.endAll(EndReplaced)
	for _, m := range members {
		for locked(&m.mu, &m.inFlight) > 0 {
			if s.hasEnded() || s.svc.engine.Suspended() {
				return false
			}
			s.WaitSignal(time.Millisecond)
		}
	}
	return true
}

// IsTLS reports whether the connection is behind TLS. It is for Door.Begin.
func (s *RoomsSession) IsTLS() bool { return s.conn.IsTLS() }

// Since returns when the client connected. Any goroutine may call it.
func (s *RoomsSession) Since() time.Time { return time.Unix(0, s.began) }

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

// Reply is Tell for the answer to the line at hand, which AwaitTurn has waited for: it is not refused.
func (s *RoomsSession) Reply(b []byte) {
	s.addReady(b)
	s.flushAll()
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
	s.addReadyLocked(b, false)
}

// addReadyLocked is addReady; with own the bytes are the session's. mu is held.
func (s *RoomsSession) addReadyLocked(b []byte, own bool) {
	if len(b) == 0 || s.is(isFinished) {
		return
	}
	if p := s.pass(); own && p.ready == nil {
		p.ready = b
	} else {
		p.ready = append(p.ready, b...)
	}
	s.svc.insertBytes.Add(int64(len(b)))
	s.set(hasNews)
	if len(s.members) == 0 { // else the room does that
		s.svc.wakeDeadPeerDetection()
	}
}

// takeReady returns the answers that are ready, and forgets them.
func (s *RoomsSession) takeReady() (b []byte) {
	s.mu.Lock()
	if b = s.ready; len(b) > 0 {
		s.ready = nil
		s.settle()
	}
	s.mu.Unlock()
	if len(b) > 0 {
		s.svc.insertBytes.Add(-int64(len(b)))
		s.Signal() // the reader may wait for that
	}
	return b
}

// Answer queues bytes behind everything that is in the session's rooms now, and behind the answers
// before. They are the session's from then on.
func (s *RoomsSession) Answer(b []byte) {
	a := &delayedAnswer{bytes: b, left: 1} // until all members have it
	s.mu.Lock()
	all := append(slices.Clone(s.members), s.leaving...)
	p := s.pass()
	p.answers = append(p.answers, a)
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
		s.pass().why = why
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
	p := s.pass()
	p.leaving = append(p.leaving, m)
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
	p := s.pass()
	p.cut = append(p.cut, m)
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
	if b := s.takeReady(); len(s.unsent) == 0 {
		s.unsent = b
	} else {
		s.unsent = append(s.unsent, b...)
	}
}

// takeMembers is takeNews without the answers.
func (s *RoomsSession) takeMembers() {
	arrivals, cut := s.takeArrivals()
	for _, m := range arrivals {
		s.add(m)
	}
	for _, m := range cut {
		s.remove(m)
	}
}

// takeArrivals returns the members that are to come into the output and out of it, and forgets them.
func (s *RoomsSession) takeArrivals() (arrivals, cut []*Member) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if arrivals, cut = s.arrivals, s.cut; len(arrivals)+len(cut) > 0 {
		s.arrivals, s.cut = nil, nil
		s.settle()
	}
	return arrivals, cut
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
	if s.is(isFramed) {
		return s.writeRest()
	}
	return idle
}

// discard drops what nobody can be told any more: the output is finished. Members that have arrived
// meanwhile get nothing.
func (s *RoomsSession) discard() {
	s.takeReady()
	arrivals, _ := s.takeArrivals()
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
			if s.is(isFramed) {
				_, _ = s.write(m.placeInStream().Name, m.farewell()) // an error is met again by the next write
			} else {
				s.addReady(m.farewell())
			}
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
		s.settle()
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

func (s *RoomsSession) connectedAt() time.Time { return s.Since() }

func (s *RoomsSession) HungUp() bool { return !s.hasEnded() && s.conn.HungUp() }

func (s *RoomsSession) evict() { s.End(EndEvicted) }

func (s *RoomsSession) info() ConnInfo {
	var rooms []string
	for _, m := range s.Members() {
		rooms = append(rooms, m.room.name())
	}
	return ConnInfo{Remote: s.remote.String(), State: s.door.Name(), Room: strings.Join(rooms, " "), Nick: s.proto.Nick(), Since: s.Since().UTC()}
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

// HasRoom reports whether there is a room with that folded name. Any goroutine may call it.
func (s *Service) HasRoom(key string) bool {
	_, err := s.room(key)
	return err == nil
}

// LineBytes returns the length of the longest line that a room takes.
func (s *Service) LineBytes() int { return s.opts().LineBytes }

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

// SetReader names the client as a reader of rooms: it is the same one that had the key before, in
// another session. It is called once, before the first Join; the key has 1 to store.MaxReaderBytes
// bytes. What the client has got of the rooms is kept from then on, where Join.Resume says so.
func (s *RoomsSession) SetReader(key string) { s.setReader(s.svc.readers.New(key, s.conn)) }

// AliasReader says under which other key the client may come back; empty: none.
func (s *RoomsSession) AliasReader(key string) { s.reader.Load().SetAlias(key) }

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

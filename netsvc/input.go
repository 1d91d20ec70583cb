package netsvc

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"io"
	"log/slog"
	"math"
	"net/netip"
	"syscall"
	"time"

	"roomd/netsvc/roomlog"
	"roomd/netsvc/transport"
	"roomd/netsvc/wire"
	"roomd/store"
)

// pendingLines is input that was read and has to wait: a line, and what came behind
// it.
type pendingLines struct {
	line []byte
	over int
	rest []byte
}

// limitedRead is how many bytes are read at a time from a member that has an
// allowance: they may have to wait until the allowance is whole again, and
// thousands of members may flood at once.
const limitedRead = 4 << 10

// maxRead is how many bytes of a member are read at a time.
func (s *Service) maxRead() int {
	if s.opts().limitsLines() {
		return limitedRead
	}
	return math.MaxInt
}

func (l *pendingLines) size() int64 {
	if l == nil {
		return 0
	}
	return int64(len(l.line) + len(l.rest))
}

// handleInput handles what was read, as far as that can be done without waiting. If
// that is not all, the rest is the member's leftover and taken is false: then
// readOn must follow, in a goroutine that may wait. The caller has the read lock.
func (s *lineSession) handleInput(p []byte) (c Cause, taken bool) {
	for {
		line, over, rest, ok := s.nextLine(p)
		if !ok {
			return "", true
		}
		c, ok := s.handleLine(line, over, false)
		if !ok {
			s.pending = &pendingLines{bytes.Clone(line), over, bytes.Clone(rest)}
			s.member.room.svc.engine.AddPending(s.pending.size())
			return "", false
		}
		if c != "" {
			return c, true
		}
		p = rest
	}
}

// resumeInput handles the leftover, waiting for what that needs. If the server is to be
// suspended the rest stays. The caller has the read lock.
func (s *lineSession) resumeInput() (c Cause) {
	if s.pending == nil {
		return ""
	}
	held := s.pending.size()
	defer func() { s.member.room.svc.engine.AddPending(s.pending.size() - held) }()
	for s.pending != nil && c == "" {
		ok := false
		if c, ok = s.handleLine(s.pending.line, s.pending.over, true); !ok {
			return ""
		}
		line, over, rest, ok := s.nextLine(s.pending.rest)
		if !ok {
			s.pending = nil
			break
		}
		s.pending.line, s.pending.over, s.pending.rest = line, over, rest
	}
	return c
}

// nextLine takes the next line off p, and answers what a telnet client has asked for. What
// comes between lines adds up: when it has the price of a line, ok is true and line is
// nil.
func (s *lineSession) nextLine(p []byte) (line []byte, over int, rest []byte, ok bool) {
	line, over, rest, ok = s.framer.Cut(p)
	n := int(s.unpaid) + chargedBytes(len(p)-len(rest), s.answerTelnet(), ok)
	switch {
	case ok && (over > 0 || !wire.IsBlank(line)):
		s.unpaid = 0
	case n >= limitedRead:
		s.unpaid = 0
		return nil, 0, rest, true
	default:
		s.unpaid = uint16(n)
	}
	return line, over, rest, ok
}

// answerTelnet answers what a telnet client has asked for, if it takes answers at
// all: nobody waits for that. It reports whether there was something.
func (s *lineSession) answerTelnet() bool {
	refusals, there := s.framer.TelnetRequests()
	if len(refusals) == 0 && !there {
		return false
	}
	if ok, _ := s.member.withinBounds(math.MaxInt); !ok {
		return true
	}
	if len(refusals) > 0 {
		s.member.queue(insert{kind: answer, bytes: refusals})
	}
	if there {
		s.member.answer(wire.Event{Type: wire.TypeNotice, Text: s.member.room.name() + ": " + telnetReply})
	}
	return true
}

// telnetReply answers a telnet client that asks whether anybody is there.
const telnetReply = "the server is here"

// handleEndOfInput handles the end of the input, and returns the cause of the member's
// end. What was sent before it is said before the member leaves. If the server is
// to be suspended it returns false, and must be called again. The caller has
// reading, and may wait.
func (s *lineSession) handleEndOfInput(err error) (c Cause, ok bool) {
	// A reset may have cut the last line short, unless the peer had closed its
	// side before: Linux tells that by EPIPE.
	for !s.member.isDrained() && s.conn.Writing() && s.conn.WasReset() {
		s.WaitSignal(time.Millisecond) // a write is just meeting the reset
	}
	if endsByReset(err) {
		s.set(isReset) // if this call is repeated, err is io.EOF
	}
	if c = causeVanished; errors.Is(err, io.EOF) && !s.is(isReset) {
		s.peerClosed = true
		c = causeLeft
	}
	if s.is(isDead) {
		c = causeDeadPeer
	}
	whole := (errors.Is(err, io.EOF) || errors.Is(err, syscall.EPIPE)) && !s.is(isReset)
	before := s.framer
	if line, over, ok := s.framer.Tail(); ok && whole {
		why, ok := s.handleLine(line, over, true)
		if !ok {
			s.framer = before
			return "", false
		}
		c = cmp.Or(why, c)
	}
	return c, s.member.awaitBounds(1) || s.member.hasEnded()
}

// withinBounds reports whether fewer than n of the member's lines are in flight and
// what waits for it is within bounds.
func (m *Member) withinBounds(n int) (ok, ended bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return int(m.inFlight) < n && m.acceptsInsertLocked(), m.ended
}

// awaitBounds waits until clear(n). It reports false if the member has ended, or the
// server is to be suspended.
func (m *Member) awaitBounds(n int) bool {
	for {
		wait := m.out.signals()
		switch ok, ended := m.withinBounds(n); {
		case ended:
			return false
		case ok:
			return true
		case m.room.svc.engine.Suspended():
			return false
		}
		m.out.flushAll()
		<-wait
	}
}

// say submits a line. It comes back by appended or refused. Without wait it
// reports false if the store has no room for it now.
func (m *Member) say(kind store.Kind, text string, wait bool) bool {
	why := ""
	if b := m.activeMute(); b != nil {
		why = muteText(b)
	} else if m.room.settings.Load().ReadOnly {
		why = "the room is read-only"
	}
	if why != "" {
		// A refusal is in its place, too: behind what was said before it.
		switch ok, ended := m.withinBounds(1); {
		case !ok && !ended && !wait, !ok && !ended && !m.awaitBounds(1):
			return false
		case !ended:
			m.refuseLine(kind, why)
		}
		return true
	}
	m.announceNow()
	m.mu.Lock()
	ended := m.ended
	if !ended {
		m.inFlight++
	}
	m.mu.Unlock()
	if ended {
		return true
	}
	p := &store.Post{Room: m.room.id, Line: store.Line{Kind: kind, From: m.nick.Shown, Text: text}, Owner: m}
	ok, err := true, error(nil)
	if wait {
		err = m.room.svc.store.Submit(context.Background(), p)
	} else if ok, err = m.room.svc.store.TrySubmit(p); !ok && err == nil {
		m.room.mu.Lock()
		defer m.room.mu.Unlock()
		m.mu.Lock()
		m.inFlight--
		m.mu.Unlock()
		m.room.releaseNickOfEnded(m) // it may have been kicked meanwhile
		return false
	}
	if err != nil {
		p.Err = err
		m.room.mu.Lock()
		defer m.room.mu.Unlock()
		m.lineRejected(p)
		m.room.releaseNickOfEnded(m)
	}
	return true
}

// muteText says why a member may not speak.
func muteText(b *store.Ban) string { return "you are muted" + untilText(b) }

// refuseLine answers a line that may not be said.
func (m *Member) refuseLine(kind store.Kind, why string) {
	m.answer(wire.Event{Type: wire.TypeError, Command: commandFor(kind), Code: wire.CodeDenied, Text: wire.NotSent + why})
}

// commandFor is the command that says a line of that kind.
func commandFor(kind store.Kind) string {
	switch kind {
	case store.Action:
		return "me"
	case store.Topic:
		return "topic"
	}
	return "say"
}

// lineAppended puts a line of this member into the log. Room.mu is held.
func (m *Member) lineAppended(log *roomlog.Log, l *store.Line, e roomlog.Event) {
	m.mu.Lock()
	defer m.mu.Unlock()
	before := log.Append(e)
	if !m.ended {
		// In one section with the append: the writer must not read the line
		// before it knows that it is to be left out, or what comes behind it.
		if m.hideOwn && !m.drained {
			m.insertLocked(insert{kind: skip, at: before, seq: e.Seq})
		}
		if l.Kind != store.Message && !m.drained {
			// A person sees the line, which is answer enough.
			if ok := formats[m.reads].render(nil, okFor(commandFor(l.Kind), "")); len(ok) > 0 {
				m.insertLocked(insert{kind: answer, at: log.End(), bytes: ok})
			}
		}
	}
	m.inFlight--
	m.lines.Add(1)
	m.lastLine.Store(l.Time.UnixMicro())
	m.out.Signal()
}

// lineRejected answers a line that the store did not take.
func (m *Member) lineRejected(p *store.Post) {
	code := wire.CodeInternal
	if errors.Is(p.Err, store.ErrNoRoom) {
		code = wire.CodeNoRoom
	} else if errors.Is(p.Err, store.ErrClosed) {
		code = wire.CodeShuttingDown
	}
	m.answer(wire.Event{Type: wire.TypeError, Command: commandFor(p.Line.Kind), Code: code, Text: wire.NotSent + storeErrorText(p.Err)})
	m.mu.Lock()
	m.inFlight--
	m.mu.Unlock()
	m.out.Signal()
	m.room.wake()
}

// lineSession is the session of a conn to a room's port, and the handler of the conn: it cuts
// the input into lines, makes them wait for the allowance, and hands them to its one member. It
// ends with that.
type lineSession struct {
	output
	member Member

	// Owned by the holder of the read lock.
	framer     wire.Framer
	pending    *pendingLines // input that has to wait
	allowance  int64         // when the allowance is whole again, in nanoseconds of uptime
	unpaid     uint16        // bytes read since the last line end, or since they were paid for
	begun      bool          // a first line has been seen
	raw        bool          // after /raw
	peerClosed bool
}

// newLineSession makes a session with a member for a room, which it has not joined yet.
func newLineSession(r *Room, c *transport.Conn, addr netip.AddrPort, nick wire.Name) *lineSession {
	s := &lineSession{output: output{conn: c, remote: addr}, framer: wire.NewFramer(r.svc.opts().LineBytes)}
	s.member.init(r, &s.output, nick)
	s.add(&s.member)
	return s
}

func (s *lineSession) transferable() bool { return s.conn.Transferable() }

// memberEnded has nothing more read.
func (s *lineSession) memberEnded(*Member) { s.conn.StopReading() }

// memberDrained says that the session ends with its member.
func (s *lineSession) memberDrained(*Member) bool { return true }

// Data handles what was read.
func (s *lineSession) Data(p []byte) transport.Outcome {
	switch c, taken := s.handleInput(p); {
	case !taken:
		return transport.Defer
	case c != "":
		s.member.end(c)
		return transport.Stop
	}
	s.flushAll()
	return transport.Continue
}

// Resume handles the pending lines, if there are any.
func (s *lineSession) Resume() transport.Outcome {
	switch c := s.resumeInput(); {
	case c != "":
		s.member.end(c)
		return transport.Stop
	case s.pending != nil:
		return transport.Retry
	}
	s.flushAll()
	return transport.Continue
}

// PeerClosed handles the end of the input.
func (s *lineSession) PeerClosed(err error) transport.Outcome {
	c, ok := s.handleEndOfInput(err)
	if !ok {
		return transport.Retry
	}
	s.member.end(c)
	return transport.Stop
}

// Panicked reports a bug that is met while serving the session.
func (s *lineSession) Panicked(p any, stack []byte) {
	m := &s.member
	m.room.svc.log.Error("panic while serving a member", "room", m.room.name(), "remote", s.remote, "error", p, "stack", string(stack))
	go m.endAfterThaw(causeInternal)
}

// Finish ends the member, if nothing but a bug has, waits until all that is pending is
// written, and closes the connection.
func (s *lineSession) Finish() {
	m := &s.member
	m.endAfterThaw(causeInternal)
	c := m.endCause()
	level := slog.LevelInfo
	if m.unannounced.Load() && (c == causeLeft || c == causeVanished) {
		level = slog.LevelDebug // it was there to see whether somebody listens
	}
	m.room.svc.log.Log(context.Background(), level, "member disconnected", "room", m.room.name(), "nick", m.nick.Shown, "remote", s.remote, "cause", string(c))
	s.disconnect(c)
}

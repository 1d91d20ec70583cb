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

	"roomd/netsvc/ban"
	"roomd/netsvc/roomlog"
	"roomd/netsvc/transport"
	"roomd/netsvc/wire"
	"roomd/store"
)

// lineSession is the session of a conn to a room's port, and the handler of the conn: it cuts the
// input into lines, makes them wait for the allowance, and hands them to its one member. It ends
// with its member.
type lineSession struct {
	output
	member Member

	// Owned by the holder of the read lock.
	framer     wire.Framer
	pending    *pendingLines // input that has to wait
	allowance  int64         // when the allowance is whole again, in nanoseconds of uptime
	unpaid     uint16        // bytes since the last line with text that the rate limit has not counted yet
	begun      bool          // a first line has been seen
	raw        bool          // after /raw
	peerClosed bool
}

// newLineSession makes a session with a member that has not joined the room yet.
func newLineSession(r *Room, c *transport.Conn, addr netip.AddrPort, nick wire.Name) *lineSession {
	s := &lineSession{output: output{conn: c, remote: addr}, framer: wire.NewFramer(r.svc.opts().LineBytes)}
	s.member.init(r, &s.output, nick)
	s.add(&s.member)
	return s
}

// pendingLines is input that was read and not handled yet: a line, and the bytes behind it.
type pendingLines struct {
	line []byte
	over int
	rest []byte
}

// limitedRead is how many bytes are read at a time from a session with an allowance. The bytes may
// wait for the allowance, and thousands of sessions may flood at once.
const limitedRead = 4 << 10

// maxRead is how many bytes of a line session are read at a time.
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

// handleInput handles the lines of p until one of them has to wait. Then that line and the bytes
// behind it are pending, handled is false, and resumeInput must follow. The caller has the read
// lock.
func (s *lineSession) handleInput(p []byte) (c Cause, handled bool) {
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

// resumeInput handles the pending lines, and may wait. If the server is to be suspended the rest
// stays pending. The caller has the read lock.
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

// nextLine cuts the next line off p, and answers telnet requests. Bytes between lines are charged:
// when they have the cost of a line, ok is true and line is nil.
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

// answerTelnet answers the requests of a telnet client, if the bounds allow an answer: telnet
// clients do not wait for one. It reports whether there was a request.
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

// telnetReply answers a telnet client that asks whether the server is there.
const telnetReply = "the server is here"

// handleEndOfInput handles the last line and returns the cause of the member's end, once all lines
// of the member are committed. It returns false if the server is to be suspended, and must be
// called again. The caller has the read lock, and may wait.
func (s *lineSession) handleEndOfInput(err error) (c Cause, ok bool) {
	// A reset may have cut the last line short, unless the peer had closed its
	// side before: Linux tells that by EPIPE.
	for !s.member.isDrained() && s.conn.Writing() && s.conn.WasReset() {
		s.WaitSignal(time.Millisecond) // a write may be about to meet the reset
	}
	if endsByReset(err) {
		s.set(isReset) // if this call is repeated, err is io.EOF
	}
	if c = CauseVanished; errors.Is(err, io.EOF) && !s.is(isReset) {
		s.peerClosed = true
		c = CauseLeft
	}
	if s.is(isDead) {
		c = CauseDeadPeer
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

// withinBounds reports whether fewer than n of the member's lines are in flight, and its inserts
// are within their bounds.
func (m *Member) withinBounds(n int) (ok, ended bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return int(m.inFlight) < n && m.acceptsInsertLocked(), m.ended
}

// awaitBounds waits until withinBounds(n). It returns false if the member has ended, or the server
// is to be suspended.
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

// submit submits a line, which may have an ID of its sender and a label; "" and nil: it has none. The
// store answers it with lineAppended or lineRejected. Without wait it returns false if the store has no
// room for the line now.
func (m *Member) submit(kind store.Kind, text, id string, label Label, wait bool) bool {
	why := ""
	if b := m.activeMute(); b != nil {
		why = muteText(b)
	} else if m.room.settings.Load().ReadOnly {
		why = "the room is read-only"
	}
	if why != "" && id == "" {
		// The refusal comes behind the lines that the member said before.
		switch ok, ended := m.withinBounds(1); {
		case !ok && !ended && !wait, !ok && !ended && !m.awaitBounds(1):
			return false
		case !ended:
			m.refuseLine(kind, why, label)
		}
		return true
	}
	if why == "" {
		m.announceNow()
	}
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
	if label != nil || id != "" {
		p.Owner = &labeledLine{m, label, id}
	}
	if id != "" { // the answer to a line that was stored before is the same, whatever refuses it now
		p.ID = m.lineID(id)
		if why != "" {
			p.ID.Refused = wire.Errorf(wire.CodeDenied, "%s", why)
		}
	}
	ok, err := true, error(nil)
	if wait {
		err = m.room.svc.store.Submit(context.Background(), p)
	} else if ok, err = m.room.svc.store.TrySubmit(p); !ok && err == nil {
		m.room.mu.Lock()
		defer m.room.mu.Unlock()
		m.mu.Lock()
		m.inFlight--
		m.mu.Unlock()
		m.room.releaseNickOfEnded(m) // it may have ended meanwhile
		return false
	}
	if err != nil {
		p.Err = err
		m.room.mu.Lock()
		defer m.room.mu.Unlock()
		m.lineRejected(p, label, id)
		m.room.releaseNickOfEnded(m)
	}
	return true
}

// lineID decides whose an ID of a line is: it is one of the member's nick, or a unique one, which is
// good under every nick. A guest's nick may be another guest's tomorrow.
func (m *Member) lineID(id string) *store.LineID {
	switch {
	case wire.IsUniqueID(id):
		return &store.LineID{ID: id}
	case m.nick.IsGuest():
		return &store.LineID{By: m.nick.Key, ID: id, Refused: wire.Errorf(wire.CodeDenied, "a guest's ID has at least 26 letters and digits; /nick takes a name")}
	}
	return &store.LineID{By: m.nick.Key, ID: id}
}

// muteText is the reason why a muted member cannot speak.
func muteText(b *store.Ban) string { return "you are muted" + ban.UntilText(b) }

// refuseLine answers a line that the member may not say.
func (m *Member) refuseLine(kind store.Kind, why string, label Label) {
	m.answerLine(wire.Event{Type: wire.TypeError, Command: commandFor(kind), Code: wire.CodeDenied, Text: wire.NotSent + why}, label)
}

// answerLine answers a line that was not said. The caller has the read lock, or holds Room.mu.
func (m *Member) answerLine(ev wire.Event, label Label) {
	if label == nil {
		m.answer(ev)
		return
	}
	m.queue(insert{kind: answer, bytes: label(m.room.svc.formats[m.reads].Render(nil, m.place(), ev))})
}

// commandFor is the command for a line of that kind.
func commandFor(kind store.Kind) string {
	switch kind {
	case store.Action:
		return "me"
	case store.Topic:
		return "topic"
	case store.Notice:
		return "notice"
	}
	return "say"
}

// lineAppended appends a committed line of the member, which may have an ID, to the log. Room.mu is held.
func (m *Member) lineAppended(log *roomlog.Log, l *store.Line, e roomlog.Event, id string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	before := log.Append(e)
	if !m.ended {
		// The holder of the write lock reads the log under this lock, so it has
		// the insert when it reads the line.
		shown := l.Kind == store.Topic && m.reads >= roomlog.IRC // a client of IRC is told of its own topic, too
		if m.hideOwn && !shown && !m.drained {
			m.insertLocked(insert{kind: skip, at: before, seq: e.Seq})
		}
		if (l.Kind != store.Message || id != "") && !m.drained {
			// The text format answers with the line itself, unless that has an ID.
			ev := okFor(commandFor(l.Kind), "")
			if id != "" {
				ev = okForID(id, l.Seq)
			}
			if ok := m.room.svc.formats[m.reads].Render(nil, m.place(), ev); len(ok) > 0 {
				m.insertLocked(insert{kind: answer, at: log.End(), bytes: ok})
			}
		}
	}
	m.noteSaidLocked(l)
}

// noteSaidLocked counts a line of the member that is in the log. Member.mu is held.
func (m *Member) noteSaidLocked(l *store.Line) {
	m.inFlight--
	m.lines.Add(1)
	m.lastLine.Store(l.Time.UnixMicro())
	m.out.Signal()
}

// labeledAppended is lineAppended for a line with a label: instead of the line in the log the member
// gets what the label makes of it. Room.mu is held.
func (m *Member) labeledAppended(log *roomlog.Log, l *store.Line, e roomlog.Event, label Label) {
	m.mu.Lock()
	defer m.mu.Unlock()
	before := log.Append(e)
	if !m.ended && !m.drained {
		own := e.Rendered[m.reads]
		if m.hideOwn && l.Kind != store.Topic {
			own = nil
		}
		m.insertLocked(insert{kind: skip, at: before, seq: e.Seq})
		m.insertLocked(insert{kind: answer, at: log.End(), bytes: label(own)})
	}
	m.noteSaidLocked(l)
}

func okForID(id string, seq uint64) wire.Event {
	return wire.Event{Type: wire.TypeOK, Command: "id", ID: id, Seq: seq}
}

// lineRejected answers a line that the store has not taken, or has had before, by its ID.
func (m *Member) lineRejected(p *store.Post, label Label, id string) {
	if errors.Is(p.Err, store.ErrStored) {
		m.answerStored(&p.Line, label, id)
	} else {
		m.answerLine(m.rejection(p, id), label)
	}
	m.mu.Lock()
	m.inFlight--
	m.mu.Unlock()
	m.out.Signal()
	m.room.wake()
}

// answerStored answers a line that was stored before: to a client of IRC with the line.
func (m *Member) answerStored(l *store.Line, label Label, id string) {
	ev := okForID(id, l.Seq)
	ev.Again = true
	if m.reads >= roomlog.IRC {
		ev = lineEvent(l)
		m.mu.Lock()
		if m.hideOwn {
			ev = okFor("say", "") // of which it sees nothing
		}
		m.mu.Unlock()
	}
	m.answerLine(ev, label)
}

// rejection is the answer to a line that the store has not taken.
func (m *Member) rejection(p *store.Post, id string) wire.Event {
	ev := wire.Event{Type: wire.TypeError, Command: commandFor(p.Line.Kind), ID: id, Code: wire.CodeInternal}
	if id != "" && m.reads < roomlog.IRC {
		ev.Command = "id"
	}
	var refusal *wire.Error
	switch {
	case errors.As(p.Err, &refusal):
		ev.Code, ev.Text = refusal.Code, wire.NotSent+refusal.Text
		return ev
	case errors.Is(p.Err, store.ErrNoRoom):
		ev.Code = wire.CodeNoRoom
	case errors.Is(p.Err, store.ErrClosed):
		ev.Code = wire.CodeShuttingDown
	}
	ev.Text = wire.NotSent + storeErrorText(p.Err)
	return ev
}

func (s *lineSession) farewell(*Member, Cause) []byte { return nil }

func (s *lineSession) transferable() bool { return s.conn.Transferable() }

// memberEnded stops reading. Finish, which follows, writes the rest.
func (s *lineSession) memberEnded(*Member) { s.conn.StopReading() }

// memberDrained ends the session: it has no other member.
func (s *lineSession) memberDrained(*Member) bool { return true }

// Data handles what was read.
func (s *lineSession) Data(p []byte) transport.Outcome {
	switch c, handled := s.handleInput(p); {
	case !handled:
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

// Panicked logs a panic and ends the member.
func (s *lineSession) Panicked(p any, stack []byte) {
	m := &s.member
	m.room.svc.log.Error("panic while serving a member", "room", m.room.name(), "remote", s.remote, "error", p, "stack", string(stack))
	go m.endInChange(CauseInternal)
}

// Finish writes the rest of the member's stream and closes the connection. A member that has not
// ended does so because of a panic.
func (s *lineSession) Finish() {
	m := &s.member
	m.endInChange(CauseInternal)
	c := m.endCause()
	level := slog.LevelInfo
	if m.unannounced.Load() && (c == CauseLeft || c == CauseVanished) {
		level = slog.LevelDebug // a probe of the port
	}
	m.room.svc.log.Log(context.Background(), level, "member disconnected", "room", m.room.name(), "nick", m.nick.Shown, "remote", s.remote, "cause", string(c))
	s.disconnect(c)
}

package netsvc

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"io"
	"log/slog"
	"math"
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
func (m *Member) handleInput(p []byte) (c Cause, taken bool) {
	for {
		line, over, rest, ok := m.nextLine(p)
		if !ok {
			return "", true
		}
		c, ok := m.handleLine(line, over, false)
		if !ok {
			m.pending = &pendingLines{bytes.Clone(line), over, bytes.Clone(rest)}
			m.room.svc.engine.AddPending(m.pending.size())
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
func (m *Member) resumeInput() (c Cause) {
	if m.pending == nil {
		return ""
	}
	held := m.pending.size()
	defer func() { m.room.svc.engine.AddPending(m.pending.size() - held) }()
	for m.pending != nil && c == "" {
		ok := false
		if c, ok = m.handleLine(m.pending.line, m.pending.over, true); !ok {
			return ""
		}
		line, over, rest, ok := m.nextLine(m.pending.rest)
		if !ok {
			m.pending = nil
			break
		}
		m.pending.line, m.pending.over, m.pending.rest = line, over, rest
	}
	return c
}

// nextLine takes the next line off p, and answers what a telnet client has asked for. What
// comes between lines adds up: when it has the price of a line, ok is true and line is
// nil.
func (m *Member) nextLine(p []byte) (line []byte, over int, rest []byte, ok bool) {
	line, over, rest, ok = m.framer.Cut(p)
	n := int(m.unpaid) + chargedBytes(len(p)-len(rest), m.answerTelnet(), ok)
	switch {
	case ok && (over > 0 || !wire.IsBlank(line)):
		m.unpaid = 0
	case n >= limitedRead:
		m.unpaid = 0
		return nil, 0, rest, true
	default:
		m.unpaid = uint16(n)
	}
	return line, over, rest, ok
}

// answerTelnet answers what a telnet client has asked for, if it takes answers at
// all: nobody waits for that. It reports whether there was something.
func (m *Member) answerTelnet() bool {
	refusals, there := m.framer.TelnetRequests()
	if len(refusals) == 0 && !there {
		return false
	}
	if ok, _ := m.withinBounds(math.MaxInt); !ok {
		return true
	}
	if len(refusals) > 0 {
		m.queue(insert{kind: answer, bytes: refusals})
	}
	if there {
		m.answer(wire.Event{Type: wire.TypeNotice, Text: m.room.name() + ": " + hereText})
	}
	return true
}

// hereText answers a telnet client that asks whether anybody is there.
const hereText = "the server is here"

// handleEnd handles the end of the input, and returns the cause of the member's
// end. What was sent before it is said before the member leaves. If the server is
// to be suspended it returns false, and must be called again. The caller has
// reading, and may wait.
func (m *Member) handleEnd(err error) (c Cause, ok bool) {
	if c = causeVanished; errors.Is(err, io.EOF) && !m.conn.WasReset() {
		m.peerClosed = true
		c = causeLeft
	}
	if m.isDead() {
		c = causeDeadPeer
	}
	// A reset may have cut the last line short, unless the peer had closed its
	// side before: Linux tells that by EPIPE.
	for !m.isDrained() && m.conn.Writing() && m.conn.WasReset() {
		m.WaitSignal(time.Millisecond) // a write is just meeting the reset
	}
	whole := (errors.Is(err, io.EOF) || errors.Is(err, syscall.EPIPE)) && !m.reset.Load()
	before := m.framer
	if line, over, ok := m.framer.Tail(); ok && whole {
		why, ok := m.handleLine(line, over, true)
		if !ok {
			m.framer = before
			return "", false
		}
		c = cmp.Or(why, c)
	}
	return c, m.awaitBounds(1) || m.hasEnded()
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
		wait := m.signals()
		switch ok, ended := m.withinBounds(n); {
		case ended:
			return false
		case ok:
			return true
		case m.room.svc.engine.Suspended():
			return false
		}
		m.flushAll()
		<-wait
	}
}

// say submits a line. It comes back by appended or refused. Without wait it
// reports false if the store has no room for it now.
func (m *Member) say(kind store.Kind, text string, wait bool) bool {
	why := ""
	if b := m.activeMute(); b != nil {
		why = muteText(b)
	} else if m.room.own.Load().ReadOnly {
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
		m.rejected(p)
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

// appended puts a line of this member into the log. Room.mu is held.
func (m *Member) appended(log *roomlog.Log, l *store.Line, e roomlog.Event) {
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
	m.spoke.Store(l.Time.UnixMicro())
	m.signalLocked()
}

// rejected answers a line that the store did not take.
func (m *Member) rejected(p *store.Post) {
	code := wire.CodeInternal
	if errors.Is(p.Err, store.ErrNoRoom) {
		code = wire.CodeNoRoom
	} else if errors.Is(p.Err, store.ErrClosed) {
		code = wire.CodeShuttingDown
	}
	m.answer(wire.Event{Type: wire.TypeError, Command: commandFor(p.Line.Kind), Code: code, Text: wire.NotSent + storeErrorText(p.Err)})
	m.mu.Lock()
	m.inFlight--
	m.signalLocked()
	m.mu.Unlock()
	m.room.wake()
}

// A member is the handler of its conn (transport.Handler). What conns with goroutines
// do passes the gate here: they stay in this process, and are to do nothing while the
// server is suspended, as another process may have taken over.

// passGate is BeginChangeUnlessAbandoned for the member's input. Conns on a loop need no gate:
// the engine is not suspended while somebody reads them.
func (m *Member) passGate() (end func(), ok bool) {
	if m.conn.OnLoop() {
		return func() {}, true
	}
	return m.room.svc.engine.BeginChangeUnlessAbandoned()
}

// Data handles what was read.
func (m *Member) Data(p []byte) transport.Outcome {
	end, ok := m.passGate()
	if !ok {
		return transport.Continue
	}
	defer end()
	switch c, taken := m.handleInput(p); {
	case !taken:
		return transport.Defer
	case c != "":
		m.end(c)
		return transport.Stop
	}
	m.flushAll()
	return transport.Continue
}

// Resume handles the leftover, if there is one.
func (m *Member) Resume() transport.Outcome {
	end, ok := m.passGate()
	if !ok {
		return transport.Continue
	}
	defer end()
	switch c := m.resumeInput(); {
	case c != "":
		m.end(c)
		return transport.Stop
	case m.pending != nil:
		return transport.Retry
	}
	m.flushAll()
	return transport.Continue
}

// PeerClosed handles the end of the input.
func (m *Member) PeerClosed(err error) transport.Outcome {
	c := causeVanished
	if end, ok := m.passGate(); ok {
		defer end()
		if c, ok = m.handleEnd(err); !ok {
			return transport.Retry
		}
	}
	m.end(c)
	return transport.Stop
}

// Writable says that the connection takes more.
func (m *Member) Writable() { m.flushAll() }

// WritePending writes what has to be read from the disk first. It has the write lock.
func (m *Member) WritePending() {
	for m.work(true) {
		if m.movable() && m.room.svc.engine.Suspended() || !m.conn.AcquireWrite() {
			return
		}
	}
}

// Panicked reports a bug that is met while serving the member.
func (m *Member) Panicked(p any, stack []byte) {
	m.room.svc.log.Error("fault while serving a member", "room", m.room.name(), "remote", m.remote, "error", p, "stack", string(stack))
	go m.endAtGate(causeInternal)
}

// Signal has a goroutine of the member look around that waits for something.
func (m *Member) Signal() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.signalLocked()
}

// WaitSignal waits for a Signal, or for the time d.
func (m *Member) WaitSignal(d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-m.signals():
	case <-t.C:
	}
}

// Finish ends the member, if nothing but a bug has, waits until all that is pending is
// written, and closes the connection.
func (m *Member) Finish() {
	m.endAtGate(causeInternal)
	c := m.endCause()
	level := slog.LevelInfo
	if m.unannounced.Load() && (c == causeLeft || c == causeVanished) {
		level = slog.LevelDebug // it was there to see whether somebody listens
	}
	m.room.svc.log.Log(context.Background(), level, "member disconnected", "room", m.room.name(), "nick", m.nick.Shown, "remote", m.remote, "cause", string(c))
	m.disconnect(c)
}

package netsvc

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"syscall"

	"roomd/netsvc/history"
	"roomd/netsvc/roomlog"
	"roomd/netsvc/transport"
	"roomd/netsvc/wire"
	"roomd/store"
)

// insertKind is what happens at a position of a member's stream. An upgrade hands over the
// numbers, so a new kind comes last.
type insertKind uint8

const (
	answer        insertKind = iota // bytes are written
	skip                            // the member's own line, numbered seq, is left out
	toJSON                          // JSON from here on
	newest                          // the newest n lines, for a new member
	earlier                         // the newest n lines, or the n before seq, as an answer
	since                           // everything after seq, from the store
	pong                            // the newest sequence number at this place
	endLagged                       // a notice to a slow member, and the end
	endOfStream                     // the end
	upgradeNotice                   // a notice that another process has taken over
	who                             // the members of roster, in the style n
	stored                          // the lines of replay, from the store
	toFormat                        // the format n from here on
	barrier                         // everything before this place is written: see RoomsSession.Answer
	search                          // the newest lines that contain bytes, folded
	begun                           // of a RoomsSession: what its client gets first in the room is over
	renamed                         // the client of a RoomsSession knows the room as bytes up to here
)

// insert belongs into a member's stream before the event at the cursor at.
type insert struct {
	kind  insertKind
	n     int
	at    roomlog.Cursor
	seq   uint64
	bytes []byte

	roster *roster        // for the kind who
	replay *replay        // for newest and stored
	after  *delayedAnswer // for barrier
}

// size is about how many bytes of memory an insert takes. A roster counts in full, also if it is
// shared.
func (i *insert) size() int {
	const fixed = 80
	n := fixed + len(i.bytes)
	if i.roster != nil {
		n += i.roster.size()
	}
	if i.replay != nil {
		n += len(i.replay.header) + len(i.replay.footer)
	}
	if i.after != nil {
		n += i.after.share
	}
	return n
}

// insertLocked appends an insert. Member.mu is held.
func (m *Member) insertLocked(ins insert) {
	m.inserts = append(m.inserts, ins)
	m.room.svc.insertBytes.Add(int64(ins.size()))
}

// dropInsertsLocked removes the first n inserts. Member.mu is held.
func (m *Member) dropInsertsLocked(n int) {
	for i := range m.inserts[:n] {
		m.room.svc.insertBytes.Add(-int64(m.inserts[i].size()))
	}
	if m.inserts = m.inserts[n:]; len(m.inserts) == 0 {
		m.inserts = nil
	}
}

// dropAllInsertsLocked removes all inserts. Answers that wait for them do not wait any more.
// Member.mu is held.
func (m *Member) dropAllInsertsLocked() {
	for i := range m.inserts {
		if a := m.inserts[i].after; a != nil {
			m.out.session().(*RoomsSession).passed(a)
		}
	}
	m.dropInsertsLocked(len(m.inserts))
}

// acceptsInsertLocked reports whether one more insert may be appended: there is none, or the bytes
// of the member's inserts and of all inserts are below their bounds. Member.mu is held.
func (m *Member) acceptsInsertLocked() bool {
	if len(m.inserts) == 0 {
		return true
	}
	n := 0
	for i := range m.inserts {
		n += m.inserts[i].size()
	}
	return n < maxInserts && m.room.svc.insertBytes.Load() < allInserts
}

// replay is a range of the history that a member gets page by page, or of a roster, or the result
// of a search: while its lines are found, backward from upto, and while they are shown, the range is
// empty.
type replay struct {
	after, upto uint64 // sequence numbers, or indexes of the roster
	header      string // of a RoomsSession, before the lines
	footer      string
	roster      *roster         // nil: the range is of the history
	lookup      *history.Lookup // nil: it is no search
	style       int             // of the roster, for Format.Members
	label       string          // for Format.Replay; empty: the lines are rendered as new ones are
}

// finds reports whether the lines of a search are still looked for.
func (p *replay) finds() bool { return p.lookup != nil && p.lookup.Text != "" }

// writeBytes is the size up to which pieces are gathered into a write.
const writeBytes = 16 << 10

// outcome is the reason why writeTurn has returned.
type outcome int

const (
	idle     outcome = iota // there is no more to write
	more                    // the turn is over
	full                    // the conn takes no more
	needDisk                // the next bytes are in the store
	drained                 // the member's stream is over
	finished                // the session writes nothing more, or the connection is broken
)

// writeTurn writes the unsent bytes of the output, and then what is next for the member, until
// there is no more, the conn is full, or the member's turn has about passBytes. Without disk it
// stops where the store is needed. The caller has the write lock.
func (m *Member) writeTurn(disk bool) outcome {
	o, wrote := m.out, 0
	flags := o.flags.Load() // those that matter here do not change
	defer func() {
		if wrote > 0 {
			m.room.svc.counters.bytes.Add(uint64(wrote))
			m.room.noteWritten()
		}
	}()
	for {
		result, span := m.gather(disk)
		pending := o.unsent
		if len(pending) == 0 {
			pending = span.Bytes
		}
		if len(pending) > 0 {
			var n int
			var err error
			if flags&isFramed == 0 {
				n, err = o.conn.Write(pending)
			} else {
				n, err = o.conn.WriteFrame(m.placeInStream().Name, pending)
			}
			if err != nil {
				if o.writeFailed(err) {
					m.room.svc.log.Warn("write to a member failed", "room", m.room.name(), "remote", o.remote, "error", err)
				}
				return finished
			}
			o.written.Add(uint32(n))
			m.taken += uint32(n)
			if wrote += n; len(o.unsent) > 0 {
				o.unsent = o.unsent[n:]
			} else {
				var rest []byte
				m.cursor, rest = span.After(n)
				o.unsent = append(o.unsent[:0], rest...) // a copy, so that the log's memory can be freed
			}
			m.reached.Store(m.cursor.Pos)
			if flags&hasReader != 0 {
				m.noteReader()
			}
			if n < len(pending) {
				return full
			}
			o.unsent = nil
		}
		if result == idle || m.taken >= passBytes {
			m.taken = 0
		}
		if result != more || m.taken == 0 {
			return result
		}
	}
}

// gather appends what is next for the member to the unsent bytes, up to a size that is worth a
// write. If there are none and the log is next, it returns a span of the log; the cursor stays
// before the span.
func (m *Member) gather(disk bool) (outcome, roomlog.Span) {
	for len(m.out.unsent) < writeBytes {
		switch {
		case m.over:
			return drained, roomlog.Span{}
		case m.replay != nil && !m.endsAtOnce():
			if m.replay.roster != nil {
				m.rosterPage()
				continue
			}
			if !disk {
				return needDisk, roomlog.Span{}
			}
			if m.replay.finds() && len(m.out.unsent) > 0 {
				return more, roomlog.Span{} // they are not to wait for the search
			}
			if err := m.fromDisk(m.replayPage); errors.Is(err, errMustWait) {
				return needDisk, roomlog.Span{}
			}
			continue
		}
		m.mu.Lock()
		ins, due := m.nextInsert()
		if due {
			if ins.needsDisk() && (!disk || m.suspended()) {
				m.mu.Unlock()
				return needDisk, roomlog.Span{}
			}
			if ins.kind == renamed && len(m.out.unsent) > 0 && m.out.is(isFramed) {
				m.mu.Unlock()
				return more, roomlog.Span{} // what came before is a message of the old name
			}
			m.dropInsertsLocked(1)
			m.mu.Unlock()
			m.out.Signal()
			m.apply(ins)
			continue
		}
		span, ok := roomlog.Span{}, false
		if !m.fromStore {
			span, ok = m.room.log.Read(m.cursor, m.format, ins.at.Pos, passBytes)
		}
		m.mu.Unlock()
		switch {
		case !ok:
			m.fromStore = true
			if !disk {
				return needDisk, roomlog.Span{}
			}
			if err := m.fromDisk(func() { m.catchUp(ins.at.Seq) }); errors.Is(err, errMustWait) {
				return needDisk, roomlog.Span{}
			}
		case span.Next == m.cursor:
			return idle, roomlog.Span{}
		case len(span.Bytes) == 0:
			m.moveTo(span.Next)
		case len(m.out.unsent) == 0:
			return more, span
		case len(m.out.unsent)+len(span.Bytes) > writeBytes:
			return more, roomlog.Span{}
		default:
			m.out.unsent = append(m.out.unsent, span.Bytes...)
			m.moveTo(span.Next)
		}
	}
	return more, roomlog.Span{}
}

func (m *Member) moveTo(c roomlog.Cursor) {
	m.cursor = c
	m.reached.Store(c.Pos)
}

// nextInsert returns the first insert, and whether the cursor has reached it. Without an insert it
// returns one that is never reached. m.mu is held.
func (m *Member) nextInsert() (insert, bool) {
	if m.fromStore {
		if c, ok := m.room.log.Find(m.cursor.Seq); ok {
			m.fromStore = false
			m.moveTo(c)
		}
	}
	if len(m.inserts) == 0 {
		return insert{at: roomlog.Cursor{Pos: math.MaxUint64, Seq: math.MaxUint64}}, false
	}
	ins := m.inserts[0]
	if m.fromStore {
		return ins, m.cursor.Seq >= ins.at.Seq
	}
	return ins, m.cursor.Pos >= ins.at.Pos
}

func (i insert) needsDisk() bool { return i.kind == newest || i.kind == earlier }

// apply carries out an insert. It may leave a replay, which comes next.
func (m *Member) apply(ins insert) {
	switch ins.kind {
	case answer:
		m.out.unsent = append(m.out.unsent, ins.bytes...)
	case skip:
		m.moveTo(roomlog.Cursor{Pos: ins.at.Pos + 1, Seq: ins.seq})
		if m.out.is(hasReader) {
			m.noteReader() // the client has what it has said itself, and everything before
		}
	case toJSON:
		m.format = roomlog.JSON
	case toFormat:
		m.format = roomlog.Format(ins.n)
	case newest, earlier:
		m.beginHistory(ins)
	case since:
		m.beginSince(ins.seq)
	case who:
		m.beginRoster(ins.roster, ins.n)
	case stored:
		m.out.unsent = append(m.out.unsent, ins.replay.header...)
		m.replay = ins.replay
	case barrier:
		s := m.out.session().(*RoomsSession)
		if s.passed(ins.after); m.out.is(isFramed) {
			s.flushAll() // the answer is of no room: the next writeTurns writes it
		} else {
			m.out.unsent = append(m.out.unsent, s.takeReady()...)
		}
	case search:
		at := m.cursor.Seq
		m.replay = &replay{after: at, upto: at, lookup: &history.Lookup{Text: string(ins.bytes)}}
	case begun:
		if r := m.reader(); r != nil {
			r.Begin(m.room.id)
		}
	case pong:
		m.render(wire.Event{Type: wire.TypePong, Seq: ins.at.Seq})
	case endOfStream:
		m.out.unsent = append(m.out.unsent, ins.bytes...)
		m.over = true
	case upgradeNotice:
		m.render(wire.Event{Type: wire.TypeNotice, Text: fmt.Sprintf(
			"%s: the server is being upgraded; come back and say /since %d", m.room.name(), m.cursor.Seq)})
	case endLagged:
		seq := m.cursor.Seq
		if m.replay != nil && m.replay.roster == nil && m.replay.lookup == nil {
			seq = m.replay.after
		}
		if len(ins.bytes) == 0 || m.out.is(isFramed) {
			m.render(wire.Event{Type: wire.TypeNotice, Text: fmt.Sprintf(
				"%s: you are too far behind and are let go; come back and say /since %d", m.room.name(), seq)})
		}
		m.out.unsent = append(m.out.unsent, ins.bytes...)
		m.over = true
	}
}

// endsAtOnce reports whether the stream ends before the replay.
func (m *Member) endsAtOnce() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.inserts) > 0 && m.inserts[0].kind == endLagged
}

// render appends an event for this member alone to the unsent bytes.
func (m *Member) render(ev wire.Event) {
	m.out.unsent = m.room.svc.formats[m.format].Render(m.out.unsent, m.placeInStream(), ev)
}

// placeInStream is the room as the client knows it here: its stream may not have come to a change of
// the name yet.
func (m *Member) placeInStream() Place {
	at := m.room.place()
	m.mu.Lock()
	defer m.mu.Unlock()
	at.Name = m.nameInStreamLocked(at.Name)
	return at
}

// nameInStreamLocked is the name of placeInStream. Member.mu is held.
func (m *Member) nameInStreamLocked(now string) string {
	if i := slices.IndexFunc(m.inserts, func(i insert) bool { return i.kind == renamed }); i >= 0 {
		return string(m.inserts[i].bytes)
	}
	return now
}

// replayPage renders the next page of the replay.
func (m *Member) replayPage() {
	if l := m.replay.lookup; l != nil {
		next := m.showFound
		if m.replay.finds() {
			next = m.findPage
		}
		if err := next(l); err != nil {
			m.historyFailed(err)
			m.replay = nil
		}
		return
	}
	n, last, err := m.renderStored(m.replay.after, m.replay.upto)
	switch {
	case err != nil:
		m.historyFailed(err)
		m.replay = nil
	case n == 0:
		m.out.unsent = append(m.out.unsent, m.replay.footer...)
		m.replay = nil
	default:
		m.replay.after = last
	}
}

// findPage searches the next page of the history. Behind the last one it renders the first line of
// the answer.
func (m *Member) findPage(l *history.Lookup) error {
	p := m.replay
	if m.out.conn.WasReset() { // nothing is written meanwhile that would meet the reset
		m.over, m.replay = true, nil
		return nil
	}
	after, err := l.Next(m.room.svc.store, m.room.id, p.upto)
	if err != nil {
		return err
	}
	if p.after, p.upto = after, after; p.finds() {
		return nil
	}
	n := len(l.Hits)
	ev := okFor("search", "no lines found")
	ev.Count = &n
	m.addStreamInfo(&ev)
	switch {
	case n == history.MaxFound:
		ev.Text = fmt.Sprintf("the newest %d lines found", n)
	case n > 0:
		ev.Text = plural(n, "line") + " found"
	}
	m.render(ev)
	if n == 0 {
		m.replay = nil
	} else if m.room.svc.formats[m.format].ForPeople() {
		p.footer = wire.Notice("end of found lines")
	}
	return nil
}

// showFound renders the next lines that a search has found, the oldest first. One that retention
// has removed meanwhile is missing.
func (m *Member) showFound(l *history.Lookup) error {
	for len(l.Hits) > 0 && len(m.out.unsent) < writeBytes {
		seq := l.Hits[len(l.Hits)-1]
		if _, _, err := m.renderStored(seq-1, seq); err != nil {
			return err
		}
		l.Hits = l.Hits[:len(l.Hits)-1]
	}
	if len(l.Hits) == 0 {
		m.out.unsent = append(m.out.unsent, m.replay.footer...)
		m.replay = nil
	}
	return nil
}

// renderStored renders a page of stored lines with after < seq <= upto. It returns how many lines
// there were, and the number of the last one.
func (m *Member) renderStored(after, upto uint64) (n int, last uint64, err error) {
	lines, err := m.room.svc.store.Lines(m.room.id, after, upto, history.PageBytes)
	if err != nil || len(lines) == 0 {
		return 0, upto, err
	}
	label := ""
	if m.replay != nil {
		label = m.replay.label
	}
	by, at := m.room.svc.formats[m.format], m.placeInStream()
	for i := range lines {
		if label == "" {
			m.out.unsent = by.Render(m.out.unsent, at, lineEvent(&lines[i]))
		} else {
			m.out.unsent = by.Replay(m.out.unsent, at, lineEvent(&lines[i]), label)
		}
	}
	return len(lines), lines[len(lines)-1].Seq, nil
}

// catchUp renders a page from the store for a member whose cursor the log has dropped, up to the
// sequence number upto.
func (m *Member) catchUp(upto uint64) {
	r := m.room
	if st, err := r.svc.store.Stat(r.id); err == nil && st.Removed > m.cursor.Seq {
		// The next lines are no longer in the history.
		m.end(CauseLagged)
		m.cursor.Seq = max(m.cursor.Seq, st.Removed)
		return
	}
	upto = min(upto, r.log.End().Seq)
	n, last, err := m.renderStored(m.cursor.Seq, upto)
	if err != nil {
		m.historyFailed(err)
		return
	}
	m.moveTo(roomlog.Cursor{Pos: m.cursor.Pos + uint64(n), Seq: last})
}

// historyFailed ends a member whose lines cannot be read.
func (m *Member) historyFailed(err error) {
	if !errors.Is(err, store.ErrNoRoom) && !errors.Is(err, store.ErrClosed) {
		m.room.svc.log.Error("history cannot be read", "room", m.room.name(), "remote", m.out.remote, "error", err)
	}
	m.end(CauseHistory)
	m.out.unsent = append(m.out.unsent, m.farewell()...)
	m.over = true
}

// endsByReset reports whether a connection has ended without the peer closing its side: the
// input may be cut short. The kernel gives such an error once, to a read or to a write.
func endsByReset(err error) bool {
	return errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.ETIMEDOUT)
}

// writeFailed handles the error of a write, and reports whether it is worth a line in the log. The
// members stay until the session has read and handled what the kernel still has of the input.
func (o *output) writeFailed(err error) (unexpected bool) {
	o.unsent = nil
	switch {
	case endsByReset(err):
		o.set(isReset)
	case !transport.IsPeerGone(err):
		o.conn.Abort()
		return true
	}
	return false
}

package netsvc

import (
	"net/netip"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"roomd/netsvc/roomlog"
	"roomd/netsvc/transport"
	"roomd/netsvc/wire"
)

const (
	// shardMembers is how many members a pass must have for each processor that takes part in it.
	shardMembers = 256
	// maxPause bounds what pacing adds to the delay of a line. keepBytes bounds the memory of a
	// log that is kept from one pass to the next.
	maxPause  = 5 * time.Millisecond
	keepBytes = 4 << 10
)

// pacer decides how long the next pass waits for more lines: fewer and larger writes are the only
// way to make a delivery cheaper. A pass that found one event is followed at once by the next: a
// line after a quiet time, or of a conversation of two, is not delayed. When passes find several
// events the pause doubles, up to three times the duration of a pass and to maxPause. So the
// flusher sleeps at least as long as it works.
type pacer struct {
	seen  uint64 // the end of the log at the last pass
	began time.Time
	pause time.Duration
}

// wait returns how long a pass that would begin now has to wait.
func (p *pacer) wait(now time.Time) time.Duration {
	if p.pause == 0 {
		return 0
	}
	return p.began.Add(p.pause).Sub(now)
}

// passed notes a pass up to the position end.
func (p *pacer) passed(end uint64, began, now time.Time) {
	took, found := now.Sub(began), end-p.seen
	p.seen, p.began = end, began
	switch {
	case found > 1:
		p.pause = min(max(2*p.pause, took), 3*took, maxPause)
	case found == 1:
		p.pause = 0
	}
}

// wake starts the flusher, or makes it run again. The caller may hold any lock.
func (r *Room) wake() {
	if r.flushing.Acquire() {
		go r.fanOut()
	}
}

// fanOut is the flusher's goroutine: passes over the members until all of them are idle.
func (r *Room) fanOut() {
	for {
		if d := r.pacer.wait(time.Now()); d > 0 {
			time.Sleep(d)
		}
		again := r.pass()
		if !again && r.flushing.Release() {
			return
		}
	}
}

// pass flushes every member once, and reports whether one of them has more to write. Each pass
// begins with another member.
func (r *Room) pass() (again bool) {
	r.svc.counters.passes.Add(1)
	began := time.Now()
	end := r.log.End().Pos // read first: the cursor of a member that joins later is behind it
	r.mu.Lock()
	r.passMembers = append(r.passMembers[:0], r.members...)
	leaving := len(r.leaving) > 0
	r.mu.Unlock()
	n := len(r.passMembers)
	if n == 0 {
		return false
	}
	r.turn = (r.turn + 1) % n
	var f passResult
	from := r.log.Start().Pos
	if shards := min(n/shardMembers, runtime.GOMAXPROCS(0)); shards > 1 {
		f = r.passInShards(shards, from, end)
	} else {
		f = r.passOver(r.passMembers[r.turn:], from, end)
		f.add(r.passOver(r.passMembers[:r.turn], from, end))
	}
	clear(r.passMembers)
	if !f.lagging && !leaving {
		r.log.Release(end, keepBytes, f.fromStore)
	}
	r.pacer.passed(end, began, time.Now())
	return f.more
}

// passResult is the state of the members after a pass.
type passResult struct {
	more      bool // a member has more to write, and its conn takes it
	lagging   bool // a member has not got everything, and the rest is in the log
	fromStore bool // a member needs lines that only the store has
}

func (f *passResult) add(g passResult) {
	f.more, f.lagging, f.fromStore = f.more || g.more, f.lagging || g.lagging, f.fromStore || g.fromStore
}

// passInShards divides a pass over many members between the processors.
func (r *Room) passInShards(shards int, from, end uint64) (f passResult) {
	var mu sync.Mutex
	var all sync.WaitGroup
	for i := range shards {
		part := r.passMembers[len(r.passMembers)*i/shards : len(r.passMembers)*(i+1)/shards]
		all.Go(func() {
			g := r.passOver(part, from, end)
			mu.Lock()
			defer mu.Unlock()
			f.add(g)
		})
	}
	all.Wait()
	return f
}

// passOver flushes some of the members. The log goes from position from to position end.
func (r *Room) passOver(members []*Member, from, end uint64) (f passResult) {
	maxLag := uint64(r.svc.opts().MaxLag)
	for _, m := range members {
		if !m.out.conn.Full() && m.out.flush() {
			f.more = true
			if m.hasEnded() {
				// It is in no later pass, and the goroutine that drains it may have
				// found the write lock held.
				go m.out.flushAll()
			}
		}
		pos := m.reached.Load()
		if pos < end {
			f.add(passResult{lagging: pos >= from, fromStore: pos < from})
			if maxLag > 0 && end-pos > maxLag {
				m.end(CauseLagged)
			}
		}
	}
	return f
}

// output is the write side of a session: the conn, and the members that write to it. The holder of
// the conn's write lock writes for all members in turn, so that no room starves another. While the
// conn is full none of them is written for; each reads on from its cursor later.
type output struct {
	// Set before the first member, then read-only.
	conn   *transport.Conn
	remote netip.AddrPort

	waiter  atomic.Pointer[chan struct{}] // capacity 1; nil: no goroutine has waited yet
	written atomic.Uint32                 // bytes, modulo 1 << 32
	flags   atomic.Uint32

	// Owned by the holder of the write lock.
	last   *Member // the turn is last.next's: the members are a ring; nil: there is none
	unsent []byte  // to be written before anything else
}

// The flags of an output.
const (
	isGone      = 1 << iota // nothing can be written any more, or is to be
	isReset                 // a read or a write has met a reset, or the time-out of a dead peer, before the end of the input
	isDead                  // the peer does not answer: the session ends once its input is handled
	isThrottled             // the holder of the read lock waits for the allowance
	isFinished              // the write lock is kept for good
	hasNews                 // of a RoomsSession, for the holder of the write lock
	isEnding                // of a RoomsSession: nothing is added any more, so that the output is finished once all is written
	hasReader               // of a RoomsSession: it has a readers.Reader
	isFramed                // of a RoomsSession: each write is a message of one room. Set before the conn is started
)

func (o *output) is(flag uint32) bool { return o.flags.Load()&flag != 0 }

func (o *output) set(flag uint32) { o.flags.Or(flag) }

func (o *output) unset(flag uint32) { o.flags.And(^flag) }

// session returns the session of the output, once the conn is started.
func (o *output) session() memberSession { return o.conn.Handler().(memberSession) }

// add puts a member behind the others. The caller has the write lock, or the conn is not started
// yet.
func (o *output) add(m *Member) {
	if o.last == nil {
		o.last = m
	}
	m.next, o.last.next = o.last.next, m
	o.last = m
}

// removeNext removes the member whose turn it is. The caller has the write lock.
func (o *output) removeNext() {
	if m := o.last.next; m == o.last {
		o.last = nil
	} else {
		o.last.next = m.next
	}
}

// declareDead breaks the connection to a peer that does not answer. The session ends when the
// input is handled.
func (o *output) declareDead() {
	o.set(isDead | isGone)
	o.conn.Abort()
}

// Signal wakes the goroutine of the session that waits for a change, if there is one.
func (o *output) Signal() {
	if w := o.waiter.Load(); w != nil {
		select {
		case *w <- struct{}{}:
		default:
		}
	}
}

// signals returns the channel that Signal sends to from now on. At most one goroutine of a session
// may wait at a time.
func (o *output) signals() <-chan struct{} {
	w := o.waiter.Load()
	if w == nil {
		c := make(chan struct{}, 1)
		w = &c
		o.waiter.Store(w)
	}
	return *w
}

// WaitSignal waits for a Signal, for the time d at most.
func (o *output) WaitSignal(d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-o.signals():
	case <-t.C:
	}
}

// flush writes about passBytes for each member at most, and waits neither for the conn nor for the
// disk. It reports whether there is more to write and the conn takes it. Any goroutine may call
// it.
func (o *output) flush() bool { return o.conn.AcquireWrite() && o.writeAndRelease(false) }

// flushAll flushes until the conn takes no more.
func (o *output) flushAll() {
	for o.flush() {
	}
}

// Writable writes on when the conn takes more.
func (o *output) Writable() { o.flushAll() }

// WritePending writes what has to be read from the disk first. The caller has the write lock, and
// gives it up.
func (o *output) WritePending() {
	for o.writeAndRelease(true) && o.conn.AcquireWrite() {
	}
}

// writeAndRelease writes for all members, and again if it was asked to meanwhile. The caller has
// the write lock, and gives it up. The result is true if there is more to write and the caller is
// to go on.
func (o *output) writeAndRelease(disk bool) bool {
	for {
		result := o.writeTurns(disk)
		switch result {
		case needDisk:
			if !o.last.next.suspended() {
				go o.WritePending()
				return false
			}
		case finished: // the write lock is kept: nothing more is written
			o.conn.StopWriting()
			o.set(isGone)
			for o.last != nil {
				m := o.last.next
				o.removeNext()
				m.setDrained()
				o.session().memberDrained(m)
			}
			o.set(isFinished)
			if s, ok := o.session().(*RoomsSession); ok {
				s.discard()
			}
			o.Signal()
			return false
		}
		goOn := result == more && !(disk && o.last.next.suspended())
		if o.conn.ReleaseWrite() {
			return goOn
		}
	}
}

// write writes bytes that belong to a room, as its client knows it. The caller has the write lock.
func (o *output) write(room string, p []byte) (int, error) {
	if o.is(isFramed) {
		return o.conn.WriteFrame(room, p)
	}
	return o.conn.Write(p)
}

// writeTurns gives each member a turn, beginning with the one whose turn it is. A turn does not
// end while the conn is full, or while the disk is needed. The caller has the write lock.
func (o *output) writeTurns(disk bool) outcome {
	if o.is(hasNews) {
		if result := o.session().(*RoomsSession).writeAndTakeNews(); result != idle {
			return result
		}
	}
	if o.last == nil {
		return o.writeUnsent()
	}
	result := idle
	for end := o.last; end != nil; {
		m := o.last.next
		switch r := m.writeTurn(disk); r {
		case needDisk, full, finished:
			return r
		case drained:
			if o.session().memberDrained(m) {
				return finished
			}
			o.removeNext()
			m.setDrained()
			return o.writeTurns(disk)
		case more:
			result = more
		}
		if o.last = m; m == end {
			break
		}
	}
	return result
}

// writeUnsent is writeTurns for an output without a member.
func (o *output) writeUnsent() outcome {
	result := o.writeRest()
	if result == idle && o.is(isEnding) && !o.is(hasNews) { // the last words may have come since takeNews
		return finished
	}
	return result
}

// writeRest writes the unsent bytes of a RoomsSession, which belong to no room if its writes are
// framed. The result is idle, full or finished.
func (o *output) writeRest() outcome {
	for len(o.unsent) > 0 {
		n, err := o.write("", o.unsent)
		if err != nil {
			if o.writeFailed(err) {
				o.session().(*RoomsSession).svc.log.Warn("write to a client failed", "remote", o.remote, "error", err)
			}
			return finished
		}
		o.written.Add(uint32(n))
		if o.unsent = o.unsent[n:]; len(o.unsent) > 0 {
			return full
		}
		o.unsent = nil
	}
	return idle
}

// Format renders events for one kind of reader. An event in the log of a room is rendered once for
// all members that read a format, and only while there is one.
type Format interface {
	// Render appends an event to b, or nothing if its readers do not see the event.
	Render(b []byte, at Place, ev wire.Event) []byte
	// Replay is Render for an old line that a replay with that label brings.
	Replay(b []byte, at Place, ev wire.Event, label string) []byte
	// Members appends a list of members in a style of the format, from the n-th on, up to about
	// writeBytes. It returns the number of the next one: that of all members once the list is over.
	Members(b []byte, at Place, all []RosterMember, style, n int) ([]byte, int)
	// ForPeople reports whether the format is for people. They get fewer of the numbers that a
	// program needs, not all joins and leaves, and a line where a stream of old lines ends.
	ForPeople() bool
}

// Place is a room as a format shows it.
type Place struct {
	ID   uint64
	Name string
	To   string // the nick of the member, if only one gets the event
}

func (r *Room) place() Place { return Place{ID: r.id, Name: r.name()} }

// place is the room for what this member alone gets. The caller has the read lock, or holds Room.mu.
func (m *Member) place() Place { return Place{m.room.id, m.room.name(), m.nick.Shown} }

// lockedPlace is place for a caller that has neither.
func (m *Member) lockedPlace() Place {
	m.room.mu.Lock()
	defer m.room.mu.Unlock()
	return m.place()
}

// formats are all formats of a server, by roomlog.Format. Those of IRC are nil without its door.
type formats [roomlog.Formats]Format

// asText is for people, asJSON for programs. They call their methods of an event directly: through a
// function value each event would be allocated.
type (
	asText struct{}
	asJSON struct{}
)

func (asText) Render(b []byte, _ Place, ev wire.Event) []byte { return ev.AppendText(b) }
func (asJSON) Render(b []byte, _ Place, ev wire.Event) []byte { return ev.AppendJSON(b) }

func (asText) Replay(b []byte, _ Place, ev wire.Event, _ string) []byte { return ev.AppendText(b) }
func (asJSON) Replay(b []byte, _ Place, ev wire.Event, _ string) []byte { return ev.AppendJSON(b) }

func (f asText) Members(b []byte, at Place, all []RosterMember, _, n int) ([]byte, int) {
	for ; n < len(all) && len(b) < writeBytes; n++ {
		b = f.Render(b, at, all[n].event())
		if door := all[n].Door; door != "" {
			b = append(append(append(b[:len(b)-len("\n")], ", by "...), door...), '\n')
		}
	}
	return b, n
}

func (f asJSON) Members(b []byte, at Place, all []RosterMember, _, n int) ([]byte, int) {
	for ; n < len(all) && len(b) < writeBytes; n++ {
		b = f.Render(b, at, all[n].event())
		if door := all[n].Door; door != "" { // no field of an Event, which all lines would carry
			b = append(append(append(b[:len(b)-len("}\n")], `,"door":"`...), door...), "\"}\n"...)
		}
	}
	return b, n
}

func (m *RosterMember) event() wire.Event {
	return wire.Event{Type: wire.TypeMember, Nick: m.Nick, Since: m.Since}
}

func (asText) ForPeople() bool { return true }
func (asJSON) ForPeople() bool { return false }

// readership is the formats that the members of a room read. Room.mu guards it.
type readership struct {
	of      [roomlog.Formats]int // members that read each format
	scratch roomlog.Rendered     // of the event rendered last
}

// render renders an event in the formats that are read. If it is quiet the formats for people are
// left out. The bytes are valid until the next call. mu is held.
func (r *Room) render(ev wire.Event, quiet bool) roomlog.Event {
	e := roomlog.Event{Seq: ev.Seq}
	for f, n := range r.reads.of {
		if n == 0 {
			continue
		}
		if by := r.svc.formats[f]; !(quiet && by.ForPeople()) {
			r.reads.scratch[f] = by.Render(r.reads.scratch[f][:0], r.place(), ev)
			e.Rendered[f] = r.reads.scratch[f]
		}
	}
	return e
}

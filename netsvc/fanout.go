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
	// shardMembers is how many members a pass must have for each core that is
	// to take part in it.
	shardMembers = 256
	// maxPause bounds what pacing adds to the time of a line, and keepBytes what
	// of a log's memory is kept from one pass to the next.
	maxPause  = 5 * time.Millisecond
	keepBytes = 4 << 10
)

// pacer decides how long the next pass may wait for more lines, as fewer and
// larger writes are the only way to make a delivery cheaper. Nothing waits after
// a pass that found a single event: a line after a quiet time, or a conversation
// of two, is shown at once. When passes find several, the pause doubles, up to
// three times what a pass takes and maxPause: under load a line waits for that
// long at most, and the flusher sleeps at least as much as it works.
type pacer struct {
	seen  uint64 // the end of the log at the last pass
	began time.Time
	pause time.Duration
}

// wait returns how long to wait before a pass that begins now.
func (p *pacer) wait(now time.Time) time.Duration {
	if p.pause == 0 {
		return 0
	}
	return p.began.Add(p.pause).Sub(now)
}

// passed notes a pass up to the place end.
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

// wake has the flusher look at the log. It may be called with any lock held.
func (r *Room) wake() {
	if r.flushing.Acquire() {
		go r.fanOut()
	}
}

// fanOut is the flusher's goroutine: passes over the members until there is
// nothing new.
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

// pass gives every member what is pending, bounded for each, and reports
// whether a member has more to get. It begins with another member each time.
func (r *Room) pass() (again bool) {
	r.svc.counters.passes.Add(1)
	began := time.Now()
	end := r.log.End().Pos // before the members: one that joins later begins behind it
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

// passResult is what a pass has found of its members.
type passResult struct {
	more      bool // one has more to get, and takes it
	lagging   bool // one has not got everything, and what it needs is in the log
	fromStore bool // one needs what only the store has
}

func (f *passResult) add(g passResult) {
	f.more, f.lagging, f.fromStore = f.more || g.more, f.lagging || g.lagging, f.fromStore || g.fromStore
}

// passInShards shares a pass of many members between the cores.
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

// passOver flushes some members, while the log goes from the place from to end.
func (r *Room) passOver(members []*Member, from, end uint64) (f passResult) {
	maxLag := uint64(r.svc.opts().MaxLag)
	for _, m := range members {
		if !m.out.conn.Full() && m.out.flush() {
			f.more = true
			if m.hasEnded() {
				// The next pass may be without it, and the goroutine that drains it
				// may have found the write lock taken.
				go m.out.flushAll()
			}
		}
		pos := m.reached.Load()
		if pos < end {
			f.add(passResult{lagging: pos >= from, fromStore: pos < from})
			if maxLag > 0 && end-pos > maxLag {
				m.end(causeLagged)
			}
		}
	}
	return f
}

// output is the write side of a session: its conn, and the members that write to it. Whoever
// has the conn's write lock writes for all of them, in turn, so that no room starves another.
// While the conn is full all of them stand still: each reads on from its cursor later.
type output struct {
	// Set before the first member, then read-only.
	conn   *transport.Conn // its read lock is for the handler of input, its write lock for pump
	remote netip.AddrPort

	waiter  atomic.Pointer[chan struct{}] // capacity 1, made for a goroutine that waits: something has changed
	written atomic.Uint32                 // bytes, modulo 1 << 32
	flags   atomic.Uint32

	// Owned by the holder of the write lock.
	last   *Member // that was written for last, in a ring with the others; nil: there is none
	unsent []byte  // comes before anything else
}

// The flags of an output.
const (
	isGone      = 1 << iota // nothing can be written any more
	isReset                 // a read or a write has met a reset, or the time-out of a dead peer, before the end of the input
	isDead                  // the peer does not answer: the session ends once its input is handled
	isThrottled             // the holder of the read lock waits for the allowance
)

func (o *output) is(flag uint32) bool { return o.flags.Load()&flag != 0 }

func (o *output) set(flag uint32) { o.flags.Or(flag) }

func (o *output) unset(flag uint32) { o.flags.And(^flag) }

// session is the session that the output belongs to, once its conn is started.
func (o *output) session() memberSession { return o.conn.Handler().(memberSession) }

// add has a member write to the conn. The caller has the write lock, or the conn is not
// started yet.
func (o *output) add(m *Member) {
	if o.last == nil {
		o.last = m
	}
	m.next, o.last.next = o.last.next, m
	o.last = m
}

// removeNext undoes add for the member behind the last one.
func (o *output) removeNext() {
	if m := o.last.next; m == o.last {
		o.last = nil
	} else {
		o.last.next = m.next
	}
}

// declareDead breaks the connection to a dead peer. The session ends as soon as what the
// peer has sent is handled.
func (o *output) declareDead() {
	o.set(isDead | isGone)
	o.conn.Abort()
}

// Signal has a goroutine of the session look around that waits for something.
func (o *output) Signal() {
	if w := o.waiter.Load(); w != nil {
		select {
		case *w <- struct{}{}:
		default:
		}
	}
}

// signals returns what Signal sends to from now on, for a goroutine of the session that
// waits. There is one at most.
func (o *output) signals() <-chan struct{} {
	w := o.waiter.Load()
	if w == nil {
		c := make(chan struct{}, 1)
		w = &c
		o.waiter.Store(w)
	}
	return *w
}

// WaitSignal waits for a Signal, or for the time d.
func (o *output) WaitSignal(d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-o.signals():
	case <-t.C:
	}
}

// flush writes what is pending, about passBytes at most for each member, without waiting
// for the connection or the disk. It reports true if there is more, and the connection
// takes it. Anybody may call it.
func (o *output) flush() bool { return o.conn.AcquireWrite() && o.writeAndRelease(false) }

// flushAll is flush until the connection takes no more.
func (o *output) flushAll() {
	for o.flush() {
	}
}

// Writable says that the connection takes more.
func (o *output) Writable() { o.flushAll() }

// WritePending writes what has to be read from the disk first. It has the write lock.
func (o *output) WritePending() {
	for o.writeAndRelease(true) && o.conn.AcquireWrite() {
	}
}

// writeAndRelease writes what is pending, and runs again if it was asked to meanwhile. The
// caller has the write lock, which is given back. It reports true if there is more to
// write, and the caller is to go on.
func (o *output) writeAndRelease(disk bool) bool {
	for {
		result := o.writeTurns(disk)
		switch result {
		case needDisk:
			if !o.last.next.suspended() {
				go o.WritePending()
				return false
			}
		case finished: // the write lock stays taken: nobody writes any more
			o.conn.StopWriting()
			o.set(isGone)
			for o.last != nil {
				m := o.last.next
				o.removeNext()
				m.setDrained()
			}
			return false
		}
		goOn := result == more && !(disk && o.last.next.suspended())
		if o.conn.ReleaseWrite() {
			return goOn
		}
	}
}

// writeTurns gives each member a turn, and begins with the one whose turn it is: that does not end
// while the conn is full, or the disk is needed. The caller has the write lock.
func (o *output) writeTurns(disk bool) outcome {
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

// format is how events are written for those who read it. What is in the log of a room
// is rendered once for all members that read a format, and only while there is one.
type format interface {
	// render appends an event to b, or nothing if its readers are not shown it.
	render(b []byte, ev wire.Event) []byte
	// people reports whether it is read as it is: then it has less of what a program
	// needs to keep count, and a word where a stream of old lines ends.
	people() bool
}

// formats are all there are. A further one is a constant of roomlog, a row here, and a
// command that asks for it.
var formats = [roomlog.Formats]format{roomlog.Text: asText{}, roomlog.JSON: asJSON{}}

type asText struct{}

func (asText) render(b []byte, ev wire.Event) []byte { return ev.AppendText(b) }
func (asText) people() bool                          { return true }

type asJSON struct{}

func (asJSON) render(b []byte, ev wire.Event) []byte { return ev.AppendJSON(b) }
func (asJSON) people() bool                          { return false }

// readership is who reads the log of a room, and how. Guarded by Room.mu.
type readership struct {
	of      [roomlog.Formats]int // members that read each format
	scratch roomlog.Rendered     // of the event rendered last
}

// render renders an event in the formats that somebody reads, but if it is quiet not in
// those for people. The bytes are good until the next call.
func (r *readership) render(ev wire.Event, quiet bool) roomlog.Event {
	e := roomlog.Event{Seq: ev.Seq}
	for f, n := range r.of {
		if n > 0 && !(quiet && formats[f].people()) {
			r.scratch[f] = formats[f].render(r.scratch[f][:0], ev)
			e.Rendered[f] = r.scratch[f]
		}
	}
	return e
}

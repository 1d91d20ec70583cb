package roomlog

import (
	"sort"
	"sync"
)

// Cursor is a position in the log: after the event at Pos-1. Seq is the newest sequence number
// before it.
type Cursor struct {
	Pos uint64
	Seq uint64
}

// Event is an event for Append, which copies its bytes. Seq is its sequence number; 0: it is not in
// the history.
type Event struct {
	Seq uint64
	Rendered
}

// Empty reports whether no reader sees the event.
func (e *Event) Empty() bool {
	n := 0
	for _, b := range e.Rendered {
		n += len(b)
	}
	return n == 0
}

// Log is the log of a room. Its methods may be called from any goroutine.
type Log struct {
	window int     // bytes kept, all formats together
	budget *Budget // shared with other logs; nil: none

	mu    sync.Mutex
	start Cursor // before events[0]
	// events[i] is at position start.Pos+i.
	events  []event
	bytes   Rendered        // of the events, one after the other
	base    [Formats]uint32 // stream offset of bytes[f][0], modulo 1 << 32 as all offsets: a window is smaller
	charged int             // bytes that the budget counts
	used    Format          // the formats below it have had bytes; offsets in the others are 0
}

// event is the end of an event.
type event struct {
	seq    uint64          // the newest sequence number up to here
	stored bool            // seq is this event's: it is in the history
	end    [Formats]uint32 // stream offset after it
}

// New returns an empty log with a window of about so many bytes. Its next event comes after the
// sequence number seq.
func New(window int, seq uint64) *Log {
	return &Log{window: window, start: Cursor{Seq: seq}}
}

// SetBudget puts the log under a budget, before the log is used.
func (l *Log) SetBudget(b *Budget) { l.budget = b }

// chargeBudget tells the budget how many bytes the log has. mu is held.
func (l *Log) chargeBudget() {
	if n := l.size(); l.budget != nil && n != l.charged {
		l.budget.used.Add(int64(n - l.charged))
		l.charged = n
	}
}

// limit returns how many bytes the log may have now.
func (l *Log) limit() int {
	const part = 16 // of the window, when the budget is used up
	if l.budget != nil && l.budget.used.Load() > l.budget.bytes {
		return l.window / part
	}
	return l.window
}

// End returns the cursor after the newest event.
func (l *Log) End() Cursor {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.end()
}

func (l *Log) end() Cursor {
	if len(l.events) == 0 {
		return l.start
	}
	return Cursor{l.start.Pos + uint64(len(l.events)), l.events[len(l.events)-1].seq}
}

// Start returns the cursor before the oldest event in the window.
func (l *Log) Start() Cursor {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.start
}

// Append puts an event at the end and returns the cursor before it.
func (l *Log) Append(e Event) (before Cursor) {
	l.mu.Lock()
	defer l.mu.Unlock()
	before = l.end()
	ev := event{seq: before.Seq}
	if e.Seq > 0 {
		ev.seq, ev.stored = e.Seq, true
	}
	for f := Formats; f > l.used; f-- {
		if len(e.Rendered[f-1]) > 0 {
			l.used = f
		}
	}
	for f, p := range e.Rendered[:l.used] {
		l.bytes[f] = append(l.bytes[f], p...)
		ev.end[f] = l.base[f] + uint32(len(l.bytes[f]))
	}
	l.events = append(l.events, ev)
	for l.size() > l.limit() && len(l.events) > 1 {
		l.drop()
	}
	l.chargeBudget()
	return before
}

const eventSize = 48 // bytes of an event in memory, for the bound

func (l *Log) size() int {
	n := eventSize * len(l.events)
	for _, b := range l.bytes[:l.used] {
		n += len(b)
	}
	return n
}

// drop drops the older half of the events, but never the newest one. The rest is copied, because
// readers may still use the old memory.
func (l *Log) drop() {
	n := len(l.events) / 2
	cut := l.events[n-1]
	for f := range l.used {
		l.bytes[f] = append([]byte(nil), l.bytes[f][cut.end[f]-l.base[f]:]...)
		l.base[f] = cut.end[f]
	}
	l.events = append([]event(nil), l.events[n:]...)
	l.start = Cursor{l.start.Pos + uint64(n), cut.seq}
}

// Clear drops all events: the log of a room without members needs no memory.
func (l *Log) Clear() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.dropAll(false, false)
}

// Release drops all events, if end is the end of the log: the caller says that nobody needs them.
// The memory is kept for the next events if they took more than keep bytes, because there will be
// as many again. Unless read is set, no Span of them may be in use any more.
func (l *Log) Release(end uint64, keep int, read bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.events) > 0 && l.end().Pos == end {
		l.dropAll(l.size() > keep, read)
	}
}

func (l *Log) dropAll(keep, read bool) {
	l.start = l.end()
	for f := range l.used {
		l.base[f] += uint32(len(l.bytes[f]))
		l.bytes[f] = reuse(l.bytes[f], keep, read)
	}
	l.events = reuse(l.events, keep, read)
	l.chargeBudget()
}

// reuse returns the space for the next elements: none unless keep is set, and not that of b
// while readers may use b.
func reuse[E any](b []E, keep, read bool) []E {
	switch {
	case !keep:
		return nil
	case read:
		return make([]E, 0, len(b))
	}
	return b[:0]
}

// Read returns the events from c on that are before position until: as many as fit into limit
// bytes, and at least one. ok is false if c is before the window: then read from the store, by
// c.Seq, until Find succeeds.
func (l *Log) Read(c Cursor, f Format, until uint64, limit int) (s Span, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if c.Pos < l.start.Pos {
		return Span{}, false
	}
	until = min(until, l.end().Pos)
	s = Span{Next: c, from: c, format: f}
	if c.Pos >= until {
		return s, true
	}
	first, n := c.Pos-l.start.Pos, until-c.Pos
	s.base = l.base[f]
	if first > 0 {
		s.base = l.events[first-1].end[f]
	}
	s.events = l.events[first : first+n : first+n]
	if int(s.events[n-1].end[f]-s.base) > limit {
		fit := sort.Search(len(s.events), func(i int) bool { return int(s.events[i].end[f]-s.base) > limit })
		s.events = s.events[:max(fit, 1)]
	}
	last := s.events[len(s.events)-1]
	from, to := s.base-l.base[f], last.end[f]-l.base[f]
	s.Bytes = l.bytes[f][from:to:to]
	s.Next = Cursor{c.Pos + uint64(len(s.events)), last.seq}
	return s, true
}

// Find returns the cursor after the event with the newest sequence number that is not above seq. ok
// is false if that cursor is before the window.
func (l *Log) Find(seq uint64) (c Cursor, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if seq < l.start.Seq {
		return Cursor{}, false
	}
	if seq >= l.end().Seq {
		// After the newest event with a number, not after the events without one behind it.
		seq = l.end().Seq
	}
	i := sort.Search(len(l.events), func(i int) bool { return l.events[i].seq > seq })
	for i > 0 && !l.events[i-1].stored {
		i--
	}
	if i == 0 {
		return l.start, true
	}
	return Cursor{l.start.Pos + uint64(i), l.events[i-1].seq}, true
}

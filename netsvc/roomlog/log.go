package roomlog

import (
	"sort"
	"sync"
	"sync/atomic"
)

// Format is a rendering of the log.
type Format uint8

const (
	Text Format = iota
	JSON
	Formats // how many there are
)

// String is what the format is called.
func (f Format) String() string { return [Formats]string{"text", "JSON"}[f] }

// Rendered is an event's bytes in each format. Empty bytes are legal: readers of that
// format do not see the event.
type Rendered [Formats][]byte

// Cursor is a place in the log: behind the event at Pos-1. Seq is the newest
// sequence number at or before it.
type Cursor struct {
	Pos uint64
	Seq uint64
}

// Event is what Append takes: an event's sequence number, 0 if it is not in
// the history, and its bytes, which are copied.
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

// Log is safe for use by any number of goroutines.
type Log struct {
	window int     // bytes kept, all formats together
	budget *Budget // shared with other logs; nil: none

	mu    sync.Mutex
	start Cursor // the place before events[0]
	// events[i] is at position start.Pos+i.
	events  []event
	bytes   Rendered        // of the events, one after the other
	base    [Formats]uint64 // stream offset of bytes[f][0]
	charged int             // bytes counted against the budget
}

// Budget bounds what many logs hold together. Beyond it each keeps a small part
// of its window only: those who lag behind it read from the store.
type Budget struct {
	bytes int64
	used  atomic.Int64
}

// NewBudget returns a budget of so many bytes.
func NewBudget(bytes int64) *Budget { return &Budget{bytes: bytes} }

// Used is how many bytes the logs hold.
func (b *Budget) Used() int64 { return b.used.Load() }

// event is where an event ends.
type event struct {
	seq    uint64          // the newest sequence number up to here
	stored bool            // whether seq is this event's
	end    [Formats]uint64 // stream offset behind it
}

// New returns an empty log whose window is about so many bytes, and whose next
// event comes after the history's sequence number seq.
func New(window int, seq uint64) *Log {
	return &Log{window: window, start: Cursor{Seq: seq}}
}

// SetBudget puts the log under a budget, before it is used.
func (l *Log) SetBudget(b *Budget) { l.budget = b }

// chargeBudget tells the budget what the log holds. mu is held.
func (l *Log) chargeBudget() {
	if n := l.size(); l.budget != nil && n != l.charged {
		l.budget.used.Add(int64(n - l.charged))
		l.charged = n
	}
}

// limit is how much the log may hold now.
func (l *Log) limit() int {
	const part = 16 // of the window, for each when the budget is used up
	if l.budget != nil && l.budget.used.Load() > l.budget.bytes {
		return l.window / part
	}
	return l.window
}

// End returns the place behind the newest event.
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

// Start returns the place before the oldest event in the window.
func (l *Log) Start() Cursor {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.start
}

// Append puts an event at the end and returns the place before it.
func (l *Log) Append(e Event) (before Cursor) {
	l.mu.Lock()
	defer l.mu.Unlock()
	before = l.end()
	ev := event{seq: before.Seq}
	if e.Seq > 0 {
		ev.seq, ev.stored = e.Seq, true
	}
	for f, p := range e.Rendered {
		l.bytes[f] = append(l.bytes[f], p...)
		ev.end[f] = l.base[f] + uint64(len(l.bytes[f]))
	}
	l.events = append(l.events, ev)
	for l.size() > l.limit() && len(l.events) > 1 {
		l.drop()
	}
	l.chargeBudget()
	return before
}

const eventSize = 40 // bytes of an event in memory, for the bound

func (l *Log) size() int {
	n := eventSize * len(l.events)
	for _, b := range l.bytes {
		n += len(b)
	}
	return n
}

// drop forgets the older half; the newest event always stays. What is kept is
// copied, so that readers keep what they have.
func (l *Log) drop() {
	n := len(l.events) / 2
	cut := l.events[n-1]
	for f := range l.bytes {
		l.bytes[f] = append([]byte(nil), l.bytes[f][cut.end[f]-l.base[f]:]...)
		l.base[f] = cut.end[f]
	}
	l.events = append([]event(nil), l.events[n:]...)
	l.start = Cursor{l.start.Pos + uint64(n), cut.seq}
}

// Clear empties the window: a room without members holds nothing.
func (l *Log) Clear() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.start = l.end()
	for f := range l.bytes {
		l.base[f] += uint64(len(l.bytes[f]))
		l.bytes[f] = nil
	}
	l.events = nil
	l.chargeBudget()
}

// Release says that nobody needs what is before the position end. If there is
// nothing behind it, the window is emptied; its memory is kept for the next
// events if there were more than keep bytes, as then there will be again. Unless
// read, no Span of what was before may be in use any more.
func (l *Log) Release(end uint64, keep int, read bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.events) == 0 || l.end().Pos != end {
		return
	}
	busy := l.size() > keep
	l.start = l.end()
	for f := range l.bytes {
		l.base[f] += uint64(len(l.bytes[f]))
		l.bytes[f] = reuse(l.bytes[f], busy, read)
	}
	l.events = reuse(l.events, busy, read)
	l.chargeBudget()
}

// reuse is space for what comes next; none unless it is kept, and not that of
// b itself while somebody may read it.
func reuse[E any](b []E, keep, read bool) []E {
	switch {
	case !keep:
		return nil
	case read:
		return make([]E, 0, len(b))
	}
	return b[:0]
}

// Span is a piece of the log. Bytes is what its events rendered to.
type Span struct {
	Bytes []byte
	Next  Cursor // behind the span

	from   Cursor
	format Format
	base   uint64 // stream offset of Bytes[0]
	events []event
}

// Read returns the events from c on, but none at or behind position until, as
// many as fit into limit bytes and at least one. ok is false when c is before
// the window: read from the store, by c.Seq, until Find succeeds.
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
	if s.events[n-1].end[f]-s.base > uint64(limit) {
		fit := sort.Search(len(s.events), func(i int) bool { return s.events[i].end[f]-s.base > uint64(limit) })
		s.events = s.events[:max(fit, 1)]
	}
	last := s.events[len(s.events)-1]
	from, to := s.base-l.base[f], last.end[f]-l.base[f]
	s.Bytes = l.bytes[f][from:to:to]
	s.Next = Cursor{c.Pos + uint64(len(s.events)), last.seq}
	return s, true
}

// After tells where a reader stands that got the first n bytes of the span: at
// next, behind the last event it got any of, with rest of that event to come.
func (s Span) After(n int) (next Cursor, rest []byte) {
	if n <= 0 {
		return s.from, nil
	}
	if n >= len(s.Bytes) {
		return s.Next, nil
	}
	at := s.base + uint64(n)
	i := sort.Search(len(s.events), func(i int) bool { return s.events[i].end[s.format] >= at })
	ev := s.events[i]
	return Cursor{s.from.Pos + uint64(i) + 1, ev.seq}, s.Bytes[n : ev.end[s.format]-s.base]
}

// Find returns the place behind the event with the newest sequence number that
// is not above seq. ok is false when that place is before the window.
func (l *Log) Find(seq uint64) (c Cursor, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if seq < l.start.Seq {
		return Cursor{}, false
	}
	if seq >= l.end().Seq {
		// Behind the newest that is stored, not behind the events after it.
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

package roomlog

import "sort"

// Span is a piece of the log, and its bytes in one format.
type Span struct {
	Bytes []byte
	Next  Cursor // after the span

	from   Cursor
	format Format
	base   uint32 // stream offset of Bytes[0]
	events []event
}

// After returns the cursor of a reader that got the first n bytes of the span: it is after the last
// event of which the reader got some bytes. rest is the rest of that event.
func (s Span) After(n int) (next Cursor, rest []byte) {
	if n <= 0 {
		return s.from, nil
	}
	if n >= len(s.Bytes) {
		return s.Next, nil
	}
	i := sort.Search(len(s.events), func(i int) bool { return int(s.events[i].end[s.format]-s.base) >= n })
	ev := s.events[i]
	return Cursor{s.from.Pos + uint64(i) + 1, ev.seq}, s.Bytes[n : ev.end[s.format]-s.base]
}

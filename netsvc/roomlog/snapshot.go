package roomlog

import (
	"bytes"
	"errors"
	"sort"
)

// Snapshot is the end of a log, from which Restore makes a log in another process.
type Snapshot struct {
	Start Cursor  `json:"start"` // before the first event
	Ends  []Piece `json:"ends,omitempty"`
	Text  []byte  `json:"text,omitempty"` // of all events, one after the other
	JSON  []byte  `json:"json,omitempty"`
	// Others are the bytes in the further formats, from the first on; none if nobody reads them.
	Others [][]byte `json:"others,omitempty"`
}

// Piece is an event: its sequence number, 0 if it is not in the history, and its number of bytes in
// each format.
type Piece struct {
	Seq  uint64 `json:"seq,omitempty"`
	Text int    `json:"text,omitempty"`
	JSON int    `json:"json,omitempty"`
	// Others are those in the further formats.
	Others []int `json:"others,omitempty"`
}

// firstOther is the first of the further formats.
const firstOther = JSON + 1

// pieceBytes is about the size of a Piece as JSON.
const pieceBytes = 32

// Snapshot returns the events from position pos on, but only the newest ones if they would take more
// than about most bytes. A cursor before the snapshot is before the window of the restored log.
func (l *Log) Snapshot(pos uint64, most int) Snapshot {
	l.mu.Lock()
	defer l.mu.Unlock()
	end := l.end()
	if pos >= end.Pos || len(l.events) == 0 {
		return Snapshot{Start: end}
	}
	first := 0
	s := Snapshot{Start: l.start}
	from := l.base
	if pos > l.start.Pos {
		first = int(pos - l.start.Pos)
	}
	last := l.events[len(l.events)-1].end
	first += sort.Search(len(l.events)-first, func(i int) bool {
		ev := l.base
		if first+i > 0 {
			ev = l.events[first+i-1].end
		}
		size := 0
		for f := range last {
			size += int(last[f] - ev[f])
		}
		return size+pieceBytes*(len(l.events)-first-i) <= most
	})
	if first == len(l.events) {
		return Snapshot{Start: end}
	}
	if first > 0 {
		before := l.events[first-1]
		s.Start, from = Cursor{l.start.Pos + uint64(first), before.seq}, before.end
	}
	s.Text = append(s.Text, l.bytes[Text][from[Text]-l.base[Text]:]...)
	s.JSON = append(s.JSON, l.bytes[JSON][from[JSON]-l.base[JSON]:]...)
	others := Formats // up to the last one that is read
	for others > firstOther && last[others-1] == from[others-1] {
		others--
	}
	for f := firstOther; f < others; f++ {
		s.Others = append(s.Others, bytes.Clone(l.bytes[f][from[f]-l.base[f]:]))
	}
	for _, ev := range l.events[first:] {
		p := Piece{Text: int(ev.end[Text] - from[Text]), JSON: int(ev.end[JSON] - from[JSON])}
		for f := firstOther; f < others; f++ {
			p.Others = append(p.Others, int(ev.end[f]-from[f]))
		}
		if ev.stored {
			p.Seq = ev.seq
		}
		s.Ends = append(s.Ends, p)
		from = ev.end
	}
	return s
}

// Size returns about how many bytes the snapshot takes.
func (s *Snapshot) Size() int {
	n := len(s.Text) + len(s.JSON) + pieceBytes*len(s.Ends)
	for _, b := range s.Others {
		n += len(b)
	}
	return n
}

// Restore returns a log of a snapshot, under a budget if that is not nil. Cursors of the original log
// are valid in it.
func Restore(window int, budget *Budget, s Snapshot) (*Log, error) {
	l := New(window, s.Start.Seq)
	l.SetBudget(budget)
	l.start = s.Start
	rest := Rendered{Text: s.Text, JSON: s.JSON}
	copy(rest[firstOther:], s.Others)
	for _, p := range s.Ends {
		e := Event{Seq: p.Seq}
		ends := append([]int{p.Text, p.JSON}, p.Others...)
		if len(ends) > len(rest) {
			return nil, errors.New("the events of a log have more formats than there are")
		}
		for f, n := range ends {
			if n < 0 || n > len(rest[f]) {
				return nil, errors.New("the events of a log are longer than its bytes")
			}
			e.Rendered[f], rest[f] = rest[f][:n], rest[f][n:]
		}
		l.Append(e)
	}
	return l, nil
}

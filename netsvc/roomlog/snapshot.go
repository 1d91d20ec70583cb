package roomlog

import (
	"errors"
	"sort"
)

// Snapshot is the end of a log, from which Restore makes a log in another process.
type Snapshot struct {
	Start Cursor  `json:"start"` // before the first event
	Ends  []Piece `json:"ends,omitempty"`
	Text  []byte  `json:"text,omitempty"` // of all events, one after the other
	JSON  []byte  `json:"json,omitempty"`
}

// Piece is an event: its sequence number, 0 if it is not in the history, and its number of bytes in
// each format.
type Piece struct {
	Seq  uint64 `json:"seq,omitempty"`
	Text int    `json:"text,omitempty"`
	JSON int    `json:"json,omitempty"`
}

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
		return int(last[Text]-ev[Text]+last[JSON]-ev[JSON])+pieceBytes*(len(l.events)-first-i) <= most
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
	for _, ev := range l.events[first:] {
		p := Piece{Text: int(ev.end[Text] - from[Text]), JSON: int(ev.end[JSON] - from[JSON])}
		if ev.stored {
			p.Seq = ev.seq
		}
		s.Ends = append(s.Ends, p)
		from = ev.end
	}
	return s
}

// Size returns about how many bytes the snapshot takes.
func (s *Snapshot) Size() int { return len(s.Text) + len(s.JSON) + pieceBytes*len(s.Ends) }

// Restore returns a log of a snapshot, under a budget if that is not nil. Cursors of the original log
// are valid in it.
func Restore(window int, budget *Budget, s Snapshot) (*Log, error) {
	l := New(window, s.Start.Seq)
	l.SetBudget(budget)
	l.start = s.Start
	text, object := s.Text, s.JSON
	for _, p := range s.Ends {
		if p.Text < 0 || p.JSON < 0 || p.Text > len(text) || p.JSON > len(object) {
			return nil, errors.New("the events of a log are longer than its bytes")
		}
		l.Append(Event{p.Seq, Rendered{Text: text[:p.Text], JSON: object[:p.JSON]}})
		text, object = text[p.Text:], object[p.JSON:]
	}
	return l, nil
}

package roomlog

import (
	"errors"
	"sort"
)

// Snapshot is a piece of a log that another process can go on with.
type Snapshot struct {
	Start Cursor  `json:"start"` // the place before the first event
	Ends  []Piece `json:"ends,omitempty"`
	Text  []byte  `json:"text,omitempty"` // of all events, one after the other
	JSON  []byte  `json:"json,omitempty"`
}

// Piece is an event: its sequence number, 0 if it is not in the history, and how
// much of each format's bytes is its own.
type Piece struct {
	Seq  uint64 `json:"seq,omitempty"`
	Text int    `json:"text,omitempty"`
	JSON int    `json:"json,omitempty"`
}

// pieceBytes is about what an event takes in a snapshot beside its bytes.
const pieceBytes = 32

// Snapshot returns what the log has from position pos on, but of that only the end,
// if it would take more than about most bytes. A cursor before the snapshot has
// fallen out of the log that is made of it.
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

// Size is about what the snapshot takes, in bytes.
func (s *Snapshot) Size() int { return len(s.Text) + len(s.JSON) + pieceBytes*len(s.Ends) }

// Restore makes a log of a snapshot, under a budget if that is not nil: cursors of
// the log it is from are good in it.
func Restore(window int, budget *Budget, s Snapshot) (*Log, error) {
	l := New(window, s.Start.Seq)
	l.SetBudget(budget)
	l.start = s.Start
	text, object := s.Text, s.JSON
	for _, p := range s.Ends {
		if p.Text < 0 || p.JSON < 0 || p.Text > len(text) || p.JSON > len(object) {
			return nil, errors.New("a log's pieces are longer than what it has")
		}
		l.Append(Event{p.Seq, Rendered{Text: text[:p.Text], JSON: object[:p.JSON]}})
		text, object = text[p.Text:], object[p.JSON:]
	}
	return l, nil
}

package roomlog

import "errors"

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

// Snapshot returns what the log has from position pos on.
func (l *Log) Snapshot(pos uint64) Snapshot {
	l.mu.Lock()
	defer l.mu.Unlock()
	end := l.end()
	if pos >= end.Pos {
		return Snapshot{Start: end}
	}
	first := 0
	s := Snapshot{Start: l.start}
	from := l.base
	if pos > l.start.Pos {
		first = int(pos - l.start.Pos)
		before := l.events[first-1]
		s.Start, from = Cursor{pos, before.seq}, before.end
	}
	s.Text = append(s.Text, l.bytes[Text][from[Text]-l.base[Text]:]...)
	s.JSON = append(s.JSON, l.bytes[JSON][from[JSON]-l.base[JSON]:]...)
	for _, ev := range l.events[first:] {
		p := Piece{Text: int(ev.end[Text] - from[Text]), JSON: int(ev.end[JSON] - from[JSON])}
		if ev.own {
			p.Seq = ev.seq
		}
		s.Ends = append(s.Ends, p)
		from = ev.end
	}
	return s
}

// Restore makes a log of a snapshot, under a budget if that is not nil: cursors of
// the log it is from are good in it.
func Restore(window int, budget *Budget, s Snapshot) (*Log, error) {
	l := New(window, s.Start.Seq)
	l.Share(budget)
	l.start = s.Start
	text, object := s.Text, s.JSON
	for _, p := range s.Ends {
		if p.Text < 0 || p.JSON < 0 || p.Text > len(text) || p.JSON > len(object) {
			return nil, errors.New("a log's pieces are longer than what it has")
		}
		l.Append(Event{p.Seq, text[:p.Text], object[:p.JSON]})
		text, object = text[p.Text:], object[p.JSON:]
	}
	return l, nil
}

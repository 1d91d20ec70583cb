package history

import (
	"time"

	"roomd/store"
)

// Window is a request for a part of a history: of the lines with After < seq <= Upto the N oldest, or
// the N newest.
type Window struct {
	After, Upto uint64
	N           int
	Newest      bool
	NoTopics    bool // topics do not count
	// WholeMillis adds the lines of the millisecond in which the N lines end: a client that goes on
	// from the time of the last one, which it knows in milliseconds, then misses none.
	WholeMillis bool
}

// Span is what Range has found: the lines with After < seq <= Upto. Of them Count lines count, and
// with WholeMillis perhaps more.
type Span struct {
	After, Upto uint64
	Count       int
	Newest      time.Time // of the newest line that counts
}

// Range finds the lines of a window, whose numbers may have gaps, and charges for those that it reads.
func (h *History) Range(w Window) (s Span, err error) {
	s = Span{After: w.After, Upto: w.Upto}
	if w.Newest {
		err = h.newestIn(w, &s)
	} else {
		err = h.oldestIn(w, &s)
	}
	if s.Count == 0 {
		s.After = s.Upto
	}
	return s, err
}

// oldestIn is Range from the old end.
func (h *History) oldestIn(w Window, s *Span) error {
	for at, more := w.After, true; more && s.Count < w.N && at < w.Upto; {
		lines, err := h.page(at, w.Upto)
		if err != nil {
			return err
		}
		more = len(lines) > 0
		for i := range lines {
			if at = lines[i].Seq; w.NoTopics && lines[i].Kind == store.Topic {
				continue
			}
			s.Newest = lines[i].Time
			if s.Count++; s.Count == w.N {
				break
			}
		}
		s.Upto = at
	}
	if s.Count < w.N || !w.WholeMillis {
		return nil
	}
	last, err := h.NewestBefore(s.Newest.Truncate(time.Millisecond).Add(time.Millisecond))
	if last = min(last, w.Upto); last > s.Upto {
		err = h.extend(s.Upto, last, err)
		s.Upto = last
	}
	return err
}

// newestIn is Range from the new end.
func (h *History) newestIn(w Window, s *Span) error {
	var oldest time.Time
	for at := w.Upto; s.Count < w.N && at > w.After; {
		want := w.N - s.Count
		from, n, err := h.Newest(at, want)
		if err != nil {
			return err
		}
		from = max(from, w.After)
		var counted []store.Line // of this piece: at most as many as are wanted
		for after := from; after < at; {
			lines, err := h.page(after, at)
			if err != nil {
				return err
			}
			if len(lines) == 0 {
				break
			}
			after = lines[len(lines)-1].Seq
			for i := range lines {
				if !w.NoTopics || lines[i].Kind != store.Topic {
					counted = append(counted, store.Line{Seq: lines[i].Seq, Time: lines[i].Time})
				}
			}
		}
		if k := len(counted); k > 0 {
			if s.Count == 0 {
				s.Newest = counted[k-1].Time
			}
			s.Count, s.After, oldest = s.Count+k, counted[0].Seq-1, counted[0].Time
		}
		if at = from; n < want {
			break
		}
	}
	if s.Count < w.N || !w.WholeMillis {
		return nil
	}
	before, err := h.NewestBefore(oldest.Truncate(time.Millisecond))
	if before = max(before, w.After); before < s.After {
		err = h.extend(before, s.After, err)
		s.After = before
	}
	return err
}

// extend charges for the lines that WholeMillis adds, unless there is an error.
func (h *History) extend(after, upto uint64, err error) error {
	if err == nil {
		err = h.Charge(int(upto - after))
	}
	return err
}

// page reads a page of lines, and charges for it.
func (h *History) page(after, upto uint64) (lines []store.Line, err error) {
	if ended := h.Turn(func() { lines, err = h.Store.Lines(h.Room, after, upto, PageBytes) }); ended != nil {
		return nil, ended
	}
	if err == nil {
		err = h.Charge(len(lines))
	}
	return lines, err
}

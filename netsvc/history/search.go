package history

import (
	"strings"
	"time"

	"roomd/netsvc/wire"
	"roomd/store"
)

// Found is the result of a search.
type Found struct {
	Lines   []store.Line // the newest of them, the oldest of those first
	Count   int          // of all
	Damaged int          // blocks that could not be read
}

// Search finds the lines with Seq <= upto whose text or sender contains the text, ignoring case, and
// which are not older than since. It returns the newest n of them, with an error those that it has
// found so far.
func (h *History) Search(upto uint64, text string, since time.Time, n int) (f Found, err error) {
	folded := wire.Fold(text)
	f.Damaged, err = h.Each(0, upto, func(l store.Line) {
		if l.Time.Before(since) || !contains(&l, folded) {
			return
		}
		f.Count++
		if f.Lines = append(f.Lines, l); len(f.Lines) >= 2*n { // bounds the memory
			f.Lines = append(f.Lines[:0], f.Lines[len(f.Lines)-n:]...)
		}
	})
	f.Lines = f.Lines[max(0, len(f.Lines)-n):]
	return f, err
}

// contains reports whether the text of a line or its sender contains a text, ignoring case.
func contains(l *store.Line, folded string) bool {
	return strings.Contains(wire.Fold(l.Text), folded) || strings.Contains(wire.Fold(l.From), folded)
}

// MaxFound is how many lines a Lookup finds at most.
const MaxFound = 50

// Lookup is a search for the newest lines of a room whose text or sender contains a text, ignoring
// case, page by page backward. The lines are found first, and then the caller shows them.
type Lookup struct {
	Text string   // folded; empty: all lines are found
	Hits []uint64 // the numbers of the lines that are found and not shown, the newest first
}

// Next searches the newest page of the lines of a room with Seq <= upto. Behind the last one Text is
// empty; else the caller goes on with upto = after. The caller has its turn.
func (l *Lookup) Next(st *store.Store, room, upto uint64) (after uint64, err error) {
	lines, after, _, err := st.LinesBackward(room, upto, PageBytes)
	if err != nil {
		return 0, err
	}
	for i := range lines {
		if len(l.Hits) < MaxFound && contains(&lines[i], l.Text) {
			l.Hits = append(l.Hits, lines[i].Seq)
		}
	}
	if after == 0 || len(l.Hits) >= MaxFound {
		l.Text = ""
	}
	return after, nil
}

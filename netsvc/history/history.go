package history

import (
	"time"

	"roomd/store"
)

// PageBytes is about how many bytes of lines are read in a turn.
const PageBytes = 16 << 10

// History is the history of a room, for one who reads it. A method that reads returns the errors of
// the store, and those of Turn and Charge.
type History struct {
	Store *store.Store
	Room  uint64 // the room's ID
	// Turn calls read when it is the reader's turn. With an error it has not called it.
	Turn func(read func()) error
	// Charge charges the reader for lines of Range; the lines are of no use to it after an error.
	Charge func(lines int) error
}

// Each calls fn with the lines with after < Seq <= upto, the oldest first. Damaged blocks are
// skipped and counted.
func (h *History) Each(after, upto uint64, fn func(store.Line)) (damaged int, err error) {
	for more := after < upto; more && err == nil; {
		if ended := h.Turn(func() {
			var lines []store.Line
			left := 0
			lines, left, err = h.Store.LinesSkipped(h.Room, after, upto, PageBytes)
			damaged += left
			for _, l := range lines {
				fn(l)
				after = l.Seq
			}
			more = len(lines) > 0 && after < upto
		}); ended != nil {
			return damaged, ended
		}
	}
	return damaged, err
}

// Newest finds the newest n lines with Seq <= upto: they are those after the returned sequence
// number, and there are count of them, fewer than n if the room has no more.
func (h *History) Newest(upto uint64, n int) (after uint64, count int, err error) {
	after = upto
	for more := true; more && err == nil; {
		found := 0
		if err := h.Turn(func() { after, found, more, err = h.Store.Newest(h.Room, after, n-count) }); err != nil {
			return 0, 0, err
		}
		count += found
	}
	return after, count, err
}

// NewestBefore returns the sequence number of the newest line that is older than t; 0: there is none.
func (h *History) NewestBefore(t time.Time) (seq uint64, err error) {
	if ended := h.Turn(func() { seq, err = h.Store.NewestBefore(h.Room, t) }); ended != nil {
		return 0, ended
	}
	return seq, err
}

// Lines returns the newest n lines with after < Seq <= upto. Damaged blocks are skipped and counted.
func (h *History) Lines(after, upto uint64, n int) (all []store.Line, damaged int, err error) {
	first, count, err := h.Newest(upto, n)
	if err != nil {
		return nil, 0, err
	}
	if count < n { // all lines: damaged ones may come before them
		first = 0
	}
	damaged, err = h.Each(max(first, after), upto, func(l store.Line) { all = append(all, l) })
	return all, damaged, err
}

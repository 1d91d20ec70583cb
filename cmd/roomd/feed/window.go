package feed

import "time"

// window is how many lines may be under way: fewer where the server takes them
// slowly. What is refused for now is tried again behind what was under way.
type window struct {
	size  int
	least time.Duration // from the sending to the arrival
}

const (
	firstWindow  = 16
	mostUnderWay = 256
	slowly       = 100 * time.Millisecond // beyond the least
)

// took learns from a line that has arrived.
func (w *window) took(d time.Duration) {
	if w.least == 0 || d < w.least {
		w.least = d
	}
	if d > w.least+slowly {
		w.size = max(w.size/2, 1)
	} else {
		w.size = min(w.size+1, mostUnderWay)
	}
	w.least += (d - w.least) / 64 // the way may have become longer
}

// mute is a time in which the room takes no line: the member is muted, the room
// or the database is read-only, the disk is full.
type mute struct {
	since time.Time // zero: the room takes lines
	next  time.Time // when a line is tried again
	pause time.Duration
	over  bool // it has lasted for longer than the patience: no line waits for its end
}

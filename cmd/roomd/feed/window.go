package feed

import "time"

// window is how many lines may be under way: fewer where the server takes them
// slowly. What is refused for now is tried again behind what was under way.
type window struct {
	size    int
	minTime time.Duration // from the sending to the arrival
}

const (
	initialWindow = 16
	maxWindow     = 256
	slowThreshold = 100 * time.Millisecond // beyond the least
)

// observe learns from a line that has arrived.
func (w *window) observe(d time.Duration) {
	if w.minTime == 0 || d < w.minTime {
		w.minTime = d
	}
	if d > w.minTime+slowThreshold {
		w.size = max(w.size/2, 1)
	} else {
		w.size = min(w.size+1, maxWindow)
	}
	w.minTime += (d - w.minTime) / 64 // the way may have become longer
}

// refusal is a time in which the room takes no line: the member is muted, the room
// or the database is read-only, the disk is full.
type refusal struct {
	since   time.Time // zero: the room takes lines
	retryAt time.Time // when a line is tried again
	pause   time.Duration
	expired bool // it has lasted for longer than the patience: no line waits for its end
}

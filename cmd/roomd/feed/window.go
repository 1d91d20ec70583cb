package feed

import "time"

// window bounds the number of lines in flight. It is smaller if the server is slow, because a
// refused line is stored after the lines that were in flight behind it.
type window struct {
	size    int
	minTime time.Duration // from sending to the receipt
}

const (
	initialWindow = 16
	maxWindow     = 256
	slowThreshold = 100 * time.Millisecond // above minTime
)

// observe adapts the window to the time of a stored line.
func (w *window) observe(d time.Duration) {
	if w.minTime == 0 || d < w.minTime {
		w.minTime = d
	}
	if d > w.minTime+slowThreshold {
		w.size = max(w.size/2, 1)
	} else {
		w.size = min(w.size+1, maxWindow)
	}
	w.minTime += (d - w.minTime) / 64 // follow a connection that becomes slower
}

// refusal is a period in which the room refuses lines: the member is muted, the room or the
// database is read-only, the disk is full.
type refusal struct {
	since   time.Time // zero: the room accepts lines
	retryAt time.Time // when the next attempt is due
	pause   time.Duration
	expired bool // longer than Options.Timeout: lines are skipped instead of waiting
}

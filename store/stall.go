package store

import (
	"sync"
	"time"
)

// stallAfter is how long the disk may take for one commit before that is worth
// a word.
const stallAfter = time.Second

// stall knows how long the disk takes for what it is being asked. While it is
// asked nothing, or answers in time, there is no goroutine, and no timer runs.
type stall struct {
	tell  func(took time.Duration, over bool) // Events.Stalled
	alarm *time.Timer                         // the committer's

	mu    sync.Mutex
	since time.Time          // zero: the disk is asked nothing
	over  chan time.Duration // not nil: it has been told; gets how long it took
}

// ask runs fn, which waits for the disk. Only the committer calls it, or a goroutine
// that it waits for before it asks again.
func (w *stall) ask(fn func() error) error {
	w.mu.Lock()
	w.since = time.Now()
	w.mu.Unlock()
	if w.alarm == nil {
		w.alarm = time.AfterFunc(stallAfter, w.ring)
	} else {
		w.alarm.Reset(stallAfter)
	}
	defer func() {
		w.alarm.Stop()
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.over != nil {
			w.over <- time.Since(w.since)
		}
		w.since, w.over = time.Time{}, nil
	}()
	return fn()
}

// ring says that the disk has not answered for a while, and then that it has.
func (w *stall) ring() {
	w.mu.Lock()
	took := time.Since(w.since)
	if w.since.IsZero() || took < stallAfter || w.over != nil { // of an earlier question
		w.mu.Unlock()
		return
	}
	over := make(chan time.Duration, 1)
	w.over = over
	w.mu.Unlock()
	w.tell(took, false)
	w.tell(<-over, true)
}

// Stalled is how long the disk has not answered, if that is too long for a
// healthy one; else 0. Lines and changes wait meanwhile, readers do not.
func (s *Store) Stalled() time.Duration {
	w := &s.health.stall
	w.mu.Lock()
	defer w.mu.Unlock()
	if took := time.Since(w.since); !w.since.IsZero() && took >= stallAfter {
		return took
	}
	return 0
}

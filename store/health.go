package store

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// health is how the disk does: whether it takes writes, has space, and answers.
type health struct {
	events   *Events
	slowDisk slowDisk
	full     atomic.Bool // the last change was refused for want of space

	mu       sync.Mutex
	readOnly error // why the store is read-only
}

// ReadOnly says why the store is read-only, or nil.
func (s *Store) ReadOnly() error { return s.health.reason() }

func (h *health) reason() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.readOnly
}

// setReason says why the store is read-only, or nil, and returns what it was before.
func (h *health) setReason(why error) (was error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	was, h.readOnly = h.readOnly, why
	return was
}

// setReadOnly makes the store read-only, and returns the error that says so.
func (h *health) setReadOnly(why error) error {
	err := fmt.Errorf("%w: %w", ErrReadOnly, why)
	h.setReason(err)
	h.events.ReadOnly(err)
	return err
}

// DiskFull reports whether the last change was refused because the disk is full.
func (s *Store) DiskFull() bool { return s.health.full.Load() }

// setDiskFull notes whether there was space for a change.
func (h *health) setDiskFull(full bool) {
	if h.full.Load() != full {
		h.full.Store(full)
		h.events.DiskFull(full)
	}
}

// Health returns nil once the committer has taken its turn at what was queued
// before, whether that could be written or not: a full disk does not make it
// sick, one that never answers does. The error says that it has not within ctx.
// A suspended store is well.
func (s *Store) Health(ctx context.Context) error {
	s.mu.Lock()
	away := s.suspended != nil
	s.mu.Unlock()
	if away {
		return nil
	}
	c := &task{done: make(chan struct{})}
	if err := s.queue.put(item{task: c}); err != nil {
		return fmt.Errorf("the committer does not work: %w", err)
	}
	select {
	case <-c.done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("the committer is stuck, and the changes behind the one it is at are %d: %w", s.queue.length(), ctx.Err())
	}
}

// slowDiskAfter is how long the disk may take for one commit before that is worth
// a word.
const slowDiskAfter = time.Second

// slowDisk knows how long the disk takes for what it is being asked. While it is
// asked nothing, or answers in time, there is no goroutine, and no timer runs.
type slowDisk struct {
	notify func(took time.Duration, over bool) // Events.Stalled
	alarm  *time.Timer                         // the committer's

	mu    sync.Mutex
	since time.Time          // zero: the disk is asked nothing
	over  chan time.Duration // not nil: it has been told; gets how long it took
}

// watch runs fn, which waits for the disk. Only the committer calls it, or a goroutine
// that it waits for before it asks again.
func (w *slowDisk) watch(fn func() error) error {
	w.mu.Lock()
	w.since = time.Now()
	w.mu.Unlock()
	if w.alarm == nil {
		w.alarm = time.AfterFunc(slowDiskAfter, w.report)
	} else {
		w.alarm.Reset(slowDiskAfter)
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

// report says that the disk has not answered for a while, and then that it has.
func (w *slowDisk) report() {
	w.mu.Lock()
	took := time.Since(w.since)
	if w.since.IsZero() || took < slowDiskAfter || w.over != nil { // of an earlier question
		w.mu.Unlock()
		return
	}
	over := make(chan time.Duration, 1)
	w.over = over
	w.mu.Unlock()
	w.notify(took, false)
	w.notify(<-over, true)
}

// SlowDisk is how long the disk has not answered, if that is too long for a
// healthy one; else 0. Lines and changes wait meanwhile, readers do not.
func (s *Store) SlowDisk() time.Duration {
	w := &s.health.slowDisk
	w.mu.Lock()
	defer w.mu.Unlock()
	if took := time.Since(w.since); !w.since.IsZero() && took >= slowDiskAfter {
		return took
	}
	return 0
}

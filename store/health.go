package store

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// health is the state of the disk: whether it accepts writes, has space, and answers.
type health struct {
	events   *Events
	slowDisk slowDisk
	full     atomic.Bool // the last change was refused for want of space

	mu       sync.Mutex
	readOnly error // why the store is read-only
}

// ReadOnly returns the reason why the store is read-only, or nil.
func (s *Store) ReadOnly() error { return s.health.reason() }

func (h *health) reason() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.readOnly
}

// setReason sets the reason why the store is read-only, or nil, and returns the one
// before.
func (h *health) setReason(why error) (was error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	was, h.readOnly = h.readOnly, why
	return was
}

// setReadOnly makes the store read-only, and returns the error for its callers.
func (h *health) setReadOnly(why error) error {
	err := fmt.Errorf("%w: %w", ErrReadOnly, why)
	h.setReason(err)
	h.events.ReadOnly(err)
	return err
}

// DiskFull reports whether the last change was refused because the disk is full.
func (s *Store) DiskFull() bool { return s.health.full.Load() }

// setDiskFull notes whether the disk had space for a change.
func (h *health) setDiskFull(full bool) {
	if h.full.Load() != full {
		h.full.Store(full)
		h.events.DiskFull(full)
	}
}

// refuseFull notes that the disk had no space for a change, and returns the error for
// its caller.
func (h *health) refuseFull(why error) error {
	h.setDiskFull(true)
	return fmt.Errorf("%w: %w", ErrFull, why)
}

// Health returns nil once the committer has processed the items that were queued
// before, whether they could be written or not: a full disk is healthy, one that never
// answers is not. It returns an error when ctx is done first. A suspended store is
// healthy.
func (s *Store) Health(ctx context.Context) error {
	if s.suspension() != nil {
		return nil
	}
	t := &task{done: make(chan struct{})}
	if err := s.queue.put(item{task: t}); err != nil {
		return fmt.Errorf("the committer does not work: %w", err)
	}
	select {
	case <-t.done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("the committer does not answer; changes that wait behind the current one: %d: %w", s.queue.length(), ctx.Err())
	}
}

// slowDiskAfter is how long the disk may take for one commit before it is reported as
// slow.
const slowDiskAfter = time.Second

// slowDisk measures how long the disk takes for a commit. While there is no commit, or
// the disk answers in time, there is no goroutine, and no timer runs.
type slowDisk struct {
	notify func(took time.Duration, over bool) // Events.SlowDisk
	alarm  *time.Timer                         // the committer's

	mu    sync.Mutex
	since time.Time          // when the commit began; zero: there is none
	over  chan time.Duration // not nil: the commit is reported as slow; gets its duration
}

// watch runs fn, which waits for the disk. Only the committer calls it, or a goroutine
// for which the committer waits before it calls watch again.
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

// report reports that the disk is slow, and then that it has answered.
func (w *slowDisk) report() {
	w.mu.Lock()
	took := time.Since(w.since)
	if w.since.IsZero() || took < slowDiskAfter || w.over != nil { // the alarm is of an earlier commit
		w.mu.Unlock()
		return
	}
	over := make(chan time.Duration, 1)
	w.over = over
	w.mu.Unlock()
	w.notify(took, false)
	w.notify(<-over, true)
}

// SlowDisk returns how long the disk has not answered, if that is a second or more;
// else 0. Lines and changes wait meanwhile, readers do not.
func (s *Store) SlowDisk() time.Duration {
	w := &s.health.slowDisk
	w.mu.Lock()
	defer w.mu.Unlock()
	if took := time.Since(w.since); !w.since.IsZero() && took >= slowDiskAfter {
		return took
	}
	return 0
}

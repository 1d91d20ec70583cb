package store

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
)

// health is how the disk does: whether it takes writes, has space, and answers.
type health struct {
	events *Events
	stall  stall
	full   atomic.Bool // the last change was refused for want of space

	mu     sync.Mutex
	broken error // why the store is read-only
}

// Broken says why the store is read-only, or nil.
func (s *Store) Broken() error { return s.health.why() }

func (h *health) why() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.broken
}

// set says why the store is read-only, or nil, and returns what it was before.
func (h *health) set(why error) (was error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	was, h.broken = h.broken, why
	return was
}

// latch makes the store read-only, and returns the error that says so.
func (h *health) latch(why error) error {
	err := fmt.Errorf("%w: %w", ErrReadOnly, why)
	h.set(err)
	h.events.Latched(err)
	return err
}

// Full reports whether the last change was refused because the disk is full.
func (s *Store) Full() bool { return s.health.full.Load() }

// filled notes whether there was space for a change.
func (h *health) filled(full bool) {
	if h.full.Load() != full {
		h.full.Store(full)
		h.events.Filled(full)
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
		return fmt.Errorf("the committer is stuck, and the changes behind the one it is at are %d: %w", s.queue.waiting(), ctx.Err())
	}
}

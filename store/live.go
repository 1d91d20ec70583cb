package store

import (
	"context"
	"fmt"
	"time"
)

// Retention is what is kept for how long. It can be changed while the store is
// open.
type Retention struct {
	Lines      uint64        // as Options.Lines
	Bytes      uint64        // as Options.Bytes
	Age        time.Duration // as Options.Age
	Trash      time.Duration // as Options.Trash
	TrashBytes uint64        // as Options.TrashBytes
}

// keep is the retention in effect.
func (s *Store) keep() Retention { return *s.retention.Load() }

// SetRetention replaces what Open was given. What is then too much goes at
// once.
func (s *Store) SetRetention(r Retention) {
	s.retention.Store(&r)
	s.replan.Store(true)
	s.nudge()
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
	c := &change{done: make(chan struct{})}
	if err := s.enqueue(item{change: c}); err != nil {
		return fmt.Errorf("the committer does not work: %w", err)
	}
	select {
	case <-c.done:
		return nil
	case <-ctx.Done():
		s.in.Lock()
		n := len(s.queue)
		s.in.Unlock()
		return fmt.Errorf("the committer is stuck, and the changes behind the one it is at are %d: %w", n, ctx.Err())
	}
}

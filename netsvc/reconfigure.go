package netsvc

import (
	"fmt"
	"slices"
)

// Change is a set of options that is about to take effect. Either Commit or
// Undo must be called.
type Change struct {
	svc     *Service
	next    Options
	resting []int
}

// Prepare does all of a change of options that can fail. Nothing is different
// before Commit. One change at a time may be under way.
func (s *Service) Prepare(next Options) (*Change, error) {
	resting, err := s.store.ReleasedPorts()
	if err != nil {
		return nil, fmt.Errorf("read the ports: %w", err)
	}
	return &Change{svc: s, next: next, resting: resting}, nil
}

// Undo gives up what Prepare has opened.
func (c *Change) Undo() {}

// Commit makes the options the ones in effect. Connections that are over a
// limit which has become lower stay; the length of a line counts for those that
// come later.
func (c *Change) Commit() {
	s := c.svc
	s.mu.Lock()
	defer s.mu.Unlock()
	used := map[int]bool{c.next.Port: true}
	for _, r := range s.rooms {
		used[r.port()] = true
	}
	s.ports.widen(c.next.Ports[0], c.next.Ports[1], used, c.resting)
	s.options.Store(&c.next)
}

// widen replaces the range. Ports that were in the old one and not free are in
// use by a room or about to be, and stay out.
func (q *portQueue) widen(first, last int, used map[int]bool, resting []int) {
	old := *q
	*q = newPortQueue(first, last, used, resting)
	q.free = slices.DeleteFunc(q.free, func(p int) bool {
		return p >= old.first && p <= old.last && !slices.Contains(old.free, p)
	})
}

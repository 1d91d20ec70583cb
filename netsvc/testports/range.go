package testports

import (
	"math/rand/v2"
	"sync"
)

// Range gives out its ports one after the other, from a random one on, and then
// again from the first: by then who had those has ended.
type Range struct {
	mu             sync.Mutex
	from, to, next int64
}

// New is the range from <= port < to.
func New(from, to int64) *Range {
	return &Range{from: from, to: to, next: from + rand.Int64N(to-from)}
}

// Add gives n ports, which must be fewer than the range has, and returns the one
// behind them.
func (r *Range) Add(n int64) int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.next+n > r.to {
		r.next = r.from
	}
	r.next += n
	return r.next
}

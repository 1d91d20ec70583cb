package netsvctest

import (
	"math/rand/v2"
	"sync"
)

// Ports is a range that gives out its ports one after the other, from a random one
// on, and then again from the first: by then the tests that had those have ended.
type Ports struct {
	mu             sync.Mutex
	from, to, next int64
}

// NewPorts makes the range from <= port < to.
func NewPorts(from, to int64) *Ports {
	return &Ports{from: from, to: to, next: from + rand.Int64N(to-from)}
}

// Take gives n ports, which must be fewer than the range has, and returns the one
// behind them.
func (p *Ports) Take(n int64) int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.next+n > p.to {
		p.next = p.from
	}
	p.next += n
	return p.next
}

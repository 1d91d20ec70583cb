package netsvctest

import (
	"math/rand/v2"
	"sync"
)

// Ports gives out the ports of a range one after the other, from a random one on. After the last it
// begins again with the first: by then the tests that had those ports have ended.
type Ports struct {
	mu             sync.Mutex
	from, to, next int64
}

// NewPorts returns the range from <= port < to.
func NewPorts(from, to int64) *Ports {
	return &Ports{from: from, to: to, next: from + rand.Int64N(to-from)}
}

// Take gives out n ports, which must be fewer than the range has, and returns the port after them.
func (p *Ports) Take(n int64) int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.next+n > p.to {
		p.next = p.from
	}
	p.next += n
	return p.next
}

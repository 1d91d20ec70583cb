package limit

import (
	"errors"
	"net/netip"
	"sync"
)

// What Conns.Enter refuses: a connection above the limit of all, or of its prefix.
var (
	ErrTotal  = errors.New("there are as many connections as there may be")
	ErrPrefix = errors.New("an address has as many connections as it may have")
)

// Conns counts the connections there are, all of them and those of each prefix.
// They are counted also without a limit: one may come later. The zero value has
// none.
type Conns struct {
	mu    sync.Mutex
	total int
	of    map[netip.Prefix]int
}

// Acquire counts a connection of an address, unless there are total connections
// already (ErrTotal), or perPrefix of its prefix (ErrPrefix). 0 is no limit.
func (c *Conns) Acquire(a netip.Addr, total, perPrefix int) error {
	p := Prefix(a)
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case total > 0 && c.total >= total:
		return ErrTotal
	case perPrefix > 0 && c.of[p] >= perPrefix:
		return ErrPrefix
	}
	if c.of == nil {
		c.of = make(map[netip.Prefix]int)
	}
	c.total++
	c.of[p]++
	return nil
}

// Release takes back what Enter has counted.
func (c *Conns) Release(a netip.Addr) {
	p := Prefix(a)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.total--
	if c.of[p]--; c.of[p] == 0 {
		delete(c.of, p)
	}
}

// Total returns how many connections there are.
func (c *Conns) Total() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.total
}

package limit

import (
	"errors"
	"net/netip"
	"sync"
)

// Errors of Conns.Acquire.
var (
	ErrTotal  = errors.New("the limit on all connections is reached")
	ErrPrefix = errors.New("the limit on connections of one address is reached")
)

// Conns counts connections, all of them and those of each prefix. It counts also without a limit,
// because a reload may set one. The zero value has no connections.
type Conns struct {
	mu    sync.Mutex
	total int
	of    map[netip.Prefix]int
}

// Acquire counts a connection of an address, unless there are already as many as total allows
// (ErrTotal), or perPrefix for its prefix (ErrPrefix). 0 is no limit.
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

// Move counts a connection of one address as another's from now on, unless there are already as
// many of the other's prefix as perPrefix allows (ErrPrefix).
func (c *Conns) Move(from, to netip.Addr, perPrefix int) error {
	was, p := Prefix(from), Prefix(to)
	c.mu.Lock()
	defer c.mu.Unlock()
	if perPrefix > 0 && p != was && c.of[p] >= perPrefix {
		return ErrPrefix
	}
	c.of[p]++
	c.releaseLocked(was)
	return nil
}

// Release takes back what Acquire has counted.
func (c *Conns) Release(a netip.Addr) {
	p := Prefix(a)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.total--
	c.releaseLocked(p)
}

// releaseLocked takes a connection off a prefix. mu is held.
func (c *Conns) releaseLocked(p netip.Prefix) {
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

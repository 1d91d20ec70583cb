package netsvc

import (
	"net/netip"
	"slices"
	"sync"
	"time"

	"roomd/netsvc/wire"
)

// mostAddresses bounds what is remembered of addresses that hurry or guess.
const mostAddresses = 1 << 14

// pace bounds a rate for each address (IPv6: each /64) by the generic cell rate
// algorithm: of each it knows only the time at which all of its burst is free
// again. It forgets who has rested, and anybody at all beyond mostAddresses.
type pace struct {
	mu   sync.Mutex
	rest map[netip.Prefix]time.Time
}

// take counts n times of what may happen rate times a second, and burst times at
// once. It returns how long to wait for it; if that is above patience nothing is
// counted. A rate of 0 is no limit.
func (p *pace) take(now time.Time, a netip.Addr, n, rate, burst float64, patience time.Duration) time.Duration {
	if rate <= 0 {
		return 0
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	k := block(a)
	at, wait := spend(now, p.rest[k], n, rate, burst)
	if wait > patience {
		return wait
	}
	p.put(now, k, at)
	return wait
}

// put notes when the burst of an address, or of a network, is free again. mu is
// held.
func (p *pace) put(now time.Time, k netip.Prefix, at time.Time) {
	if p.rest == nil {
		p.rest = make(map[netip.Prefix]time.Time)
	}
	if _, known := p.rest[k]; !known && len(p.rest) >= mostAddresses {
		p.forget(now)
	}
	p.rest[k] = at
}

// state is how long it takes until all of the burst of each address is free again,
// of those where it is not.
func (p *pace) state(now time.Time) map[netip.Prefix]time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := make(map[netip.Prefix]time.Duration)
	for k, at := range p.rest {
		if at.After(now) {
			all[k] = at.Sub(now)
		}
	}
	return all
}

// restore takes over what state gave.
func (p *pace) restore(now time.Time, all map[netip.Prefix]time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for k, d := range all {
		p.put(now, k, now.Add(d))
	}
}

// What may be done at once, in seconds of the rate, and what an address may do
// of what a connection may.
const (
	connectBurst = 10
	requestBurst = 5
	byAddress    = 5
)

// pacePatience is how long a request may be put off; then the connection is
// told busy.
const pacePatience = 10 * time.Second

// unhurried reports whether the rates do not hold for an address.
func (o *Options) unhurried(a netip.Addr) bool {
	a = a.Unmap().WithZone("")
	return slices.ContainsFunc(o.RateExempt, func(p netip.Prefix) bool { return p.Contains(a) })
}

// hurries refuses an address that connects too often.
func (s *Service) hurries(a netip.Addr) error {
	o := s.opts()
	if o.ConnectRate == 0 || o.unhurried(a) {
		return nil
	}
	wait := s.connects.take(time.Now(), a, 1, o.ConnectRate, o.ConnectRate*connectBurst, 0)
	if wait == 0 {
		return nil
	}
	s.counters.hurried.Add(1)
	return wire.Errorf(wire.CodeBusy, "your address connects too often; try again in %v", wait.Round(time.Second)+time.Second)
}

// slow puts off what has a price, in requests, until the connection and its
// address have it. If that would take too long it answers so, and the connection
// must end.
func (c *session) slow(price float64) error {
	o := c.svc.opts()
	if price == 0 || o.RequestRate == 0 || o.unhurried(c.remote.Addr()) || c.isLast() {
		return nil
	}
	now := time.Now()
	rest, wait := spend(now, c.rest, price, o.RequestRate, o.RequestRate*requestBurst)
	rate := o.RequestRate * byAddress
	wait = max(wait, c.svc.requests.take(now, c.remote.Addr(), price, rate, rate*requestBurst*2, pacePatience))
	switch {
	case wait == 0:
		c.rest = rest
		return nil
	case wait > pacePatience:
		c.svc.counters.hurried.Add(1)
		c.fail(wire.Errorf(wire.CodeBusy, "your address asks for too much; try again later"))
		return errHurried
	}
	c.svc.counters.slowed.Add(1)
	if err := c.flush(); err != nil {
		return err
	}
	if !c.deaf {
		control(c.tcp, func(fd uintptr) { c.deaf = wasReset(fd) })
	}
	t := time.NewTimer(wait)
	defer t.Stop()
	lastCall := c.svc.lastCall
	if c.svc.stopsSoon() {
		lastCall = nil // it was heard, and this one is not to be hurried
	}
	for {
		select {
		case <-t.C:
			c.rest = rest
			return nil
		case <-c.roused:
			if c.banned() {
				return errBanned
			}
		case <-lastCall:
			if c.isLast() {
				c.rest = rest
				return nil
			}
			lastCall = nil
		case <-c.svc.still.freezing():
			return errStill
		case <-c.svc.stop.Done():
			return errStopped
		}
	}
}

// isLast reports whether what the client has asked for before it closed is to be done
// before the server stops.
func (c *session) isLast() bool { return c.svc.stopsSoon() && (c.deaf || c.hungUp()) }

// forget makes room for another address. mu is held.
func (p *pace) forget(now time.Time) {
	for k, at := range p.rest {
		if !at.After(now) {
			delete(p.rest, k)
		}
	}
	for k := range p.rest { // in no order: a flood of addresses drives out its own
		if len(p.rest) < mostAddresses*3/4 {
			return
		}
		delete(p.rest, k)
	}
}

// spend takes n times out of a burst that is whole again at the time full. It
// returns that time as it is then, and how long to wait.
func spend(now, full time.Time, n, rate, burst float64) (after time.Time, wait time.Duration) {
	if full.Before(now) {
		full = now
	}
	after = full.Add(time.Duration(n / rate * float64(time.Second)))
	return after, max(0, after.Sub(now)-time.Duration(burst/rate*float64(time.Second)))
}

package netsvc

import (
	"net/netip"
	"slices"
	"time"

	"roomd/netsvc/limit"
	"roomd/netsvc/wire"
)

// What may be done at once, in seconds of the rate, and what an address may do
// of what a connection may.
const (
	connectBurst = 10
	requestBurst = 5
	byAddress    = 5
)

// requestPatience is how long a request may be put off; then the connection is
// told busy.
const requestPatience = 10 * time.Second

// connects is the rate at which an address may connect.
func (o *Options) connects() limit.Rate {
	return limit.Rate{PerSecond: o.ConnectRate, Burst: o.ConnectRate * connectBurst}
}

// requests is the rate at which a connection may ask at the master port.
func (o *Options) requests() limit.Rate {
	return limit.Rate{PerSecond: o.RequestRate, Burst: o.RequestRate * requestBurst}
}

// lines is the rate at which a member may send lines, if o.slows.
func (o *Options) lines() limit.Rate {
	return limit.Rate{PerSecond: o.LinesPerSecond, Burst: float64(o.Burst)}
}

// times is a rate that is f times as high, and its burst.
func times(r limit.Rate, f float64) limit.Rate {
	return limit.Rate{PerSecond: r.PerSecond * f, Burst: r.Burst * f}
}

// exempt reports whether the rates do not hold for an address.
func (o *Options) exempt(a netip.Addr) bool {
	a = a.Unmap().WithZone("")
	return slices.ContainsFunc(o.RateExempt, func(p netip.Prefix) bool { return p.Contains(a) })
}

// price is what a request costs beyond being a line.
func (s *Service) price(v wire.Verb) float64 {
	switch v {
	case wire.VerbCreate, wire.VerbDelete:
		return 4
	case wire.VerbList:
		const cheap = 500 // rooms
		s.mu.Lock()
		defer s.mu.Unlock()
		return float64(len(s.rooms)) / cheap
	}
	return 0
}

// slow puts off what has a price, in requests, until the connection and its
// address have it: without mayWait it returns errLater. If that would take too long it
// answers so, and the connection must end.
func (c *masterSession) slow(price float64) error {
	o := c.svc.opts()
	if price <= 0 || o.RequestRate == 0 || o.exempt(c.remote.Addr()) || c.isLast() {
		return nil
	}
	now, patience := time.Now(), requestPatience
	rate := o.requests()
	debt, wait := rate.Spend(c.rest.Sub(now), price)
	rest := now.Add(debt)
	if !c.mayWait {
		if patience = 0; wait > 0 {
			return errLater
		}
	}
	all := times(rate, byAddress)
	all.Burst *= 2
	wait = max(wait, c.svc.requests.Take(now, limit.Prefix(c.remote.Addr()), price, all, patience))
	switch {
	case wait == 0:
		c.rest = rest
		return nil
	case !c.mayWait:
		return errLater
	case wait > requestPatience:
		c.svc.counters.hurried.Add(1)
		c.fail(wire.Errorf(wire.CodeBusy, "your address asks for too much; try again later"))
		return errHurried
	}
	c.svc.counters.slowed.Add(1)
	if err := c.flush(); err != nil {
		return err
	}
	if c.conn.WasReset() {
		c.mu.Lock()
		c.deaf = true
		c.mu.Unlock()
	}
	for until := now.Add(wait); ; {
		c.waits()
		err := c.mayGoOn()
		left := time.Until(until)
		switch {
		case err != nil:
			return err
		case left <= 0 || c.isLast():
			c.rest = rest
			return nil
		case c.svc.engine.Suspended():
			return errLater
		}
		c.Pause(left)
	}
}

// isLast reports whether what the client has asked for before it closed is to be done
// before the server stops.
func (c *masterSession) isLast() bool {
	return c.svc.stopsSoon() && (c.isDeaf() || c.conn.HungUp())
}

// What is no line and no request has a price by its bytes, as it takes the processor
// as long: a piece that is read and makes no line counts as so many at least, an answer
// to a telnet client and an empty line as so many more.
const (
	pieceBytes  = 64
	telnetBytes = 1 << 10
	emptyBytes  = 8
)

// weight is the bytes that n bytes count as, which were answered, as a telnet client
// gets answers, or make a line.
func weight(n int, answered, line bool) int {
	switch {
	case line:
		n += emptyBytes - 1
	case n > 0:
		n = max(n, pieceBytes)
	}
	if answered {
		n += telnetBytes
	}
	return n
}

// emptyLine is what an empty line has of the price of a line: they are to cost
// little, and a buffer full of them is not to take an hour.
const emptyLine = 0.002

// mayGoOn reports whether the next line may be handled: fewer than n lines are in
// flight, and the allowance has its price. With wait it waits for that, and
// false says that the member has ended, or that the server is to be suspended.
func (m *Member) mayGoOn(n int, price float64, wait bool) bool {
	if ok, ended := m.clear(n); !ok || ended {
		if !wait || !m.settle(n) {
			return false
		}
	}
	o := m.room.svc.opts()
	if !o.slows() {
		return true
	}
	rate := o.lines()
	price = min(price, rate.Burst) // more is never there at once
	for {
		now := m.room.svc.uptime()
		debt, ahead := rate.Spend(time.Duration(m.allowed)-now, price)
		if ahead == 0 {
			m.allowed = int64(now + debt)
			return true
		}
		if m.room.svc.stopsSoon() && m.conn.HungUp() {
			return true
		}
		if !wait {
			m.room.svc.counters.slowedLines.Add(1)
			return false
		}
		if m.hasEnded() || m.room.svc.engine.Suspended() {
			return false
		}
		m.slowed.Store(true)
		m.Pause(max(ahead, rate.Time(1))) // not for every empty line on its own
		m.slowed.Store(false)
	}
}

// What a command asks for may be worth many lines. Its price is about what it
// costs in CPU time, in lines: a page of the history, or of a list of members, is
// one.
const (
	pageLines   = 256 // of the history; most take 60 bytes
	pageMembers = 64
)

// costs is what a command costs beyond being a line.
func (m *Member) costs(line []byte) float64 {
	c, err := wire.ParseCommand(string(line))
	if err != nil {
		return 0
	}
	r := m.room
	switch c.Do {
	case wire.Who:
		r.mu.Lock()
		defer r.mu.Unlock()
		return float64(len(r.members)) / pageMembers
	case wire.History, wire.Since:
		kept, err := r.svc.store.Stat(r.id)
		if err != nil {
			return 0
		}
		lines := kept.Lines
		switch end := r.log.End().Seq; {
		case c.Do == wire.Since && c.Seq < end:
			lines = min(lines, end-c.Seq)
		case c.Do == wire.Since:
			lines = 0
		case c.N < 0:
			lines = min(lines, uint64(r.replay()))
		default:
			lines = min(lines, uint64(c.N))
		}
		return float64(lines) / pageLines
	}
	return 0
}

// addressMayGoOn waits until the member's address may ask for so much work: of
// all its members together byAddress times what one of them may. False says that
// the member has ended, or that the server is to be suspended.
func (m *Member) addressMayGoOn(work float64) bool {
	svc := m.room.svc
	o := svc.opts()
	if work <= 0 || !o.slows() || o.exempt(m.remote.Addr()) {
		return true
	}
	rate := times(o.lines(), byAddress)
	for {
		wait := svc.work.Take(time.Now(), limit.Prefix(m.remote.Addr()), min(work, rate.Burst), rate, 0)
		if wait == 0 {
			return true
		}
		if m.hasEnded() || svc.engine.Suspended() {
			return false
		}
		m.slowed.Store(true)
		m.Pause(wait)
		m.slowed.Store(false)
	}
}

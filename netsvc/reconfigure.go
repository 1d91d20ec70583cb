package netsvc

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"roomd/netsvc/transport"
)

// Change is a set of options that can take effect. Either Commit or Undo must be called.
type Change struct {
	svc         *Service
	next        Options
	quarantined []int // ports, the first released first; nil: the queue of ports does not change
	endpoints   []*endpointChange
	missing     map[netip.Addr]string // addresses that are waited for, and why
	absent      map[netip.Addr]bool   // those that the machine does not have
}

// endpointChange is a change of the listeners of a port.
type endpointChange struct {
	svc        *Service
	room       *Room // nil: the master port
	port       int
	keep       []*transport.Listener
	added      []*transport.Listener // are bound, and do not accept yet
	removed    []*transport.Listener // are closed by Commit
	unlistened bool                  // the removed ones do not listen: they conflict with the added ones
}

// ErrPorts is in the error of Prepare if Options.Ports cannot change now. Without it the error is
// about Listen or Port.
var ErrPorts = errors.New("the ports for rooms cannot be changed now")

// Prepare does what can fail of a change of options: it binds the new addresses and the new master
// port. Nothing is different before Commit, except that a port may be closed for a moment if an
// address is replaced by one that covers it, or the other way round. An address of the options in
// effect may be missing, a new one must not. One change may be under way at a time.
func (s *Service) Prepare(next Options) (*Change, error) {
	c := s.change(next)
	if o := s.opts(); next.Ports != o.Ports || next.Port != o.Port {
		released, err := s.store.ReleasedPorts()
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrPorts, err)
		}
		c.quarantined = append([]int{}, released...)
	}
	s.reconfiguring.Lock()
	if err := c.bind(); err != nil {
		c.Undo()
		return nil, err
	}
	return c, nil
}

func (s *Service) change(next Options) *Change {
	return &Change{svc: s, next: next, missing: make(map[netip.Addr]string), absent: make(map[netip.Addr]bool)}
}

// bind binds the listeners that the options want and that do not exist.
func (c *Change) bind() error {
	s := c.svc
	master := s.master.Load()
	port := c.next.Port
	if port == 0 {
		port = master.Port
	}
	if !c.next.MasterGiven {
		if err := c.open(nil, master, port); err != nil {
			return fmt.Errorf("the master port: %w", err)
		}
	}
	for _, r := range s.allRooms() {
		r.mu.Lock()
		ln, isOpen := r.ln, r.state == open
		r.mu.Unlock()
		if !isOpen {
			continue
		}
		if r.port() == port {
			return fmt.Errorf("port %d belongs to the room %s", port, r.name())
		}
		if err := c.open(r, ln, ln.Port); err != nil {
			return fmt.Errorf("the room %s: %w", r.name(), err)
		}
	}
	return nil
}

// open binds the addresses that a port does not listen on.
func (c *Change) open(r *Room, was *transport.Endpoint, port int) error {
	d := &endpointChange{svc: c.svc, room: r, port: port}
	var lacking []netip.Addr
	for _, a := range c.next.Listen {
		i := slices.IndexFunc(was.Listeners, func(l *transport.Listener) bool { return l.Addr == netip.AddrPortFrom(a, uint16(port)) })
		if i < 0 {
			lacking = append(lacking, a)
			continue
		}
		d.keep = append(d.keep, was.Listeners[i])
	}
	for _, l := range was.Listeners {
		if !slices.Contains(d.keep, l) {
			d.removed = append(d.removed, l)
		}
	}
	if len(lacking)+len(d.removed) == 0 {
		return nil
	}
	c.endpoints = append(c.endpoints, d)
	if slices.ContainsFunc(d.removed, func(l *transport.Listener) bool { return conflicts(l.Addr, lacking, port) }) {
		d.unlistened = true
		for _, l := range d.removed {
			l.Unlisten()
		}
	}
	wanted := c.svc.opts().Listen
	for _, a := range lacking {
		if c.absent[a] {
			continue
		}
		l, err := c.svc.engine.Listen(a, port)
		switch {
		case err == nil:
			d.added = append(d.added, l)
		case slices.Contains(wanted, a) && (port == was.Port || transport.IsAddrMissing(err)):
			c.missing[a], c.absent[a] = transport.AddrMissingReason(port, err), transport.IsAddrMissing(err)
		default:
			return fmt.Errorf("%s: %s", a, transport.BindReason(port, err))
		}
	}
	return nil
}

// conflicts reports whether a listener's address and one of the others exclude each other, on a port.
func conflicts(l netip.AddrPort, addrs []netip.Addr, port int) bool {
	return int(l.Port()) == port && slices.ContainsFunc(addrs, func(a netip.Addr) bool {
		return a.Is4() == l.Addr().Is4() && (a.IsUnspecified() || l.Addr().IsUnspecified())
	})
}

// Undo closes what Prepare has opened.
func (c *Change) Undo() {
	c.revert()
	c.svc.reconfiguring.Unlock()
}

// revert brings the listeners back to what they were before bind.
func (c *Change) revert() {
	for _, d := range c.endpoints {
		for _, l := range d.added {
			l.Close()
		}
		if !d.unlistened {
			continue
		}
		for _, l := range d.removed {
			again, err := l.Relisten()
			if err != nil {
				c.svc.addMissing(l.Addr.Addr(), transport.AddrMissingReason(d.port, err))
				continue
			}
			d.keep = append(d.keep, again)
			d.open(again)
		}
		d.install()
	}
}

// Commit puts the options into effect. Connections above a lower limit stay. The length of a line,
// and the part of limits.dead_peer that the kernel does, hold for new connections only.
func (c *Change) Commit() {
	s := c.svc
	s.mu.Lock()
	if c.quarantined != nil {
		s.ports.setRange(c.next.Ports, s.usedPorts(c.next.Port), c.quarantined)
	}
	s.options.Store(&c.next)
	s.mu.Unlock()
	for _, l := range s.allListeners() {
		if err := l.UpdateOptions(); err != nil {
			s.log.Warn("limits.dead_peer cannot be set on a listener", "listener", l.Addr.String(), "error", err)
		}
	}
	c.install()
	s.reconfiguring.Unlock()
	s.reconcile() // rooms that were bound since Prepare
}

// install begins to accept on the added listeners, and closes the removed ones.
func (c *Change) install() {
	for _, d := range c.endpoints {
		for _, l := range d.added {
			d.open(l)
		}
		d.keep = append(d.keep, d.added...)
		d.install()
		for _, l := range d.removed {
			if d.unlistened {
				l.Release()
			} else {
				l.DrainAndClose()
			}
		}
	}
	c.svc.setMissing(c.missing)
}

// allListeners returns all listeners of all ports.
func (s *Service) allListeners() []*transport.Listener {
	all := slices.Clone(s.master.Load().Listeners)
	for _, r := range s.allRooms() {
		r.mu.Lock()
		if r.state == open {
			all = append(all, r.ln.Listeners...)
		}
		r.mu.Unlock()
	}
	return all
}

// open begins to accept on a listener.
func (d *endpointChange) open(l *transport.Listener) {
	admit, busy := d.svc.admitMaster, busyReply
	if d.room != nil {
		admit, busy = d.room.admit, d.room.noticeLine(busyText)
	}
	if err := l.Open(admit, busy); err != nil {
		d.svc.log.Error("listener cannot accept", "listener", l.Addr.String(), "error", err)
	}
}

// install sets the listeners of the port. Those of a room that has moved or closed meanwhile are
// closed.
func (d *endpointChange) install() {
	now := &transport.Endpoint{Port: d.port, Requested: d.svc.opts().Listen, Listeners: d.keep}
	r := d.room
	if r == nil {
		d.svc.master.Store(now)
		return
	}
	r.mu.Lock()
	late := r.state != open || r.ln.Port != d.port
	if !late {
		r.ln = now
	}
	r.mu.Unlock()
	if late {
		now.Close()
	}
}

// setRange replaces the range. Ports of the old range that were not free stay out of the queue: a
// room has them, or is about to.
func (q *portQueue) setRange(ports [2]int, used map[int]bool, quarantined []int) {
	old := *q
	*q = newPortQueue(ports, used, quarantined)
	q.free = slices.DeleteFunc(q.free, func(p int) bool {
		return p >= old.first && p <= old.last && !slices.Contains(old.free, p)
	})
}

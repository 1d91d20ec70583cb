package netsvc

import (
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"slices"
	"sync"
	"syscall"
	"time"

	"roomd/netsvc/transport"
	"roomd/netsvc/wire"
)

const (
	// Directly after a kill -9 the kernel may still be closing the sockets of the old
	// process: a port is retried for this time before it counts as taken by another program.
	bindTimeout  = time.Second
	bindInterval = 50 * time.Millisecond

	retryMin = time.Second // an unbound room is retried with back-off
	retryMax = 30 * time.Second
)

// listen binds a port on all addresses of the options that the machine has, or on none. With
// port 0 the system chooses one.
func (s *Service) listen(port int) (*transport.Endpoint, error) {
	p := &transport.Endpoint{Port: port, Requested: s.opts().Listen}
	for _, a := range p.Requested {
		l, err := s.engine.Listen(a, p.Port)
		if transport.IsAddrMissing(err) {
			s.addMissing(a, transport.AddrMissingReason(port, err))
			continue
		}
		if err != nil {
			p.Close()
			return nil, err
		}
		p.Listeners = append(p.Listeners, l)
		p.Port = int(l.Addr.Port())
	}
	return p, nil
}

// listenRetry is listen, and tries again until the timeout while the port is in use.
func (s *Service) listenRetry(port int, timeout time.Duration) (*transport.Endpoint, error) {
	for until := time.Now().Add(timeout); ; {
		l, err := s.listen(port)
		if err == nil || !transport.IsPortInUse(err) || time.Now().After(until) || !s.sleep(bindInterval) {
			return l, err
		}
	}
}

// listenMaster opens the master port, or takes it over from descriptors that are given.
func (s *Service) listenMaster() (*transport.Endpoint, error) {
	if given := s.opts().MasterFDs; len(given) > 0 {
		return s.takeMaster(given)
	}
	l, err := s.listenRetry(s.opts().Port, bindTimeout)
	if err != nil {
		return nil, fmt.Errorf("the master port cannot be opened: %s", transport.BindReason(s.opts().Port, err))
	}
	return l, nil
}

// takeMaster returns the master port of descriptors that listen on it.
func (s *Service) takeMaster(given []int) (*transport.Endpoint, error) {
	p := &transport.Endpoint{}
	for _, fd := range given {
		l, err := s.engine.ListenGiven(fd)
		if err != nil {
			return nil, fmt.Errorf("take the master port over: %w", err)
		}
		p.Listeners = append(p.Listeners, l)
		p.Port = int(l.Addr.Port())
	}
	return p, nil
}

// bindFree takes ports from the queue until one can be bound. The others, which another program
// uses, keep their places.
func (s *Service) bindFree(r *Room) (*transport.Endpoint, error) {
	tried := make(map[int]bool)
	var failed []int
	var last error
	defer func() { s.returnPorts(failed...) }()
	for {
		s.mu.Lock()
		port, ok := s.ports.Take(tried)
		s.mu.Unlock()
		if !ok {
			if last != nil {
				return nil, wire.Errorf(wire.CodeNoPort, "no port is free between %d and %d; of those without a room, %s", s.opts().Ports[0], s.opts().Ports[1], transport.BindReason(failed[len(failed)-1], last))
			}
			return nil, wire.Errorf(wire.CodeNoPort, "all ports between %d and %d have a room", s.opts().Ports[0], s.opts().Ports[1])
		}
		l, err := s.listen(port)
		if err == nil {
			return l, nil
		}
		tried[port] = true
		failed = append(failed, port)
		last = err
		if !transport.IsPortInUse(err) && !errors.Is(err, syscall.EACCES) {
			s.log.Error("port cannot be bound", "room", r.name(), "port", port, "error", err)
			return nil, wire.Errorf(wire.CodeBusy, "%s", transport.BindReason(port, err))
		}
	}
}

// bindAll binds the rooms at their own ports. A room that cannot be bound within bindTimeout gets
// a goroutine that retries.
func (s *Service) bindAll(rooms []*Room) {
	until := time.Now().Add(bindTimeout)
	for {
		failed := s.bindEach(rooms)
		if len(failed) == 0 {
			return
		}
		if time.Now().After(until) || !s.sleep(bindInterval) {
			for _, r := range failed {
				s.log.Warn("room unbound; the server keeps trying", "room", r.name(), "port", r.port(), "cause", r.unboundCause())
				s.tasks.Go(r.rebind)
			}
			return
		}
		rooms = failed
	}
}

// bindEach tries to bind each room once, a few at a time, and returns those whose port is in use.
func (s *Service) bindEach(rooms []*Room) (failed []*Room) {
	var mu sync.Mutex
	var all sync.WaitGroup
	places := make(chan struct{}, runtime.GOMAXPROCS(0))
	for _, r := range rooms {
		places <- struct{}{}
		all.Go(func() {
			defer func() { <-places }()
			if !r.tryBind() {
				mu.Lock()
				defer mu.Unlock()
				failed = append(failed, r)
			}
		})
	}
	all.Wait()
	return failed
}

// sleep reports false when the service stops meanwhile.
func (s *Service) sleep(d time.Duration) bool { return !waitFor(s.stop.Done(), d) }

// waitFor waits for the time d, and returns true as soon as c can be received from.
func waitFor(c <-chan struct{}, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-c:
		return true
	case <-t.C:
		return false
	}
}

// busyText is the answer to a connection for which there is no descriptor.
const busyText = "busy: the server has no descriptor left for another connection; try again in a moment"

// busyReply is busyText at the master port.
const busyReply = "ERR " + busyText + "\n"

// usedPorts returns the ports that cannot be given out: that of the master port, and those of rooms.
// mu is held.
func (s *Service) usedPorts(master int) map[int]bool {
	used := map[int]bool{master: true}
	for _, p := range s.corruptPorts {
		used[p] = true
	}
	for _, r := range s.rooms {
		used[r.port()] = true
	}
	return used
}

// returnPorts gives ports back that were taken, unless a room has them.
func (s *Service) returnPorts(taken ...int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ports.GiveBack(slices.DeleteFunc(taken, func(p int) bool { return s.roomAtPort(p) != nil })...)
}

// quarantinePort puts a port into quarantine that a room had, or was about to get, unless a room
// has it.
func (s *Service) quarantinePort(port int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.roomAtPort(port) == nil {
		s.ports.Release(port)
	}
}

// roomAtPort returns the room that has a port; nil: there is none. mu is held.
func (s *Service) roomAtPort(port int) *Room {
	for _, r := range s.rooms {
		if r.port() == port {
			return r
		}
	}
	return nil
}

// An address of Options.Listen may be missing: the interface comes up after the server, or the
// machine has no IPv6. Then every port listens on the other addresses, and reconcile tries the
// missing one until it is there.

// addressRetryMax is the longest time between two tries.
const addressRetryMax = 5 * time.Second

// addMissing notes that a port does not listen on an address, and has it retried.
func (s *Service) addMissing(a netip.Addr, cause string) {
	s.mu.Lock()
	before := s.missing[a]
	s.missing[a] = cause
	s.scheduleReconcile()
	s.mu.Unlock()
	s.warnMissing(a, before, cause)
}

func (s *Service) warnMissing(a netip.Addr, before, cause string) {
	if before == "" {
		s.log.Warn("an address of server.listen is missing; the server listens on the others and keeps trying", "address", a.String(), "cause", cause)
	}
}

// scheduleReconcile has a goroutine call reconcile until no address is missing. mu is held.
func (s *Service) scheduleReconcile() {
	s.reconcileAgain = true
	if s.reconciling || s.stopping {
		return
	}
	s.reconciling = true
	s.tasks.Go(func() {
		for wait := retryMin; s.sleep(wait); wait = min(2*wait, addressRetryMax) {
			end := s.engine.BeginChange()
			s.reconcile()
			end()
			if s.reconciled() {
				return
			}
		}
	})
}

// reconciled reports whether the goroutine of scheduleReconcile may end.
func (s *Service) reconciled() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reconciling = s.reconcileAgain || len(s.missing) > 0
	return !s.reconciling
}

// reconcile has every port listen on those addresses of the options that the machine has, and on
// no other.
func (s *Service) reconcile() {
	s.reconfiguring.Lock()
	defer s.reconfiguring.Unlock()
	s.mu.Lock()
	s.reconcileAgain = false
	s.mu.Unlock()
	c := s.change(*s.opts())
	if err := c.bind(); err != nil {
		s.log.Error("an address cannot be listened on; the server keeps trying", "error", err)
		c.revert()
		return
	}
	c.install()
}

// setMissing notes which addresses are missing, and logs what has changed.
func (s *Service) setMissing(missing map[netip.Addr]string) {
	s.mu.Lock()
	before := s.missing
	if s.missing = missing; len(missing) > 0 {
		s.scheduleReconcile()
	}
	s.mu.Unlock()
	for a := range before {
		if missing[a] == "" && slices.Contains(s.opts().Listen, a) {
			s.log.Info("an address of server.listen is there; the server listens on it", "address", a.String())
		}
	}
	for a, cause := range missing {
		s.warnMissing(a, before[a], cause)
	}
}

// Change is a set of options that can take effect. Either Commit or Undo must be called.
type Change struct {
	svc         *Service
	next        Options
	quarantined []int // ports, the first released first; nil: the queue of ports does not change
	endpoints   []*endpointChange
	missing     map[netip.Addr]string // addresses that are waited for, and why
	absent      map[netip.Addr]bool   // those that the machine does not have
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
	b, lacking := c.svc.engine.Rebind(was, c.next.Listen, port)
	if b == nil {
		return nil
	}
	c.endpoints = append(c.endpoints, &endpointChange{b, c.svc, r, port})
	wanted := c.svc.opts().Listen
	for _, a := range lacking {
		if c.absent[a] {
			continue
		}
		switch err := b.Listen(a); {
		case err == nil:
		case slices.Contains(wanted, a) && (port == was.Port || transport.IsAddrMissing(err)):
			c.missing[a], c.absent[a] = transport.AddrMissingReason(port, err), transport.IsAddrMissing(err)
		default:
			return fmt.Errorf("%s: %s", a, transport.BindReason(port, err))
		}
	}
	return nil
}

// Undo closes what Prepare has opened.
func (c *Change) Undo() {
	c.revert()
	c.svc.reconfiguring.Unlock()
}

// revert brings the listeners back to what they were before bind.
func (c *Change) revert() {
	for _, d := range c.endpoints {
		now, changed := d.Revert(d.open, func(l *transport.Listener, err error) {
			c.svc.addMissing(l.Addr.Addr(), transport.AddrMissingReason(d.port, err))
		})
		if changed {
			d.install(now)
		}
	}
}

// Commit puts the options into effect. Connections above a lower limit stay. The length of a line,
// and the part of limits.dead_peer that the kernel does, hold for new connections only.
func (c *Change) Commit() {
	s := c.svc
	s.mu.Lock()
	if c.quarantined != nil {
		s.ports.SetRange(c.next.Ports, s.usedPorts(c.next.Port), c.quarantined)
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
		d.install(d.Commit(d.open))
		d.CloseRemoved()
	}
	c.svc.setMissing(c.missing)
}

// allListeners returns all listeners of all ports.
func (s *Service) allListeners() []*transport.Listener {
	all := slices.Clone(s.master.Load().Listeners)
	for _, d := range s.doors {
		for _, e := range d.endpoints() {
			all = append(all, e.Listeners...)
		}
	}
	for _, r := range s.allRooms() {
		r.mu.Lock()
		if r.state == open {
			all = append(all, r.ln.Listeners...)
		}
		r.mu.Unlock()
	}
	return all
}

// endpointChange is a change of the listeners of a port.
type endpointChange struct {
	*transport.Rebinding
	svc  *Service
	room *Room // nil: the master port
	port int
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
func (d *endpointChange) install(listeners []*transport.Listener) {
	now := &transport.Endpoint{Port: d.port, Requested: d.svc.opts().Listen, Listeners: listeners}
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

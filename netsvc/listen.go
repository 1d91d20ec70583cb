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
	// Directly after a kill -9 the kernel may still be tearing down the old
	// process's sockets: a port is retried for a moment before it counts as
	// taken by another program.
	bindTimeout  = time.Second
	bindInterval = 50 * time.Millisecond

	retryMin = time.Second // an unbound room is retried with back-off
	retryMax = 30 * time.Second
)

// listen binds a port on all addresses that the machine has, or on none. Port 0
// lets the system choose.
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

// listenMaster retries a port that is in use for a moment.
func (s *Service) listenMaster() (*transport.Endpoint, error) {
	if given := s.opts().MasterFDs; len(given) > 0 {
		return s.takeMaster(given)
	}
	for until := time.Now().Add(bindTimeout); ; {
		l, err := s.listen(s.opts().Port)
		if err == nil {
			return l, nil
		}
		if !transport.IsPortInUse(err) || time.Now().After(until) || !s.sleep(bindInterval) {
			return nil, fmt.Errorf("the master port cannot be opened: %s", transport.BindReason(s.opts().Port, err))
		}
	}
}

// takeMaster makes the master port of descriptors that listen on it.
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

// bindFree takes ports from the queue until one can be bound. One that another
// program uses keeps its place.
func (s *Service) bindFree(r *Room) (*transport.Endpoint, error) {
	tried := make(map[int]bool)
	var failed []int
	var last error
	defer func() { s.returnPorts(failed...) }()
	for {
		s.mu.Lock()
		port, ok := s.ports.take(tried)
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

// bindAll binds the rooms at their own ports, a few at a time. What cannot be
// bound after a moment is left to a goroutine that retries.
func (s *Service) bindAll(rooms []*Room) {
	until := time.Now().Add(bindTimeout)
	for {
		failed := s.bindEach(rooms)
		if len(failed) == 0 {
			return
		}
		if time.Now().After(until) || !s.sleep(bindInterval) {
			for _, r := range failed {
				s.log.Warn("room unbound", "room", r.name(), "port", r.port(), "cause", r.unboundCause())
				s.tasks.Go(r.rebind)
			}
			return
		}
		rooms = failed
	}
}

// bindEach tries each room once and returns those that are in use.
func (s *Service) bindEach(rooms []*Room) (failed []*Room) {
	next := make(chan *Room)
	var mu sync.Mutex
	var workers sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), len(rooms)) {
		workers.Go(func() {
			for r := range next {
				if !r.tryBind() {
					mu.Lock()
					failed = append(failed, r)
					mu.Unlock()
				}
			}
		})
	}
	for _, r := range rooms {
		next <- r
	}
	close(next)
	workers.Wait()
	return failed
}

// sleep reports false when the service stops meanwhile.
func (s *Service) sleep(d time.Duration) bool { return !waitFor(s.stop.Done(), d) }

// busyText is the answer to a connection that cannot be served for want of descriptors.
const busyText = "busy: the server has no descriptor left for another connection; try again in a moment"

// busyReply is that answer at the master port.
const busyReply = "ERR " + busyText + "\n"

// refuse tells a connection one line and closes it. The line may be lost if
// very many are refused at once.
func (s *Service) refuse(c transport.HalfCloser, why RefusalReason, line string) {
	if why != notRefused {
		s.counters.refusals.add(why)
	}
	s.engine.Refuse(c, line)
}

// refuseNew is refuse for a connection that nothing was done with yet. Of those
// that connect too often it takes no leave, which costs more than they are worth:
// the line may be lost if they have sent something.
func (s *Service) refuseNew(c transport.Socket, addr netip.AddrPort, why RefusalReason, line string) {
	if why != refusedRate {
		s.refuse(c.TCP(addr), why, line)
		return
	}
	s.counters.refusals.add(why)
	c.WriteAndClose(line)
}

// portQueue is the order in which ports are given out: those never used first,
// ascending, then those that rooms have given up, the longest rested first. A
// client that still knows an old number must not land in a stranger's room.
type portQueue struct {
	first, last int
	free        []int
	released    map[int]bool // ports that a room has given up, ever
}

// newPortQueue takes the ports of rooms, and those that rest, the longest
// rested first.
func newPortQueue(first, last int, used map[int]bool, resting []int) portQueue {
	q := portQueue{first: first, last: last, released: make(map[int]bool)}
	rests := make(map[int]bool, len(resting))
	for _, p := range resting {
		rests[p] = true
	}
	for p := first; p <= last; p++ {
		if !used[p] && !rests[p] {
			q.free = append(q.free, p)
		}
	}
	for _, p := range resting {
		if !used[p] {
			q.release(p)
		}
	}
	return q
}

// take gives out the next port that is not in tried.
func (q *portQueue) take(tried map[int]bool) (int, bool) {
	for i, p := range q.free {
		if !tried[p] {
			q.free = slices.Delete(q.free, i, i+1)
			return p, true
		}
	}
	return 0, false
}

// claim takes one port out of its turn, if it is free.
func (q *portQueue) claim(port int) bool {
	i := slices.Index(q.free, port)
	if i < 0 {
		return false
	}
	q.free = slices.Delete(q.free, i, i+1)
	return true
}

// giveBack returns ports that were taken and not used, in the order of taking.
// The range may have become another one meanwhile.
func (q *portQueue) giveBack(ports ...int) {
	ports = slices.DeleteFunc(ports, func(p int) bool { return p < q.first || p > q.last || slices.Contains(q.free, p) })
	q.free = slices.Insert(q.free, 0, ports...)
}

// release lets a port rest: it comes last.
func (q *portQueue) release(port int) {
	if port >= q.first && port <= q.last {
		q.free = append(q.free, port)
		q.released[port] = true
	}
}

// quarantined are the free ports that a room has given up, the longest rested first.
func (q *portQueue) quarantined() []int {
	ports := []int{}
	for _, p := range q.free {
		if q.released[p] {
			ports = append(ports, p)
		}
	}
	return ports
}

// returnPorts returns ports that were taken, and that no room has got, to their places.
func (s *Service) returnPorts(ports ...int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ports.giveBack(slices.DeleteFunc(ports, func(p int) bool { return s.roomAtPort(p) != nil })...)
}

// quarantinePort has a port rest that a room had, or was about to have, unless another one has
// it by now.
func (s *Service) quarantinePort(port int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.roomAtPort(port) == nil {
		s.ports.release(port)
	}
}

// roomAtPort is the room that has a port; nil: there is none. mu is held.
func (s *Service) roomAtPort(port int) *Room {
	for _, r := range s.rooms {
		if r.port() == port {
			return r
		}
	}
	return nil
}

// An address of Options.Listen may be missing: the interface comes up after the
// server, or the machine has no IPv6. Then every port listens on the others, and
// settle tries the missing one until it is there.

// addressRetryMax is how long a missing address may be there before it is tried.
const addressRetryMax = 5 * time.Second

// Missing is an address of Options.Listen that not every port listens on.
type Missing struct {
	Addr  netip.Addr `json:"address"`
	Cause string     `json:"cause"`
}

func (m Missing) String() string { return fmt.Sprintf("%s (%s)", m.Addr, m.Cause) }

// Listening is where the master port listens.
func (s *Service) Listening() []netip.AddrPort {
	all := []netip.AddrPort{}
	if master := s.master.Load(); master != nil {
		for _, l := range master.Listeners {
			all = append(all, l.Addr)
		}
	}
	return all
}

// Wanted are the addresses and the master port of the options in effect.
func (s *Service) Wanted() (listen []netip.Addr, port int) {
	o := s.opts()
	return slices.Clone(o.Listen), o.Port
}

// Missing tells which addresses are waited for.
func (s *Service) Missing() []Missing {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := []Missing{}
	for _, a := range s.opts().Listen {
		if cause := s.missing[a]; cause != "" {
			all = append(all, Missing{a, cause})
		}
	}
	return all
}

// addMissing notes that a port does without an address for now.
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

// scheduleReconcile starts the goroutine that brings every port to the addresses of the
// options. mu is held.
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

// reconciled reports whether there is nothing left to be tried.
func (s *Service) reconciled() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reconciling = s.reconcileAgain || len(s.missing) > 0
	return !s.reconciling
}

// reconcile makes every port listen on the addresses of the options, as far as they
// are there, and on no other.
func (s *Service) reconcile() {
	s.reconfiguring.Lock()
	defer s.reconfiguring.Unlock()
	s.mu.Lock()
	s.reconcileAgain = false
	s.mu.Unlock()
	c := s.change(*s.opts())
	if err := c.bind(); err != nil {
		s.log.Error("listening on every address failed", "error", err)
		c.revert()
		return
	}
	c.install()
}

// setMissing notes what is missing now.
func (s *Service) setMissing(missing map[netip.Addr]string) {
	s.mu.Lock()
	before := s.missing
	if s.missing = missing; len(missing) > 0 {
		s.scheduleReconcile()
	}
	s.mu.Unlock()
	for a := range before {
		if missing[a] == "" && slices.Contains(s.opts().Listen, a) {
			s.log.Info("the server listens on a missing address now", "address", a.String())
		}
	}
	for a, cause := range missing {
		s.warnMissing(a, before[a], cause)
	}
}

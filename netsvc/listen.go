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

// busyText is the answer to a connection for which there is no descriptor.
const busyText = "busy: the server has no descriptor left for another connection; try again in a moment"

// busyReply is busyText at the master port.
const busyReply = "ERR " + busyText + "\n"

// refuse writes one line to a client and closes the connection. The line may be lost if very many
// connections are refused at once.
func (s *Service) refuse(c transport.HalfCloser, why RefusalReason, line string) {
	if why != notRefused {
		s.counters.refusals.add(why)
	}
	s.engine.Refuse(c, line)
}

// refuseNew is refuse for a connection that was just accepted. If the address connects too often,
// the connection is closed at once, which costs less: the line may be lost if the client has sent
// something.
func (s *Service) refuseNew(c transport.Socket, addr netip.AddrPort, why RefusalReason, line string) {
	if why != refusedRate {
		s.refuse(c.TCP(addr), why, line)
		return
	}
	s.counters.refusals.add(why)
	c.WriteAndClose(line)
}

// portQueue is the order in which ports are given out: first those that were never used, in
// ascending order, then those in quarantine, the first released first. A client that still knows
// an old port must not get into a room of strangers.
type portQueue struct {
	first, last int
	free        []int
	released    map[int]bool // ports that a room ever had and released
}

// newPortQueue returns the queue of a range of ports. used are not free, and quarantined are in
// quarantine, the first released first.
func newPortQueue(ports [2]int, used map[int]bool, quarantined []int) portQueue {
	q := portQueue{first: ports[0], last: ports[1], released: make(map[int]bool)}
	later := make(map[int]bool, len(quarantined))
	for _, p := range quarantined {
		later[p] = true
	}
	for p := q.first; p <= q.last; p++ {
		if !used[p] && !later[p] {
			q.free = append(q.free, p)
		}
	}
	for _, p := range quarantined {
		if !used[p] {
			q.release(p)
		}
	}
	return q
}

// take gives out the next port that is not in tried.
func (q *portQueue) take(tried map[int]bool) (int, bool) {
	return q.takeAt(slices.IndexFunc(q.free, func(p int) bool { return !tried[p] }))
}

// claim gives out a port out of its turn, if it is free.
func (q *portQueue) claim(port int) bool {
	_, ok := q.takeAt(slices.Index(q.free, port))
	return ok
}

func (q *portQueue) takeAt(i int) (int, bool) {
	if i < 0 {
		return 0, false
	}
	port := q.free[i]
	q.free = slices.Delete(q.free, i, i+1)
	return port, true
}

// giveBack puts ports that were taken and not used to the front, in the order of taking. The
// range may have changed meanwhile.
func (q *portQueue) giveBack(ports ...int) {
	ports = slices.DeleteFunc(ports, func(p int) bool { return p < q.first || p > q.last || slices.Contains(q.free, p) })
	q.free = slices.Insert(q.free, 0, ports...)
}

// release puts a port into quarantine: it comes last.
func (q *portQueue) release(port int) {
	if port >= q.first && port <= q.last {
		q.free = append(q.free, port)
		q.released[port] = true
	}
}

// quarantined returns the free ports that a room has released, the first released first.
func (q *portQueue) quarantined() []int {
	return slices.DeleteFunc(append([]int{}, q.free...), func(p int) bool { return !q.released[p] })
}

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
func (s *Service) returnPorts(ports ...int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ports.giveBack(slices.DeleteFunc(ports, func(p int) bool { return s.roomAtPort(p) != nil })...)
}

// quarantinePort puts a port into quarantine that a room had, or was about to get, unless a room
// has it.
func (s *Service) quarantinePort(port int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.roomAtPort(port) == nil {
		s.ports.release(port)
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

// Missing is an address of Options.Listen that not every port listens on.
type Missing struct {
	Addr  netip.Addr `json:"address"`
	Cause string     `json:"cause"`
}

func (m Missing) String() string { return fmt.Sprintf("%s (%s)", m.Addr, m.Cause) }

// Listening returns the addresses on which the master port listens.
func (s *Service) Listening() []netip.AddrPort {
	all := []netip.AddrPort{}
	if master := s.master.Load(); master != nil {
		for _, l := range master.Listeners {
			all = append(all, l.Addr)
		}
	}
	return all
}

// Wanted returns the addresses and the master port of the options in effect.
func (s *Service) Wanted() (listen []netip.Addr, port int) {
	o := s.opts()
	return slices.Clone(o.Listen), o.Port
}

// Missing returns the addresses that are missing now.
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

package netsvc

import (
	"errors"
	"fmt"
	"net/netip"
	"runtime"
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
	bindPatience = time.Second
	bindPause    = 50 * time.Millisecond

	retryMin = time.Second // an unbound room is retried with back-off
	retryMax = 30 * time.Second
)

// listen binds a port on all addresses that the machine has, or on none. Port 0
// lets the system choose.
func (s *Service) listen(port int) (*transport.Endpoint, error) {
	p := &transport.Endpoint{Port: port, On: s.opts().Listen}
	for _, a := range p.On {
		l, err := s.engine.Listen(a, p.Port)
		if transport.IsMissing(err) {
			s.lack(a, transport.MissingReason(port, err))
			continue
		}
		if err != nil {
			p.Close()
			return nil, err
		}
		p.Each = append(p.Each, l)
		p.Port = int(l.Addr.Port())
	}
	return p, nil
}

// listenMaster retries a port that is in use for a moment.
func (s *Service) listenMaster() (*transport.Endpoint, error) {
	if given := s.opts().Master; len(given) > 0 {
		return s.takeMaster(given)
	}
	for until := time.Now().Add(bindPatience); ; {
		l, err := s.listen(s.opts().Port)
		if err == nil {
			return l, nil
		}
		if !transport.IsInUse(err) || time.Now().After(until) || !s.pause(bindPause) {
			return nil, fmt.Errorf("the master port cannot be opened: %s", transport.Reason(s.opts().Port, err))
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
		p.Each = append(p.Each, l)
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
	defer func() { s.putBack(failed...) }()
	for {
		s.mu.Lock()
		port, ok := s.ports.take(tried)
		s.mu.Unlock()
		if !ok {
			if last != nil {
				return nil, wire.Errorf(wire.CodeNoPort, "no port is free between %d and %d; of those without a room, %s", s.opts().Ports[0], s.opts().Ports[1], transport.Reason(failed[len(failed)-1], last))
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
		if !transport.IsInUse(err) && !errors.Is(err, syscall.EACCES) {
			s.log.Error("bind", "room", r.name(), "port", port, "error", err)
			return nil, wire.Errorf(wire.CodeBusy, "%s", transport.Reason(port, err))
		}
	}
}

// bindAll binds the rooms at their own ports, a few at a time. What cannot be
// bound after a moment is left to a goroutine that retries.
func (s *Service) bindAll(rooms []*Room) {
	until := time.Now().Add(bindPatience)
	for {
		failed := s.bindEach(rooms)
		if len(failed) == 0 {
			return
		}
		if time.Now().After(until) || !s.pause(bindPause) {
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

// pause waits and reports false when the service stops meanwhile.
func (s *Service) pause(d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-s.stop.Done():
		return false
	}
}

// busyText is the answer to a connection that cannot be served for want of descriptors.
const busyText = "busy: the server has no descriptor left for another connection; try again in a moment"

// busyReply is that answer at the master port.
const busyReply = "ERR " + busyText + "\n"

// refuse tells a connection one line and closes it. The line may be lost if
// very many are refused at once.
func (s *Service) refuse(c transport.HalfCloser, why Barred, line string) {
	s.counters.refused(why)
	s.engine.Refuse(c, line)
}

// turnAway is refuse for a connection that nothing was done with yet. Of those
// that connect too often it takes no leave, which costs more than they are worth:
// the line may be lost if they have sent something.
func (s *Service) turnAway(c transport.Socket, addr netip.AddrPort, why Barred, line string) {
	if why != tooOften {
		s.refuse(c.TCP(addr), why, line)
		return
	}
	s.counters.refused(why)
	c.Tell(line)
}

package netsvc

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"sync"
	"syscall"
	"time"

	"roomd/netsvc/wire"
)

const (
	sendBuffer = 128 << 10 // SO_SNDBUF: larger ones hide how far a member is behind
	// SO_RCVBUF: larger ones hide from a sender that it is read more slowly,
	// and thousands of floods would take gigabytes of the kernel.
	recvBuffer = 64 << 10

	// Directly after a kill -9 the kernel may still be tearing down the old
	// process's sockets: a port is retried for a moment before it counts as
	// taken by another program.
	bindPatience = time.Second
	bindPause    = 50 * time.Millisecond

	// The end of a listener admits at most so many connections of its backlog, for
	// so long at most: a flood may fill the backlog faster than it is emptied.
	// lastRound is for clients that are half connected at that moment.
	backlogMost = 1 << 15
	backlogTime = time.Second
	lastRound   = 10 * time.Millisecond

	retryMin = time.Second // an unbound room is retried with back-off
	retryMax = 30 * time.Second
)

// listeners is one port on all listen addresses.
type listeners struct {
	port int
	on   []netip.Addr // Options.Listen when it was bound; nil: it has come from elsewhere
	each []*listener
}

// listen binds a port on all addresses that the machine has, or on none. Port 0
// lets the system choose.
func (s *Service) listen(port int) (*listeners, error) {
	l := &listeners{port: port, on: s.opts().Listen}
	for _, a := range l.on {
		ln, err := s.listenOn(a, l.port)
		if notHere(err) {
			s.lack(a, whyMissing(port, err))
			continue
		}
		if err != nil {
			l.close()
			return nil, err
		}
		l.each = append(l.each, ln)
		l.port = ln.port()
	}
	return l, nil
}

// open begins to accept and gives each connection to admit. busy is what those
// are told whom there is no descriptor for.
func (l *listeners) open(admit func(socket, netip.AddrPort), busy string) error {
	for _, ln := range l.each {
		if err := ln.open(admit, busy); err != nil {
			return err
		}
	}
	return nil
}

// end stops listening, once the connections in the backlog have been admitted,
// which by then means that they are told why not. It takes backlogTime at most for
// each address.
func (l *listeners) end() {
	for _, ln := range l.each {
		ln.end()
	}
}

// close stops to listen at once.
func (l *listeners) close() {
	for _, ln := range l.each {
		ln.close()
	}
}

// inUse reports whether a bind failed as somebody else has the port.
func inUse(err error) bool { return errors.Is(err, syscall.EADDRINUSE) }

// why is a bind error as it is shown.
func why(port int, err error) string {
	if inUse(err) {
		return fmt.Sprintf("port %d is in use by another program", port)
	}
	var sys *os.SyscallError
	if errors.As(err, &sys) {
		return fmt.Sprintf("port %d: %v", port, sys.Err)
	}
	return fmt.Sprintf("port %d: %v", port, err)
}

// listenMaster retries a port that is in use for a moment.
func (s *Service) listenMaster() (*listeners, error) {
	if given := s.opts().Master; len(given) > 0 {
		return s.takeMaster(given)
	}
	for until := time.Now().Add(bindPatience); ; {
		l, err := s.listen(s.opts().Port)
		if err == nil {
			return l, nil
		}
		if !inUse(err) || time.Now().After(until) || !s.pause(bindPause) {
			return nil, fmt.Errorf("the master port cannot be opened: %s", why(s.opts().Port, err))
		}
	}
}

// takeMaster makes the master port of descriptors that listen on it.
func (s *Service) takeMaster(given []int) (*listeners, error) {
	l := &listeners{}
	for _, fd := range given {
		ln, err := s.listenGiven(fd)
		if err != nil {
			return nil, fmt.Errorf("take the master port over: %w", err)
		}
		l.each = append(l.each, ln)
		l.port = ln.port()
	}
	return l, nil
}

// bindFree takes ports from the queue until one can be bound. One that another
// program uses keeps its place.
func (s *Service) bindFree(r *Room) (*listeners, error) {
	tried := make(map[int]bool)
	var failed []int
	var last error
	defer func() {
		s.mu.Lock()
		s.ports.putBack(failed...)
		s.mu.Unlock()
	}()
	for {
		s.mu.Lock()
		port, ok := s.ports.take(tried)
		s.mu.Unlock()
		if !ok {
			if last != nil {
				return nil, wire.Errorf(wire.CodeNoPort, "no port is free between %d and %d; of those without a room, %s", s.opts().Ports[0], s.opts().Ports[1], why(failed[len(failed)-1], last))
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
		if !inUse(err) && !errors.Is(err, syscall.EACCES) {
			s.log.Error("bind", "room", r.name(), "port", port, "error", err)
			return nil, wire.Errorf(wire.CodeBusy, "%s", why(port, err))
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

// reserve is a descriptor kept for the moment when there is none left: without
// it nobody could even be refused, and the accept loops would spin.
type reserve struct {
	mu   sync.Mutex
	file *os.File
}

func (v *reserve) open() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.fill()
}

// fill takes a descriptor; without one, listeners only wait. mu is held.
func (v *reserve) fill() { v.file, _ = os.Open(os.DevNull) }

func (v *reserve) close() {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.file != nil {
		v.file.Close()
		v.file = nil
	}
}

// busyText is what is said to who cannot be served for want of descriptors.
const busyText = "busy: the server has no descriptor left for another connection; try again in a moment\n"

// refusals bounds the goroutines that refuse gently.
var refusals = make(chan struct{}, 64)

// refuse tells a connection one line and closes it. The line may be lost if
// very many are refused at once.
func (s *Service) refuse(k halfCloser, why Barred, line string) {
	s.counters.refused(why)
	k.SetWriteDeadline(time.Now().Add(time.Second)) // its buffer is empty: it does not wait
	k.Write([]byte(line))
	select {
	case refusals <- struct{}{}:
	default:
		k.Close()
		return
	}
	s.tasks.Go(func() {
		defer func() { <-refusals }()
		closeGently(k, false)
	})
}

// turnAway is refuse for a connection that nothing was done with yet. Of those
// who connect too often it takes no leave, which costs more than they are worth:
// the line may be lost if they have sent something.
func (s *Service) turnAway(c socket, addr netip.AddrPort, why Barred, line string) {
	if why != tooOften {
		s.refuse(c.conn(addr), why, line)
		return
	}
	s.counters.refused(why)
	c.tell(line)
}

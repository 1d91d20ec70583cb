package netsvc

import "slices"

// portQueue is the order in which ports are given out: those never used first,
// ascending, then those that rooms have given up, the longest rested first. A
// client that still knows an old number must not land in a stranger's room.
type portQueue struct {
	first, last int
	free        []int
	rested      map[int]bool // ports that a room has given up, ever
}

// newPortQueue takes the ports of rooms, and those that rest, the longest
// rested first.
func newPortQueue(first, last int, used map[int]bool, resting []int) portQueue {
	q := portQueue{first: first, last: last, rested: make(map[int]bool)}
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

// untake returns ports that were taken and not used, in the order of taking.
// The range may have become another one meanwhile.
func (q *portQueue) untake(ports ...int) {
	ports = slices.DeleteFunc(ports, func(p int) bool { return p < q.first || p > q.last || slices.Contains(q.free, p) })
	q.free = slices.Insert(q.free, 0, ports...)
}

// release lets a port rest: it comes last.
func (q *portQueue) release(port int) {
	if port >= q.first && port <= q.last {
		q.free = append(q.free, port)
		q.rested[port] = true
	}
}

// resting are the free ports that a room has given up, the longest rested first.
func (q *portQueue) resting() []int {
	ports := []int{}
	for _, p := range q.free {
		if q.rested[p] {
			ports = append(ports, p)
		}
	}
	return ports
}

// putBack returns ports that were taken, and that no room has got, to their places.
func (s *Service) putBack(ports ...int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ports.untake(slices.DeleteFunc(ports, func(p int) bool { return s.at(p) != nil })...)
}

// rest has a port rest that a room had, or was about to have, unless another one has
// it by now.
func (s *Service) rest(port int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.at(port) == nil {
		s.ports.release(port)
	}
}

// at is the room that has a port; nil: there is none. mu is held.
func (s *Service) at(port int) *Room {
	for _, r := range s.rooms {
		if r.port() == port {
			return r
		}
	}
	return nil
}

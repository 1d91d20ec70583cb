package ports

import "slices"

// Queue has the free ports of a range in the order in which they are given out: first those that
// were never used, in ascending order, then those in quarantine, the first released first. The zero
// value has no ports.
type Queue struct {
	first, last int
	free        []int
	released    map[int]bool // ports that a room ever had and released
}

// NewQueue returns the queue of a range, given by its first and its last port. used are not free, and
// quarantined are in quarantine, the first released first.
func NewQueue(within [2]int, used map[int]bool, quarantined []int) Queue {
	q := Queue{first: within[0], last: within[1], released: make(map[int]bool)}
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
			q.Release(p)
		}
	}
	return q
}

// SetRange replaces the range. Ports of the old range that were not free stay out of the queue: a
// room has them, or is about to.
func (q *Queue) SetRange(within [2]int, used map[int]bool, quarantined []int) {
	old := *q
	*q = NewQueue(within, used, quarantined)
	q.free = slices.DeleteFunc(q.free, func(p int) bool { return old.Contains(p) && !slices.Contains(old.free, p) })
}

// Range returns the first and the last port.
func (q *Queue) Range() (first, last int) { return q.first, q.last }

// Contains reports whether a port, free or not, is in the range.
func (q *Queue) Contains(port int) bool { return port >= q.first && port <= q.last }

// Free returns the free ports, those in quarantine too, in the order of the queue. The caller must
// not write to them, and they hold until the queue changes.
func (q *Queue) Free() []int { return q.free }

// Quarantined returns the free ports that were released, the first released first.
func (q *Queue) Quarantined() []int {
	return slices.DeleteFunc(append([]int{}, q.free...), func(p int) bool { return !q.released[p] })
}

// Take gives out the next port that is not in tried, if there is one.
func (q *Queue) Take(tried map[int]bool) (int, bool) {
	return q.takeAt(slices.IndexFunc(q.free, func(p int) bool { return !tried[p] }))
}

// Claim gives out a port out of its turn, if it is free.
func (q *Queue) Claim(port int) bool {
	_, ok := q.takeAt(slices.Index(q.free, port))
	return ok
}

func (q *Queue) takeAt(i int) (int, bool) {
	if i < 0 {
		return 0, false
	}
	port := q.free[i]
	q.free = slices.Delete(q.free, i, i+1)
	return port, true
}

// GiveBack puts ports that were taken and not used to the front, in the order of taking. The range
// may have changed meanwhile.
func (q *Queue) GiveBack(taken ...int) {
	taken = slices.DeleteFunc(taken, func(p int) bool { return !q.Contains(p) || slices.Contains(q.free, p) })
	q.free = slices.Insert(q.free, 0, taken...)
}

// Release puts a port into quarantine: it comes last. One that is not in the range is forgotten.
func (q *Queue) Release(port int) {
	if q.Contains(port) {
		q.free = append(q.free, port)
		q.released[port] = true
	}
}

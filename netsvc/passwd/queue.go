package passwd

import (
	"context"
	"runtime"
	"slices"
	"sync"
)

// rank is whose turn comes first.
type rank int

const (
	formerMember rank = iota // an address that was inside the room
	stranger                 // one that has given no wrong password, and its neighbours have not
	newPassword              // of a new password
	suspect                  // one that has, or whose neighbours have
	ranks
)

// Busy is said to one whose password would have to wait for very many others.
const Busy = Throttled("very many passwords are being compared; try again in a moment")

// maxQueued is how many of a rank may wait: a room's strangers all do, before its
// first right password.
const maxQueued = 256

// hashQueue lets only so many work at a time. Of those that wait the first of the best
// rank is next.
type hashQueue struct {
	mu      sync.Mutex
	free    int
	waiting [ranks][]chan struct{} // closed when it is their turn
}

// hashing is for argon2: half of the processors, and at most so many as their
// memory (7 MiB each) is no matter.
var hashing = &hashQueue{free: min(max(1, runtime.GOMAXPROCS(0)/2), 8)}

// acquire waits for a turn, which must be given back. The error is Busy if too many
// wait, ErrSuspended once suspend is closed, or the one of ctx.
func (q *hashQueue) acquire(ctx context.Context, suspend <-chan struct{}, as rank) error {
	q.mu.Lock()
	if q.free > 0 {
		q.free--
		q.mu.Unlock()
		return nil
	}
	if len(q.waiting[as]) >= maxQueued {
		q.mu.Unlock()
		return Busy
	}
	mine := make(chan struct{})
	q.waiting[as] = append(q.waiting[as], mine)
	q.mu.Unlock()
	err := ErrSuspended
	select {
	case <-mine:
		return nil
	case <-suspend:
	case <-ctx.Done():
		err = ctx.Err()
	}
	q.mu.Lock()
	i := slices.Index(q.waiting[as], mine)
	if i >= 0 {
		q.waiting[as] = slices.Delete(q.waiting[as], i, i+1)
	}
	q.mu.Unlock()
	if i < 0 { // it came at the same time
		q.release()
	}
	return err
}

// release gives a turn back.
func (q *hashQueue) release() {
	q.mu.Lock()
	defer q.mu.Unlock()
	for i, w := range q.waiting {
		if len(w) > 0 {
			close(w[0])
			q.waiting[i] = slices.Delete(w, 0, 1)
			return
		}
	}
	q.free++
}

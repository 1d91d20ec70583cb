package passwd

import (
	"context"
	"runtime"
	"slices"
	"sync"
)

// rank is the order in which passwords are hashed.
type rank int

const (
	formerMember rank = iota // the address had a member in the room
	stranger                 // the address has given no wrong password, nor has its network
	newPassword              // a password is set, not compared
	suspect                  // the address or its network has given a wrong password
	ranks
)

// Busy is the answer where too many passwords wait to be hashed.
const Busy = Throttled("very many passwords are being compared; try again in a moment")

// maxQueued is how many passwords of a rank may wait: before a room's first right password all of
// its strangers do.
const maxQueued = 256

// hashQueue lets a few goroutines hash at a time. The next is the first one of the best rank.
type hashQueue struct {
	mu      sync.Mutex
	free    int
	waiting [ranks][]chan struct{} // closed when it is their turn
}

// hashing is the queue for argon2. Half of the processors hash at a time, and 8 at most, so that
// their memory (7 MiB each) does not matter.
var hashing = &hashQueue{free: min(max(1, runtime.GOMAXPROCS(0)/2), 8)}

// acquire waits for a turn. release must follow. The error is Busy if too many wait, ErrSuspended
// once suspend is closed, or the one of ctx.
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
	err := receive(ctx, suspend, mine)
	if err == nil {
		return nil
	}
	q.mu.Lock()
	i := slices.Index(q.waiting[as], mine)
	if i >= 0 {
		q.waiting[as] = slices.Delete(q.waiting[as], i, i+1)
	}
	q.mu.Unlock()
	if i < 0 { // the turn came at the same time
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

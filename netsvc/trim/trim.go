// Package trim gives memory back to the system after a storm of connections.
//
// A connection that begins leaves garbage, and Go's heap grows to twice what lives before it is
// collected. What was free then stays with the process: nothing else grows it again when all those who
// have come do nothing. After a restart, with thousands of clients that come back, that is as much as
// the clients themselves take.
package trim

import (
	"runtime/debug"
	"runtime/metrics"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// storm is how many connections have to come until memory is given back.
	storm = 1024
	// lookEvery is the time between two looks until a storm is over: until no more than few connections
	// have come in that time, and no more than idleBytes were allocated.
	lookEvery = time.Second
	few       = 64
	idleBytes = 1 << 20
	// worthBytes is how much must be allocated in the aftermath of a storm for another time.
	worthBytes = 2 << 20
	// pause is the shortest time from the end of one storm to the looks at another. Each time that memory
	// is given back is a collection, some ten milliseconds of processor time for ten thousand clients.
	pause = time.Minute
)

// aftermath has the times of the looks after a storm, each from the one before it on. By then the places
// of readers are written: when they have entered their rooms, and when they have read.
var aftermath = [...]time.Duration{5 * time.Second, 10 * time.Second}

// Trimmer gives memory back. The zero value has seen no connection. Any goroutine may call its methods.
type Trimmer struct {
	came    atomic.Uint64 // connections
	looking atomic.Bool   // a look follows

	mu      sync.Mutex // guards what follows
	timer   *time.Timer
	stopped bool

	// Owned by the looks, of which there is one at a time.
	seen      uint64    // connections, as of the last look
	allocated uint64    // bytes, as of the last look
	trimmed   uint64    // bytes that were allocated when memory was given back last
	over      time.Time // when the last storm was over; zero: there was none
	left      int       // looks in its aftermath
}

// Connected notes a connection that has begun. It takes nanoseconds, but for one of storm calls.
func (t *Trimmer) Connected() {
	if t.came.Add(1)%storm == 0 && !t.looking.Swap(true) {
		t.lookIn(lookEvery)
	}
}

// Stop ends the looks.
func (t *Trimmer) Stop() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.stopped = true; t.timer != nil {
		t.timer.Stop()
	}
}

func (t *Trimmer) lookIn(d time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.stopped:
	case t.timer == nil:
		t.timer = time.AfterFunc(d, t.look)
	default:
		t.timer.Reset(d)
	}
}

// look gives memory back if it is time to, and begins the next look.
func (t *Trimmer) look() {
	trim, next := t.decide(time.Now(), allocated())
	if trim {
		debug.FreeOSMemory()
		t.trimmed = allocated()
		t.allocated = t.trimmed
	}
	if next == 0 {
		t.looking.Store(false) // from here on a storm begins the looks
		return
	}
	t.lookIn(next)
}

// decide returns whether memory is to be given back, and when the next look is; 0: there is none. bytes
// were allocated until now.
func (t *Trimmer) decide(now time.Time, bytes uint64) (trim bool, next time.Duration) {
	came := t.came.Load()
	idle := came-t.seen <= few && bytes-t.allocated <= idleBytes
	t.seen, t.allocated = came, bytes
	if t.left > 0 {
		if t.left--; t.left > 0 {
			next = aftermath[len(aftermath)-t.left]
		}
		return bytes-t.trimmed >= worthBytes, next
	}
	if wait := pause - now.Sub(t.over); !t.over.IsZero() && wait > 0 {
		return false, wait
	}
	if !idle {
		return false, lookEvery
	}
	t.over, t.left = now, len(aftermath)
	return true, aftermath[0]
}

// allocated returns how many bytes of the heap were ever allocated.
func allocated() uint64 {
	s := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(s)
	return s[0].Value.Uint64()
}

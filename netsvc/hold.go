package netsvc

import "sync/atomic"

// A hold is a lock that nobody waits for: who finds it taken leaves word, and
// the holder looks once more before it lets go.
const (
	free  = iota
	held  // somebody is at work
	again // and is asked to look once more
)

// acquire takes the hold, or leaves word and reports false.
func acquire(h *atomic.Int32) bool {
	for {
		switch h.Load() {
		case free:
			if h.CompareAndSwap(free, held) {
				return true
			}
		case held:
			if h.CompareAndSwap(held, again) {
				return false
			}
		default:
			return false
		}
	}
}

// release lets go, or reports false if there is word: the caller still has the
// hold and must look once more.
func release(h *atomic.Int32) bool {
	if h.CompareAndSwap(held, free) {
		return true
	}
	h.Store(held)
	return false
}

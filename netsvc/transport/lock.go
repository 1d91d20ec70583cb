package transport

import "sync/atomic"

// Lock is a lock that nobody waits for: a goroutine that finds it taken asks the
// holder to run again, and goes away. The zero value is free.
type Lock struct{ state atomic.Int32 }

const (
	free  = iota
	held  // somebody is at work
	again // and is asked to run again
)

// Acquire takes the lock, or asks its holder to run again and reports false.
func (l *Lock) Acquire() bool {
	for {
		switch l.state.Load() {
		case free:
			if l.state.CompareAndSwap(free, held) {
				return true
			}
		case held:
			if l.state.CompareAndSwap(held, again) {
				return false
			}
		default:
			return false
		}
	}
}

// Release gives the lock back, or reports false if the holder was asked to run
// again, which then still has it.
func (l *Lock) Release() bool {
	if l.state.CompareAndSwap(held, free) {
		return true
	}
	l.state.Store(held)
	return false
}

// Try takes the lock if it is free, and asks nobody for anything.
func (l *Lock) Try() bool { return l.state.CompareAndSwap(free, held) }

// taken reports whether somebody has the lock.
func (l *Lock) taken() bool { return l.state.Load() != free }

// Reset frees the lock, whatever its holder, the caller, was asked for.
func (l *Lock) Reset() { l.state.Store(free) }

package transport

import "sync/atomic"

// Lock is a lock that nobody waits for: a goroutine that finds it taken asks the
// holder to run again, and goes away. The zero value is free.
type Lock struct{ state atomic.Int32 }

const (
	free   = iota
	locked // somebody is at work
	rerun  // and is asked to run again
)

// Acquire takes the lock, or asks its holder to run again and reports false.
func (l *Lock) Acquire() bool {
	for {
		switch l.state.Load() {
		case free:
			if l.state.CompareAndSwap(free, locked) {
				return true
			}
		case locked:
			if l.state.CompareAndSwap(locked, rerun) {
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
	if l.state.CompareAndSwap(locked, free) {
		return true
	}
	l.state.Store(locked)
	return false
}

// TryAcquire takes the lock if it is free, and asks nobody for anything.
func (l *Lock) TryAcquire() bool { return l.state.CompareAndSwap(free, locked) }

// isHeld reports whether somebody has the lock.
func (l *Lock) isHeld() bool { return l.state.Load() != free }

// Reset frees the lock, whatever its holder, the caller, was asked for.
func (l *Lock) Reset() { l.state.Store(free) }
